//! From a text to the module of one entry point: parsed, validated, its overrides given values.

use naga::{
    Handle, Module, Override, ShaderStage,
    back::pipeline_constants::process_overrides,
    compact,
    valid::{Capabilities, ModuleInfo, ValidationFlags, Validator},
};

use crate::{
    mistake::{Mistake, Refusal, chain, place},
    nesting,
};

/// How long a text may be. The parser's time and memory grow with it; programs of people have a tenth.
pub const MOST_TEXT: usize = 128 << 10;

/// How much stack the parser, the validator and the passes get: they go down as deep as a text nests.
const STACK: usize = 64 << 20;

/// A WGSL text that is valid.
#[derive(Clone, Debug)]
pub struct Source {
    text: String,
    module: Module,
}

impl Source {
    /// Reads a text.
    ///
    /// # Errors
    /// [`Mistake::Language`] with a line and a column when it is not WGSL, or needs what not every device has.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        if text.len() > MOST_TEXT {
            let refusal = Refusal::Text { bytes: text.len(), most: MOST_TEXT };
            return Err(Mistake::refused(refusal));
        }
        nesting::check(text)?;
        deep(|| {
            let module = naga::front::wgsl::parse_str(text).map_err(|error| {
                let place = error.labels().next().and_then(|(span, _)| place(span, text));
                let label = error.labels().next().map(|(_, label)| label).filter(|label| !label.is_empty());
                let message = match label {
                    Some(label) => format!("{} ({label})", error.message()),
                    None => error.message().to_owned(),
                };
                Mistake::Language { place, message }
            })?;
            validate(&module, text)?;
            Ok(Self { text: text.to_owned(), module })
        })
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its compute entry points, in the order of the text.
    pub fn entry_points(&self) -> Vec<String> {
        let compute = self.module.entry_points.iter().filter(|entry| entry.stage == ShaderStage::Compute);
        compute.map(|entry| entry.name.clone()).collect()
    }

    /// The module that holds what this entry point uses and nothing else, with these values for overrides, each by its
    /// name or number. What the entry point does not use changes nothing of the module.
    pub(crate) fn entry_point(&self, name: &str, overrides: &[(String, f64)]) -> Result<Module, Mistake> {
        let known = self.entry_points();
        if !known.iter().any(|other| other == name) {
            return Err(Mistake::refused(Refusal::EntryPoint { name: name.into(), known }));
        }
        let wrong = |reason: String| Mistake::refused(Refusal::Override(reason));
        let mut module = self.module.clone();
        module.entry_points.retain(|entry| entry.stage == ShaderStage::Compute && entry.name == name);
        let unknown = overrides.iter().find(|(key, _)| !self.has_override(key));
        if let Some((key, _)) = unknown {
            return Err(wrong(format!("the module has no override {key:?}")));
        }
        compact::compact(&mut module, compact::KeepUnused::No);
        let info = validate(&module, &self.text)?;
        let used = |key: &str| module.overrides.iter().any(|(handle, _)| is(&module, handle, key));
        let constants = overrides.iter().filter(|(key, _)| used(key)).cloned().collect();
        let (module, _) = process_overrides(&module, &info, Some((ShaderStage::Compute, name)), &constants)
            .map_err(|error| wrong(chain(&error)))?;
        let mut module = module.into_owned();
        compact::compact(&mut module, compact::KeepUnused::No);
        validate(&module, &self.text)?;
        Ok(module)
    }

    fn has_override(&self, key: &str) -> bool {
        self.module.overrides.iter().any(|(handle, _)| is(&self.module, handle, key))
    }
}

/// By its number where it has one, as WebGPU says; otherwise by its name.
fn is(module: &Module, handle: Handle<Override>, key: &str) -> bool {
    let found = &module.overrides[handle];
    match found.id {
        Some(id) => key.parse() == Ok(id),
        None => found.name.as_deref() == Some(key),
    }
}

/// Validates a module by the capabilities that all devices have: no subgroups, no 16 and 64 bits, no ray queries.
pub(crate) fn validate(module: &Module, text: &str) -> Result<ModuleInfo, Mistake> {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(module)
        .map_err(|error| Mistake::of_validation(&error, text))
}

/// Runs this on a thread with a large stack.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("wgsl".into()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, work).expect("the system gives a thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mistake::Place;

    #[test]
    fn mistakes_have_a_line_and_a_column() {
        let text = "@compute @workgroup_size(1)\nfn main() {\n    let a = 1u + b;\n}\n";
        let Err(Mistake::Language { place, message }) = Source::parse(text) else {
            panic!("b is not declared")
        };
        assert_eq!(place, Some(Place { line: 3, column: 18 }));
        assert!(message.contains("b"), "{message}");

        let text = "@group(0) @binding(0) var<storage> a: array<u32>;\n@compute @workgroup_size(1)\nfn main() {\n    a[0] = 1u;\n}\n";
        let Err(Mistake::Language { place, message }) = Source::parse(text) else { panic!("a is read-only") };
        assert_eq!(place.map(|place| place.line), Some(4), "{message}");
    }

    #[test]
    fn what_not_every_device_has_is_not_wgsl_here() {
        for text in [
            "enable f16; @compute @workgroup_size(1) fn main() { let a = 1.0h; }",
            "@compute @workgroup_size(1) fn main() { let a = 1lu; }",
            "@compute @workgroup_size(1) fn main() { var a = subgroupAdd(1u); a++; }",
        ] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
        let long = format!("//{}", " ".repeat(MOST_TEXT));
        assert!(matches!(Source::parse(&long), Err(Mistake::Refused { refusal: Refusal::Text { .. }, .. })));
    }

    #[test]
    fn an_entry_point_brings_only_what_it_uses() {
        let text = "override N: u32 = 4; override unset: u32; @id(7) override other: u32 = 1;
            fn a() -> u32 { return N; } fn b() -> u32 { return unset; }
            @compute @workgroup_size(N) fn one() { _ = a(); }
            @compute @workgroup_size(other) fn two() { _ = b(); }";
        let source = Source::parse(text).expect("it is WGSL");
        assert_eq!(source.entry_points(), ["one", "two"]);
        let one = source.entry_point("one", &[("N".into(), 8.0)]).expect("it has all it needs");
        assert_eq!((one.functions.len(), one.entry_points[0].workgroup_size), (1, [8, 1, 1]));
        let two = |overrides: &[(String, f64)]| source.entry_point("two", overrides);
        let with = [("unset".into(), 2.0), ("7".into(), 16.0), ("N".into(), 1.0)];
        assert_eq!(two(&with).expect("all are known").entry_points[0].workgroup_size, [16, 1, 1]);
        for (overrides, says) in
            [(&[][..], "unset"), (&[("unset".into(), -1.0)], ""), (&[("M".into(), 1.0)], "no override \"M\"")]
        {
            let mistake = two(overrides).expect_err("the overrides do not fit").to_string();
            assert!(mistake.contains("overrides do not fit") && mistake.contains(says), "{mistake}");
        }
        let mistake = source.entry_point("three", &[]).expect_err("there is none").to_string();
        assert!(mistake.contains("\"three\"; it has one, two"), "{mistake}");
    }

    #[test]
    fn the_deepest_text_that_is_parsed_fits_the_stack() {
        let some = |part: &str| part.repeat(590);
        for body in [
            format!("let a = {}1{};", some("("), some(")")),
            format!("let a = {}1;", some("- ")),
            format!("let a = 1{};", some("+1")),
            format!("{} {}", some("{"), some("}")),
            format!("var a = 1; {} {{}}", some("if (a > 1) { a = 2; } else ")),
            format!("var a: {}u32{};", some("array<"), some(", 1>")),
        ] {
            // Whether it is WGSL is naga's to say.
            let _ = Source::parse(&format!("@compute @workgroup_size(1) fn f() {{ {body} }}"));
        }
        let text = format!("fn f() {{ let a = {}1; }}", "- ".repeat(20_000));
        let mistake = Source::parse(&text).expect_err("it is too deep").to_string();
        assert!(
            mistake.starts_with("line 1, column") && mistake.contains("how deep the text nests"),
            "{mistake}"
        );
    }
}
