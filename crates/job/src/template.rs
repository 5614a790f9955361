//! Texts with `{placeholders}`, parsed once and filled in for each task.

use std::{borrow::Cow, ops::Range};

use crate::{Matrix, Tasks, mistake::key_name};

/// A text in which placeholders stand for what differs between tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Template {
    parts: Vec<Part>,
}

/// What a placeholder stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placeholder {
    /// `{index}`: the task's number, from 0.
    Index,
    /// `{count}`: the number of tasks of the map, or of parts of a reduce task.
    Count,
    /// `{value}`: the value of a range.
    Value,
    /// `{input}`: where the task finds its own input.
    Input,
    /// `{input.name}`: the name of the file that the input is, or is a piece of.
    InputName,
    /// `{input.stem}`: that name without its last extension.
    InputStem,
    /// `{input.dir}`: the directory that the file is in, as the job file leads to it.
    InputDir,
    /// `{some_parameter}`: the value of a matrix's parameter, by its place among the sorted names.
    Parameter(usize),
    /// `{parts}`: the directory in which a reduce task finds its parts.
    Parts,
    /// `{level}`: the level of a reduce task, from 0.
    Level,
    /// `{last}`: whether a reduce task makes the job's output, `true` or `false`.
    Last,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

/// The placeholders that are allowed somewhere, with their names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scope(Vec<(String, Placeholder)>);

/// What is wrong with a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TemplateMistake {
    /// Where in the text, in bytes.
    pub(crate) span: Range<usize>,
    pub(crate) found: String,
    pub(crate) allowed: String,
}

impl Template {
    /// Reads a text with the placeholders that `scope` allows.
    ///
    /// # Errors
    /// One mistake for each brace without a partner and each placeholder that is not in `scope`.
    pub(crate) fn parse(text: &str, scope: &Scope) -> Result<Self, Vec<TemplateMistake>> {
        let mut parts = Vec::new();
        let mut mistakes = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find(['{', '}']) {
            let brace = at + found;
            literal.push_str(&text[at..brace]);
            let rest = &text[brace..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push_str(&rest[..1]);
                at = brace + 2;
            } else if let Some(len) = rest.strip_prefix('{').and_then(|inner| inner.find(['{', '}']))
                && rest[1 + len..].starts_with('}')
            {
                let name = &rest[1..=len];
                match scope.get(name) {
                    Some(placeholder) => {
                        if !literal.is_empty() {
                            parts.push(Part::Text(std::mem::take(&mut literal)));
                        }
                        parts.push(Part::Placeholder(placeholder));
                    }
                    None => mistakes.push(TemplateMistake {
                        span: brace..brace + len + 2,
                        found: format!("unknown placeholder {}", key_name(&format!("{{{name}}}"))),
                        allowed: scope.allowed(),
                    }),
                }
                at = brace + len + 2;
            } else {
                mistakes.push(TemplateMistake {
                    span: brace..brace + 1,
                    found: format!("a single `{}`", &rest[..1]),
                    allowed: "a brace that is meant as such is doubled, `{{` or `}}`".to_owned(),
                });
                at = brace + 1;
            }
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if mistakes.is_empty() { Ok(Self { parts }) } else { Err(mistakes) }
    }

    /// A text without placeholders, whatever braces it has.
    pub(crate) fn literal(text: &str) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
        Self { parts }
    }

    /// The text with each placeholder replaced by what `value` gives for it.
    pub fn render<'v>(&self, value: impl Fn(Placeholder) -> Cow<'v, str>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Placeholder(placeholder) => text.push_str(&value(*placeholder)),
            }
        }
        text
    }

    /// The text that [`Self::parse`] reads as this template; none where `scope` does not have all of its
    /// placeholders.
    pub(crate) fn source(&self, scope: &Scope) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(&literal.replace('{', "{{").replace('}', "}}")),
                Part::Placeholder(placeholder) => {
                    text.extend(["{", scope.name(*placeholder)?, "}"]);
                }
            }
        }
        Some(text)
    }

    /// How long [`Self::render`]'s text is when `len` gives the length of what stands for a placeholder.
    pub(crate) fn rendered_len(&self, len: impl Fn(Placeholder) -> u64) -> u64 {
        let part = |part: &Part| match part {
            Part::Text(literal) => literal.len() as u64,
            Part::Placeholder(placeholder) => len(*placeholder),
        };
        self.parts.iter().map(part).fold(0, u64::saturating_add)
    }

    /// Whether `scope` has all of its placeholders.
    pub(crate) fn uses_only(&self, scope: &Scope) -> bool {
        self.parts.iter().all(|part| !matches!(part, Part::Placeholder(p) if scope.name(*p).is_none()))
    }

    /// How many placeholders there are.
    pub(crate) fn placeholders(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Placeholder(_))).count()
    }
}

impl Scope {
    /// What a map task has.
    pub(crate) fn of(tasks: &Tasks) -> Self {
        match tasks {
            Tasks::One => Self::one(),
            Tasks::Range(_) => Self::range(),
            Tasks::Files(_) | Tasks::Split(_) => Self::input(),
            Tasks::Matrix(matrix) => Self::matrix(matrix),
        }
    }

    /// What the only task of a map has.
    pub(crate) fn one() -> Self {
        Self::map([])
    }

    /// What a task for a number has.
    pub(crate) fn range() -> Self {
        Self::map([("value".to_owned(), Placeholder::Value)])
    }

    /// What a task for a file or a piece of one has.
    pub(crate) fn input() -> Self {
        let own = [
            ("input", Placeholder::Input),
            ("input.name", Placeholder::InputName),
            ("input.stem", Placeholder::InputStem),
            ("input.dir", Placeholder::InputDir),
        ];
        Self::map(own.map(|(name, p)| (name.to_owned(), p)))
    }

    /// What a task for a combination of parameters has.
    pub(crate) fn matrix(matrix: &Matrix) -> Self {
        let parameters = matrix.parameters.iter().enumerate();
        Self::map(parameters.map(|(i, parameter)| (parameter.name.clone(), Placeholder::Parameter(i))))
    }

    /// What every map task has, and what its source adds.
    fn map(of_source: impl IntoIterator<Item = (String, Placeholder)>) -> Self {
        let own = [("index", Placeholder::Index), ("count", Placeholder::Count)];
        Self(own.map(|(name, p)| (name.to_owned(), p)).into_iter().chain(of_source).collect())
    }

    /// What a reduce task has.
    pub(crate) fn reduce() -> Self {
        let all = [
            ("parts", Placeholder::Parts),
            ("index", Placeholder::Index),
            ("level", Placeholder::Level),
            ("last", Placeholder::Last),
            ("count", Placeholder::Count),
        ];
        Self(all.map(|(name, p)| (name.to_owned(), p)).into())
    }

    fn get(&self, name: &str) -> Option<Placeholder> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, placeholder)| *placeholder)
    }

    fn name(&self, placeholder: Placeholder) -> Option<&str> {
        self.0.iter().find(|(_, known)| *known == placeholder).map(|(name, _)| name.as_str())
    }

    fn allowed(&self) -> String {
        /// More names than this do not help anyone.
        const MAX_NAMES: usize = 16;
        let mut names: Vec<_> =
            self.0.iter().take(MAX_NAMES).map(|(name, _)| format!("{{{name}}}")).collect();
        if self.0.len() > MAX_NAMES {
            names.push("…".to_owned());
        }
        format!("allowed here: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope() -> Scope {
        Scope::map([("value".to_owned(), Placeholder::Value), ("x".to_owned(), Placeholder::Parameter(0))])
    }

    fn render(text: &str) -> Result<String, Vec<String>> {
        let template = Template::parse(text, &scope());
        let render = |t: Template| t.render(|p| format!("<{p:?}>").into());
        template
            .map(render)
            .map_err(|all| all.into_iter().map(|m| format!("{:?} {}", m.span, m.found)).collect())
    }

    #[test]
    fn placeholders_are_replaced_and_doubled_braces_stand_for_one() {
        assert_eq!(render("a{index}b{x}").as_deref(), Ok("a<Index>b<Parameter(0)>"));
        assert_eq!(render("{{index}} {{{value}}}").as_deref(), Ok("{index} {<Value>}"));
        assert_eq!(render("").as_deref(), Ok(""));
    }

    #[test]
    fn every_mistake_is_found() {
        assert_eq!(
            render("{nope} { {index} } {}"),
            Err(vec![
                "0..6 unknown placeholder `{nope}`".to_owned(),
                "7..8 a single `{`".to_owned(),
                "17..18 a single `}`".to_owned(),
                "19..21 unknown placeholder `{}`".to_owned(),
            ])
        );
    }

    proptest! {
        #[test]
        fn any_text_with_its_braces_doubled_is_itself(text in ".{0,40}") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(render(&doubled), Ok(text));
        }

        #[test]
        fn what_was_read_can_be_written_again(text in "([a{}]|\\{\\{|\\}\\}|\\{index\\}|\\{x\\}){0,8}") {
            if let Ok(template) = Template::parse(&text, &scope()) {
                prop_assert_eq!(template.source(&scope()), Some(text));
                let len = template.rendered_len(|p| format!("{p:?}").len() as u64);
                prop_assert_eq!(len, template.render(|p| format!("{p:?}").into()).len() as u64);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[{}a-cé]{0,20}") {
            let _ = render(&text);
        }
    }
}
