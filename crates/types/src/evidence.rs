//! Evidence: two signed results of one task that contradict each other, as a file that anyone can check alone.
//!
//! A task has one right result. Whoever holds two signed ones that differ can prove that one of the two providers signed a
//! wrong one; running the specification again tells which. The file brings all that this takes: the specification, what
//! both were asked and claimed, their signatures, and the statements that bind their keys to their nodes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Chain, Claim, FloatClass, KeyBinding, LeafError, Metered, NodeId, Outcome, SignatureError, SignedLeaf,
    TaskSpec, Terms, Weight, WorkTerms, binding_message, one_line, verify_result_side,
};

/// The longest evidence, encoded: a task may have many inputs, and its evidence has to travel in one message.
pub const MAX_EVIDENCE_BYTES: usize = 1 << 20;

/// The longest part of a failure that the words of a file repeat, in characters.
const FAILURE_CHARS: usize = 200;

/// How a file begins; the number of its format follows.
const HEAD: &[u8] = b"tidemill evidence ";

/// The format that this build writes and reads. Any change of the encoding or of the words is another one.
const FORMAT: &[u8] = b"1";

/// Two signed results of one task of which at most one is right.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// How the coordinator came upon it.
    pub finding: Finding,
    /// What both were asked to run.
    pub spec: TaskSpec,
    /// The result that contradicts the accepted one.
    pub accused: SignedResult,
    /// The accepted one.
    pub accepted: SignedResult,
}

/// How a contradiction was found. It rests on the coordinator's word: the signatures say nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Finding {
    /// Several providers had the task, and a verdict accepted the answer of others.
    Verdict,
    /// The task was done, and its answer was certain, before its provider was tested with it.
    KnownAnswer,
}

/// A result with all that binds it to its provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedResult {
    /// The terms, the claim, and their way to the signature.
    pub leaf: SignedLeaf,
    /// The statement of the provider's two keys that they belong together, which is made for no ledger:
    /// [`Chain::default`].
    pub binding: KeyBinding,
}

/// One of the two results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// [`Evidence::accused`].
    Accused,
    /// [`Evidence::accepted`].
    Accepted,
}

/// Why something is no evidence.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The file is something else.
    #[error("the file is not evidence of Tidemill")]
    NotEvidence,
    /// Another version of Tidemill wrote it.
    #[error("the evidence has the format {found:?}, and this version of tidemill knows 1")]
    OtherFormat {
        /// The format, as the file says.
        found: String,
    },
    /// Its content is cut off, or is not in the one form that it may have.
    #[error("the content of the file is damaged")]
    Damaged,
    /// It says something else in words than its content does.
    #[error("the words at the beginning of the file are not those of its content")]
    OtherWords,
    /// The result key does not vouch for the node.
    #[error("the result key of {0} does not vouch for its node")]
    ResultKey(Side, #[source] SignatureError),
    /// The node does not vouch for the result key.
    #[error("the node of {0} does not vouch for its result key")]
    NodeKey(Side),
    /// The specification is not the one that the terms name.
    #[error("the specification is not the one that was signed with {0}: its hash differs")]
    OtherSpec(Side),
    /// What else the terms say of the work does not follow from the specification.
    #[error("the terms of {0} do not follow from the specification")]
    OtherTerms(Side),
    /// The signature does not cover it.
    #[error("{0} was not signed like this")]
    Leaf(Side, #[source] LeafError),
    /// The results are of different tasks.
    #[error("the two results are not of the same task of the same coordinator")]
    OtherTask,
    /// A failure may have been the machine's.
    #[error("{0} is a failure that says nothing about other machines")]
    Circumstance(Side),
    /// Native floats may differ between classes of hardware.
    #[error("the two results are of different classes of hardware, where native floats may differ")]
    OtherClass,
    /// The results say the same.
    #[error("the two results do not contradict each other")]
    NoContradiction,
}

/// Why a provider did not sign a result of a specification.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResultFlaw {
    /// The result key does not vouch for the node.
    #[error("its result key does not vouch for its node")]
    ResultKey(#[source] SignatureError),
    /// The node does not vouch for the result key.
    #[error("its node does not vouch for its result key")]
    NodeKey,
    /// The specification is not the one that the terms name.
    #[error("the specification is not the one that was signed: its hash differs")]
    OtherSpec,
    /// What else the terms say of the work does not follow from the specification.
    #[error("the terms do not follow from the specification")]
    OtherTerms,
    /// The signature does not cover it.
    #[error("it was not signed like this")]
    Leaf(#[source] LeafError),
}

impl SignedResult {
    /// Checks that the provider of its terms signed it, for this specification. `is_signed_by` is as in [`Evidence::check`].
    ///
    /// # Errors
    /// [`ResultFlaw`] says what does not hold.
    pub fn check(
        &self,
        spec: &TaskSpec,
        is_signed_by: impl Fn(NodeId, &[u8], &[u8; 64]) -> bool,
    ) -> Result<(), ResultFlaw> {
        let Self { leaf, binding } = self;
        let Terms { provider, work, .. } = leaf.terms;
        verify_result_side(&Chain::default(), provider, binding).map_err(ResultFlaw::ResultKey)?;
        if !is_signed_by(provider, &binding_message(binding.address), &binding.by_node_key) {
            return Err(ResultFlaw::NodeKey);
        }
        let asked = WorkTerms::under(spec, work.exec_version);
        if asked.spec != work.spec {
            return Err(ResultFlaw::OtherSpec);
        }
        if asked != work {
            return Err(ResultFlaw::OtherTerms);
        }
        leaf.check(binding.address).map_err(ResultFlaw::Leaf)
    }
}

impl Evidence {
    /// Checks that both providers signed what is here, for the same work, and that their results contradict each other.
    /// `is_signed_by`: whether a node signed these bytes, by its ed25519 key, which this crate does not know how to check.
    ///
    /// # Errors
    /// [`EvidenceError`] says what does not hold, and of which of the results.
    pub fn check(
        &self,
        is_signed_by: impl Fn(NodeId, &[u8], &[u8; 64]) -> bool,
    ) -> Result<(), EvidenceError> {
        for (side, result) in [(Side::Accused, &self.accused), (Side::Accepted, &self.accepted)] {
            result.check(&self.spec, &is_signed_by).map_err(|flaw| match flaw {
                ResultFlaw::ResultKey(source) => EvidenceError::ResultKey(side, source),
                ResultFlaw::NodeKey => EvidenceError::NodeKey(side),
                ResultFlaw::OtherSpec => EvidenceError::OtherSpec(side),
                ResultFlaw::OtherTerms => EvidenceError::OtherTerms(side),
                ResultFlaw::Leaf(source) => EvidenceError::Leaf(side, source),
            })?;
        }
        self.check_contradiction()
    }

    /// Whether the two results cannot both be right.
    fn check_contradiction(&self) -> Result<(), EvidenceError> {
        let (accused, accepted) = (&self.accused.leaf, &self.accepted.leaf);
        let task = |leaf: &SignedLeaf| {
            let Terms { coordinator, job, task, work, .. } = leaf.terms;
            (leaf.chain, coordinator, job, task, work)
        };
        if task(accused) != task(accepted) {
            return Err(EvidenceError::OtherTask);
        }
        for (side, leaf) in [(Side::Accused, accused), (Side::Accepted, accepted)] {
            if let Outcome::Failed(failure) = &leaf.claim.outcome
                && failure.weight() == Weight::Circumstance
            {
                return Err(EvidenceError::Circumstance(side));
            }
        }
        let class = |leaf: &SignedLeaf| leaf.claim.hardware_class.clone();
        if self.spec.floats == FloatClass::Native && class(accused) != class(accepted) {
            return Err(EvidenceError::OtherClass);
        }
        // The work of a program that ends well is the same on every machine, and is billed: whoever claims more lies. Where
        // it fails, machines notice that a little earlier or later.
        let says = |leaf: &SignedLeaf| {
            let Claim { outcome, usage, output, .. } = &leaf.claim;
            let work = (*outcome == Outcome::Done).then(|| Metered::of(self.spec.kind, usage));
            (outcome.clone(), *output, work)
        };
        if says(accused) == says(accepted) {
            return Err(EvidenceError::NoContradiction);
        }
        Ok(())
    }

    /// What contradicts what, in sentences of a line each. It says nothing that is not in the evidence.
    pub fn words(&self) -> String {
        let Terms { coordinator, job, task, work, .. } = &self.accused.leaf.terms;
        let finding = match self.finding {
            Finding::Verdict => "The coordinator says: a verdict on the task accepted the other answer.",
            Finding::KnownAnswer => {
                "The coordinator says: the task's answer was known before its provider was tested with it."
            }
        };
        format!(
            "Two signed results of task {task} of job {job} contradict each other.\n\
             {}\n{}\n{finding}\n\
             Coordinator {coordinator} leased both. To see which is right, run the specification {} again: \
             program {}, kind {}, floats {}, version of execution {}.\n",
            signed("Contradicting", &self.accused),
            signed("Accepted", &self.accepted),
            work.spec,
            work.program,
            work.kind,
            work.floats,
            work.exec_version,
        )
    }

    /// The evidence as a file: a line that names the format, [`Self::words`], an empty line, and the content.
    pub fn to_file(&self) -> Vec<u8> {
        [HEAD, FORMAT, b"\n", self.words().as_bytes(), b"\n", self.content().as_slice()].concat()
    }

    /// The evidence that is in a file. It proves nothing before [`Self::check`].
    ///
    /// # Errors
    /// [`EvidenceError`] for a file that is something else, that is damaged, or whose words are not those of its content.
    pub fn from_file(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let rest = bytes.strip_prefix(HEAD).ok_or(EvidenceError::NotEvidence)?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(EvidenceError::NotEvidence)?;
        let (format, rest) = (&rest[..end], &rest[end + 1..]);
        if format != FORMAT {
            let found = one_line(&String::from_utf8_lossy(format), 20);
            return Err(EvidenceError::OtherFormat { found });
        }
        let end = rest.windows(2).position(|pair| pair == b"\n\n").ok_or(EvidenceError::Damaged)?;
        let (words, content) = (&rest[..=end], &rest[end + 2..]);
        let evidence: Self = postcard::from_bytes(content).map_err(|_| EvidenceError::Damaged)?;
        // The same could be written in several ways, and more could follow it.
        if evidence.content() != content {
            return Err(EvidenceError::Damaged);
        }
        if evidence.words().as_bytes() != words {
            return Err(EvidenceError::OtherWords);
        }
        Ok(evidence)
    }

    fn content(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data always has a postcard encoding")
    }
}

/// What a provider signed, in one sentence.
fn signed(which: &str, result: &SignedResult) -> String {
    let SignedLeaf { terms, claim, .. } = &result.leaf;
    let Claim { outcome, usage, output, hardware_class } = claim;
    let said = match (outcome, output) {
        (Outcome::Done, Some(output)) => {
            format!("the program ended well and left the output {} of {} bytes", output.id, output.len)
        }
        (Outcome::Done, None) => "the program ended well and left no output".to_owned(),
        (Outcome::Failed(failure), _) => {
            format!("{} (it would on every machine)", one_line(&failure.to_string(), FAILURE_CHARS))
        }
    };
    let class = match hardware_class {
        Some(class) => format!(", on hardware of the class {}", one_line(class, FAILURE_CHARS)),
        None => String::new(),
    };
    format!(
        "{which}, lease {}: node {} with the result key {} signed that {said}, after {} units of fuel{class}.",
        terms.lease, terms.provider, result.binding.address, usage.fuel.0,
    )
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accused => "the contradicting result",
            Self::Accepted => "the accepted result",
        })
    }
}

#[cfg(test)]
mod tests;
