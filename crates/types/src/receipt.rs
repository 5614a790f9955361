//! Receipts: the accepted result of a task with all that proves who gave it, as a file that anyone can check alone.
//!
//! A receipt holds what was asked for, the provider's signed claim, and the bytes of the answer, so that whoever got the
//! answer can show whose it was. On what grounds it was accepted and what it cost is the coordinator's word.

use serde::{Deserialize, Serialize};

use crate::{Acceptance, Amount, BlobId, NodeId, Outcome, ResultFlaw, SignedResult, TaskSpec, one_line};

/// The longest receipt, encoded: a long prompt, a long answer, and the proof.
pub const MAX_RECEIPT_BYTES: usize = 8 << 20;

/// How a file begins; the number of its format follows.
const HEAD: &[u8] = b"tidemill receipt ";

/// The format that this build writes and reads.
const FORMAT: &[u8] = b"1";

/// An accepted result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// What was asked for.
    pub spec: TaskSpec,
    /// Who answered, and what they signed.
    pub result: SignedResult,
    /// Why it was accepted, by the coordinator's word.
    pub acceptance: Acceptance,
    /// What it cost before fees, by the coordinator's word; zero where nobody is paid.
    pub price: Amount,
    /// When the result came, in milliseconds since 1970, by the coordinator's word.
    pub at_ms: u64,
    /// The archive that the provider left, where the receipt has it.
    pub output: Option<Vec<u8>>,
}

/// Why something is no receipt.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The file is something else.
    #[error("the file is not a receipt of Tidemill")]
    NotReceipt,
    /// Another version of Tidemill wrote it.
    #[error("the receipt has the format {found:?}, and this version of tidemill knows 1")]
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
    /// The provider did not sign this.
    #[error("the provider did not sign this result")]
    Result(#[source] ResultFlaw),
    /// The claim is of a failure.
    #[error("the signed claim says that the task failed")]
    Failed,
    /// The answer is not the one that was signed.
    #[error("the answer is not the one that the provider signed: its hash differs")]
    OtherOutput,
}

impl Receipt {
    /// Checks that the provider signed this answer to this specification. `is_signed_by` is as in
    /// [`Evidence::check`](crate::Evidence::check).
    ///
    /// # Errors
    /// [`ReceiptError`] says what does not hold.
    pub fn check(&self, is_signed_by: impl Fn(NodeId, &[u8], &[u8; 64]) -> bool) -> Result<(), ReceiptError> {
        self.result.check(&self.spec, is_signed_by).map_err(ReceiptError::Result)?;
        let claim = &self.result.leaf.claim;
        let (Outcome::Done, Some(claimed)) = (&claim.outcome, claim.output) else {
            return Err(ReceiptError::Failed);
        };
        match &self.output {
            Some(bytes) if BlobId::of(bytes) != claimed.id || bytes.len() as u64 != claimed.len => {
                Err(ReceiptError::OtherOutput)
            }
            _ => Ok(()),
        }
    }

    /// What it says, in sentences of a line each. It says nothing that is not in the receipt.
    pub fn words(&self) -> String {
        let SignedResult { leaf, binding } = &self.result;
        let terms = &leaf.terms;
        let output = leaf.claim.output.map_or_else(
            || "no output".to_owned(),
            |output| format!("the output {} of {} bytes", output.id, output.len),
        );
        let Acceptance { basis, results, agreeing, .. } = self.acceptance;
        let basis = format!("{basis:?}").to_lowercase();
        let price = if self.price == Amount::ZERO { "nothing".to_owned() } else { self.price.to_string() };
        format!(
            "Task {} of job {}, lease {}: node {} with the result key {} signed {output}.\n\
             It ran the specification {}: program {}, kind {}, version of execution {}.\n\
             The coordinator {} says: it was accepted as {basis}, {agreeing} of {results} results agreeing, and cost {price}.\n",
            terms.task,
            terms.job,
            terms.lease,
            terms.provider,
            binding.address,
            terms.work.spec,
            terms.work.program,
            terms.work.kind,
            terms.work.exec_version,
            terms.coordinator,
        )
    }

    /// The receipt as a file: a line that names the format, [`Self::words`], an empty line, and the content.
    pub fn to_file(&self) -> Vec<u8> {
        [HEAD, FORMAT, b"\n", self.words().as_bytes(), b"\n", self.content().as_slice()].concat()
    }

    /// The receipt that is in a file. It proves nothing before [`Self::check`].
    ///
    /// # Errors
    /// [`ReceiptError`] for a file that is something else, that is damaged, or whose words are not those of its content.
    pub fn from_file(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let rest = bytes.strip_prefix(HEAD).ok_or(ReceiptError::NotReceipt)?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(ReceiptError::NotReceipt)?;
        let (format, rest) = (&rest[..end], &rest[end + 1..]);
        if format != FORMAT {
            let found = one_line(&String::from_utf8_lossy(format), 20);
            return Err(ReceiptError::OtherFormat { found });
        }
        let end = rest.windows(2).position(|pair| pair == b"\n\n").ok_or(ReceiptError::Damaged)?;
        let (words, content) = (&rest[..=end], &rest[end + 2..]);
        let receipt: Self = postcard::from_bytes(content).map_err(|_| ReceiptError::Damaged)?;
        // The same could be written in several ways, and more could follow it.
        if receipt.content() != content {
            return Err(ReceiptError::Damaged);
        }
        if receipt.words().as_bytes() != words {
            return Err(ReceiptError::OtherWords);
        }
        Ok(receipt)
    }

    fn content(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data always has a postcard encoding")
    }
}

#[cfg(test)]
mod tests;
