//! Rules on Rust sources: what libraries do not call, what `lib.rs` holds, how modules are named.

use std::collections::BTreeSet;

use super::source::{Source, Word, end_of_item};
use super::{Finding, line_at, texts};
use crate::workspace::SourceFile;

/// Words that libraries do not say, each with what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    (".unwrap()", "give the error to the caller, or `expect` with the invariant that makes it impossible"),
    (
        "unbounded_channel",
        "use a bounded channel: a full one slows the sender down, an unbounded one eats memory",
    ),
    ("todo!", "write it, or leave it out"),
    ("unimplemented!", "write it, or leave it out"),
    ("dbg!", "remove it"),
];

/// Waits for the disk that nobody counts, each with what counts it.
const UNCOUNTED: &[(&str, &str)] = &[
    (".sync_all()", "`tidemill_disk::sync_all` for a file, `sync_dir` for a directory"),
    (".sync_data()", "`tidemill_disk::sync_data`, and `DatabaseFile` for redb"),
];

/// Where they are counted.
const COUNTING: &str = "crates/disk/";

/// Names that say nothing of what is in the module.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

/// How many lines above an `unsafe` its reason may stand: a comment of a few lines, and attributes.
const SAFETY_LINES: usize = 8;

/// The binary prints errors, it does not return them to others; the rules on libraries are not for it.
const BINARY: &str = "crates/tidemill/";

/// Checks all Rust files, each by the rules for its place.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let rust: Vec<(&str, &str)> = texts(files).filter(|(path, _)| path.ends_with(".rs")).collect();
    let tests: BTreeSet<String> = rust.iter().flat_map(|(path, text)| test_files(path, text)).collect();
    let mut findings = Vec::new();
    for (path, text) in rust {
        findings.extend(names(path, text));
        let is_test = tests.iter().any(|test| path == test || is_below(path, test));
        if path.starts_with("crates/") {
            findings.extend(unsafe_reasons(path, text));
        }
        if is_library(path) && !is_test {
            findings.extend(forbidden(path, text));
            findings.extend(uncounted(path, text));
        }
        if path.ends_with("/src/lib.rs") && is_library(path) {
            findings.extend(lib_without_logic(path, text));
        }
    }
    findings
}

fn is_library(path: &str) -> bool {
    path.starts_with("crates/") && path.contains("/src/") && !path.starts_with(BINARY)
}

/// The files of the modules that a file declares under `#[cfg(test)]`.
fn test_files(path: &str, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        file => format!("{folder}/{}", file.trim_end_matches(".rs")),
    };
    let (_, modules) = Source::read(text).without_tests();
    modules.into_iter().map(|module| format!("{folder}/{module}.rs")).collect()
}

/// True for `a/tests/b.rs` and `a/tests.rs`.
fn is_below(path: &str, module_file: &str) -> bool {
    path.strip_prefix(module_file.trim_end_matches(".rs")).is_some_and(|rest| rest.starts_with('/'))
}

fn forbidden(path: &str, text: &str) -> Vec<Finding> {
    let (source, _) = Source::read(text).without_tests();
    let mut findings = Vec::new();
    for (word, instead) in FORBIDDEN {
        for place in source.words(word) {
            findings.push(Finding::new(path, place.line, format!("`{word}` in a library: {instead}")));
        }
    }
    for word in ["channel", "unbounded"] {
        for place in source.words(word).filter(is_call_without_arguments) {
            let message = format!("`{word}()` has no bound: use a bounded channel (`sync_channel` in std)");
            findings.push(Finding::new(path, place.line, message));
        }
    }
    findings
}

fn uncounted(path: &str, text: &str) -> Vec<Finding> {
    if path.starts_with(COUNTING) {
        return Vec::new();
    }
    let (source, _) = Source::read(text).without_tests();
    let mut findings = Vec::new();
    for (word, instead) in UNCOUNTED {
        for place in source.words(word) {
            let message = format!("`{word}` waits for the disk without being counted: call {instead}");
            findings.push(Finding::new(path, place.line, message));
        }
    }
    findings
}

/// `channel()` and `channel::<T>()`, but neither `.channel()` nor `fn channel()`. Bounded channels are told
/// from unbounded ones by taking an argument, but for those that carry one message.
fn is_call_without_arguments(place: &Word<'_>) -> bool {
    let before = place.before.trim_end();
    if before.ends_with('.') || before.ends_with("fn") || before.ends_with("oneshot::") {
        return false;
    }
    let mut after = place.after;
    if let Some(generics) = after.strip_prefix("::<") {
        let mut depth = 1_usize;
        let end = generics.bytes().position(|byte| {
            depth = match byte {
                b'<' => depth + 1,
                b'>' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        after = end.map_or("", |end| &generics[end + 1..]);
    }
    after.strip_prefix('(').is_some_and(|arguments| arguments.trim_start().starts_with(')'))
}

fn unsafe_reasons(path: &str, text: &str) -> Vec<Finding> {
    let source = Source::read(text);
    let comments: Vec<&str> = source.comments.lines().collect();
    let mut findings = Vec::new();
    for place in source.words("unsafe") {
        // A function's callers see to what it needs, which its trait or module says once; what it does is in a block.
        if place.after.trim_start().starts_with("fn ") {
            continue;
        }
        let near = &comments[place.line.saturating_sub(1 + SAFETY_LINES)..place.line];
        if !near.iter().any(|comment| comment.contains("SAFETY") || comment.contains("# Safety")) {
            let message = "`unsafe` without a reason: say in a `// SAFETY:` comment above it why it is sound";
            findings.push(Finding::new(path, place.line, message));
        }
    }
    findings
}

/// Checks that a `lib.rs` holds docs, attributes, modules and re-exports only; the first other item is found.
fn lib_without_logic(path: &str, text: &str) -> Option<Finding> {
    let (source, _) = Source::read(text).without_tests();
    let code = source.code.as_str();
    let mut at = 0;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        let rest = &code[at..];
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with('#') {
            at = end_of_attribute(code, at);
            continue;
        }
        let end = end_of_item(code, at);
        let item = without_visibility(rest);
        let is_module = item.starts_with("mod ") && code[at..end].ends_with(';');
        if !is_module && !item.starts_with("use ") {
            let message = "lib.rs holds docs, modules and re-exports only: move this into a module";
            return Some(Finding::new(path, line_at(code, at), message));
        }
        // The braces of `use a::{b, c};` end before its semicolon does.
        at = end + usize::from(code[end..].starts_with(';'));
    }
}

fn end_of_attribute(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 1 => return at + 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

fn without_visibility(item: &str) -> &str {
    let Some(rest) = item.strip_prefix("pub") else { return item };
    let scope = rest.strip_prefix('(').and_then(|scope| scope.split_once(')'));
    scope.map_or(rest, |(_, item)| item).trim_start()
}

fn names(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let parts = path.trim_end_matches(".rs").split('/');
    if let Some(name) = parts.into_iter().find(|part| EMPTY_NAMES.contains(part)) {
        findings.push(Finding::new(path, 1, format!("a module named {name}: name it after what it holds")));
    }
    if path.ends_with("/mod.rs") && path.contains("/src/") {
        findings.push(Finding::new(path, 1, "one module style everywhere: write `foo.rs` beside `foo/`"));
    }
    let source = Source::read(text);
    for place in source.words("mod") {
        let name: String =
            place.after.trim_start().chars().take_while(|&c| super::source::is_name(c)).collect();
        if place.after.trim_start().trim_start_matches(name.as_str()).trim_start().starts_with('{')
            && EMPTY_NAMES.contains(&name.as_str())
        {
            let message = format!("a module named {name}: name it after what it holds");
            findings.push(Finding::new(path, place.line, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let file = SourceFile { path: path.into(), text: Some(text.into()) };
        let mut lines: Vec<_> = check(&[file]).into_iter().map(|finding| finding.line).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn forbidden_calls_are_found_in_libraries() {
        let text = "fn a() {\n b.unwrap();\n todo!();\n dbg!(c);\n mpsc::unbounded_channel();\n unimplemented!();\n}\n";
        assert_eq!(lines("crates/exec/src/a.rs", text), [2, 3, 4, 5, 6]);
        assert_eq!(lines("crates/tidemill/src/a.rs", text), NONE);
        assert_eq!(lines("crates/exec/tests/a.rs", text), NONE);
    }

    #[test]
    fn forbidden_words_in_texts_and_tests_are_not() {
        let text = "//! `.unwrap()`\nfn a() { b(\"todo!\"); c.unwrap_or(0); }\n#[cfg(test)]\nmod tests {\n fn d() { e.unwrap(); }\n}\n";
        assert_eq!(lines("crates/exec/src/a.rs", text), NONE);
    }

    #[test]
    fn a_test_module_in_its_own_file_is_a_test() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: Some(text.into()) };
        let files = [
            file("crates/exec/src/a.rs", "#[cfg(test)]\nmod tests;\n"),
            file("crates/exec/src/a/tests.rs", "fn b() { c.unwrap(); }\n"),
            file("crates/exec/src/a/tests/more.rs", "fn b() { c.unwrap(); }\n"),
            file("crates/exec/src/tests.rs", "fn b() { c.unwrap(); }\n"),
        ];
        let found: Vec<_> = check(&files).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["crates/exec/src/tests.rs"]);
    }

    #[test]
    fn unbounded_channels_are_told_from_bounded_ones() {
        let text = "fn a() {\n mpsc::channel();\n channel::<Vec<u8>>();\n mpsc::channel(4);\n b.channel();\n unbounded();\n oneshot::channel();\n}\nfn channel() {}\n";
        assert_eq!(lines("crates/net/src/a.rs", text), [2, 3, 6]);
    }

    #[test]
    fn waits_for_the_disk_are_counted() {
        let text = "fn a(file: &File) {\n file.sync_all();\n file.sync_data();\n disk::sync_data(file);\n}\n";
        assert_eq!(lines("crates/net/src/a.rs", text), [2, 3]);
        assert_eq!(lines("crates/disk/src/a.rs", text), NONE);
    }

    #[test]
    fn unsafe_needs_its_reason() {
        assert_eq!(lines("crates/exec/src/a.rs", "fn a() {\n unsafe { b() }\n}\n"), [2]);
        assert_eq!(
            lines("crates/exec/src/a.rs", "fn a() {\n // SAFETY: b is sound.\n unsafe { b() }\n}\n"),
            NONE
        );
        assert_eq!(
            lines("crates/exec/src/a.rs", "impl A for B {\n unsafe fn a() {}\n}\n"),
            NONE,
            "what callers see to is said where the function is declared"
        );
        let far = format!("// SAFETY: no.\n{}unsafe impl A for B {{}}\n", "\n".repeat(SAFETY_LINES));
        assert_eq!(lines("crates/exec/src/a.rs", &far), [SAFETY_LINES + 2]);
    }

    #[test]
    fn lib_holds_no_logic() {
        let good = "//! Docs.\n#![warn(missing_docs)]\n\nmod a;\npub(crate) mod b;\n#[cfg(unix)]\nmod c;\n\
                    pub use a::{\n    A, B,\n};\nuse b as d;\n#[cfg(test)]\nmod tests {\n fn e() {}\n}\n";
        assert_eq!(lines("crates/exec/src/lib.rs", good), NONE);
        for logic in
            ["fn a() {}", "pub const A: u8 = 1;", "mod a { fn b() {} }", "macro_rules! a { () => {} }"]
        {
            assert_eq!(lines("crates/exec/src/lib.rs", &format!("mod b;\n{logic}\n")), [2], "{logic}");
        }
    }

    #[test]
    fn modules_have_names_that_say_something() {
        assert_eq!(lines("crates/exec/src/utils.rs", ""), [1]);
        assert_eq!(lines("crates/exec/src/common/a.rs", ""), [1]);
        assert_eq!(lines("crates/exec/src/a.rs", "mod helpers {}\nmod help {}\n"), [1]);
        assert_eq!(lines("crates/exec/src/a/mod.rs", ""), [1]);
        assert_eq!(lines("crates/tidemill/tests/support/mod.rs", ""), NONE);
    }
}
