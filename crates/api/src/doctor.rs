//! What `tidemill doctor` found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a look at this machine came to. `tidemill doctor` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// The version of Tidemill that looked.
    pub version: String,
    /// The grade of the worst finding.
    pub worst: Grade,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was looked at, in a word or two that stay the same from version to version.
    pub name: String,
    /// How it is.
    pub grade: Grade,
    /// What was found, in a sentence.
    pub found: String,
    /// What a person can do about it; left out where nothing is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How something is, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It could not be looked at, and the finding says why.
    Skipped,
    /// It is as it should be.
    Good,
    /// It is no fault, and good to know.
    Note,
    /// Something works worse than it could, or will stop to work.
    Warning,
    /// Something does not work.
    Fault,
}

impl Check {
    /// A finding that needs no mending.
    pub fn new(name: &str, grade: Grade, found: impl Into<String>) -> Self {
        Self { name: name.to_owned(), grade, found: found.into(), mend: None }
    }

    /// The same with what a person can do about it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

impl Doctor {
    /// What these checks come to.
    pub fn of(version: &str, checks: Vec<Check>) -> Self {
        let worst = checks.iter().map(|check| check.grade).max().unwrap_or(Grade::Skipped);
        Self { version: version.to_owned(), worst, checks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_counts() {
        use Grade::{Fault, Good, Note, Skipped, Warning};
        let of = |grades: &[Grade]| {
            let checks = grades.iter().map(|grade| Check::new("a", *grade, "b")).collect();
            Doctor::of("1", checks).worst
        };
        assert_eq!(of(&[]), Skipped);
        assert_eq!(of(&[Good, Skipped]), Good);
        assert_eq!(of(&[Good, Warning, Note]), Warning);
        assert_eq!(of(&[Fault, Warning]), Fault);
        let written = serde_json::to_value(Check::new("disk", Good, "there is room")).expect("plain data");
        assert!(written.get("mend").is_none(), "{written}");
    }
}
