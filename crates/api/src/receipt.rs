//! Receipts of answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use crate::{Usage, Verdict, wei::Wei};

/// Who gave an accepted result, and what proves it. `tidemill receipt` and the HTTP API give it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// What names it: the id of its job.
    pub id: String,
    /// The number of the task there.
    pub task: u64,
    /// The coordinator that leased the task.
    pub coordinator: String,
    /// The provider that signed the result.
    pub provider: String,
    /// The account of the key that it signed with.
    pub result_key: String,
    /// The hash of the task's specification.
    pub spec: String,
    /// The hash of its program, or model.
    pub program: String,
    /// The sort of program.
    pub kind: String,
    /// The hash of the answer's archive.
    pub output: String,
    /// What the attempt used, as signed.
    pub usage: Usage,
    /// Why the result was accepted, by the coordinator's word.
    pub accepted: Verdict,
    /// What it cost before fees, by the coordinator's word.
    #[schemars(with = "Wei")]
    pub price_wei: Amount,
    /// When it came, by the coordinator's word.
    pub at_ms: u64,
    /// The receipt as a file that `tidemill receipt FILE` checks, in base64; left out where it is in a file already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl From<&tidemill_types::Receipt> for Receipt {
    fn from(receipt: &tidemill_types::Receipt) -> Self {
        let tidemill_types::Receipt { result, acceptance, price, at_ms, .. } = receipt;
        let (terms, claim) = (&result.leaf.terms, &result.leaf.claim);
        Self {
            id: terms.job.to_string(),
            task: terms.task.0,
            coordinator: terms.coordinator.to_string(),
            provider: terms.provider.to_string(),
            result_key: result.binding.address.to_string(),
            spec: terms.work.spec.to_string(),
            program: terms.work.program.to_string(),
            kind: terms.work.kind.to_string(),
            output: claim.output.map_or_else(String::new, |output| output.id.to_string()),
            usage: Usage::from(&claim.usage),
            accepted: Verdict::from(acceptance),
            price_wei: *price,
            at_ms: *at_ms,
            file: None,
        }
    }
}
