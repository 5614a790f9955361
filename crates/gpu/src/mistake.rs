//! What is wrong with a program, told before anything of it runs.

use std::fmt;

use naga::{Span, WithSpan};

/// A place in the text of a module, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in bytes.
    pub column: u32,
}

/// What is wrong with a program. The same text gives the same mistake on every machine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mistake {
    /// The text is not WGSL, or breaks a rule of the language.
    #[error("{}{message}", at(*.place))]
    Language {
        /// Where.
        place: Option<Place>,
        /// What naga says.
        message: String,
    },
    /// It is WGSL, but no program that can be run with a promise of its end and its bill.
    #[error("{}{refusal}", at(*.place))]
    Refused {
        /// Where, if it is at one place.
        place: Option<Place>,
        /// Why.
        refusal: Refusal,
    },
    /// The plan does not fit the module.
    #[error("{0}")]
    Plan(String),
}

/// Why a program that is WGSL is not run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The text is too long.
    #[error("the module has {bytes} bytes; {most} are allowed")]
    Text {
        /// Its length.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// There is no such compute entry point.
    #[error("the module has no compute entry point named {name:?}; it has {}", list(.known))]
    EntryPoint {
        /// What was asked for.
        name: String,
        /// The compute entry points that it has.
        known: Vec<String>,
    },
    /// A value of an override is missing, unknown or out of its type.
    #[error("the overrides do not fit: {0}")]
    Override(String),
    /// Something that only graphics, or only some devices, know.
    #[error("{0} cannot be used: not every device knows it, or not every device gives the same result")]
    Feature(String),
    /// The bind group that metering needs.
    #[error("group {group} is taken; programs use groups 0 to {}", group - 1)]
    Group {
        /// Its number.
        group: u32,
    },
    /// A barrier that some invocations of a workgroup may not reach.
    #[error("{what} stands where only some invocations of a workgroup may come")]
    Divergent {
        /// Which call.
        what: &'static str,
    },
    /// How long a loop runs, or which way a branch goes, depends on the order in which invocations met.
    #[error(
        "the result of an atomic operation decides how long a loop runs, so no second run need take the same fuel"
    )]
    Unrepeatable,
    /// More of something than is allowed.
    #[error("{what} is {found}; {most} is allowed")]
    Size {
        /// Of what.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much is allowed.
        most: u64,
    },
    /// Canonical floats do not know an operation.
    #[error(
        "canonical floats do not know {0}; use native floats, or write it with operations that they know"
    )]
    Canonical(String),
}

impl Mistake {
    /// A refusal that concerns no single place.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::Refused { place: None, refusal }
    }

    /// A refusal of what stands there in the text.
    pub(crate) fn refused_at(refusal: Refusal, span: Span, text: &str) -> Self {
        Self::Refused { place: place(span, text), refusal }
    }

    /// What naga's validator says.
    pub(crate) fn of_validation(error: &WithSpan<naga::valid::ValidationError>, text: &str) -> Self {
        let place = error.spans().next().and_then(|(span, _)| self::place(*span, text));
        let mut message = chain(error.as_inner());
        if let Some((_, label)) = error.spans().next().filter(|(_, label)| !label.is_empty()) {
            message = format!("{message} ({label})");
        }
        Self::Language { place, message }
    }
}

/// The message of an error and of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

/// Where a span begins, if it is of this text.
pub(crate) fn place(span: Span, text: &str) -> Option<Place> {
    let range = span.to_range()?;
    (range.end <= text.len() && text.is_char_boundary(range.start)).then(|| {
        let location = span.location(text);
        Place { line: location.line_number, column: location.line_position }
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

fn at(place: Option<Place>) -> String {
    place.map(|place| format!("{place}: ")).unwrap_or_default()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
