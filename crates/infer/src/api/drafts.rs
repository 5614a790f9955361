//! The tokens of answers, for whoever computes the same answers again.
//!
//! A text does not say which tokens it was made of, and whoever wants to compute an answer again in a part of the time has
//! to know them (see [`Batch::join_with_draft`](crate::Batch::join_with_draft)). The chains of hidden states are no part of
//! a draft: only those have them who have computed the answers.

use super::lines::Answered;

/// Tokens that answers may have: for each line of the input, of each choice. They come from strangers and are only tried,
/// so what cannot be read is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drafts {
    lines: Vec<Vec<Vec<u32>>>,
}

impl Drafts {
    /// The tokens of answers.
    pub fn of(answered: &[Answered]) -> Self {
        let tokens = |answered: &Answered| answered.claims.iter().map(|claim| claim.tokens.clone()).collect();
        Self { lines: answered.iter().map(tokens).collect() }
    }

    /// Lines of JSON, each with an array of tokens for each choice: `[[504,260],[504]]`. Vectors and errors have `[]`.
    pub fn to_lines(&self) -> String {
        self.lines.iter().map(|line| format!("{line:?}\n").replace(' ', "")).collect()
    }

    /// From such lines.
    pub fn read(text: &str) -> Self {
        Self { lines: text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect() }
    }

    /// Those of a choice of a line; empty where there are none.
    pub fn choice(&self, line: usize, choice: usize) -> &[u32] {
        self.lines.get(line).and_then(|line| line.get(choice)).map_or(&[], Vec::as_slice)
    }
}
