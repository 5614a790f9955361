//! Escrows, payments and earnings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::{Amount, Coin};

use crate::wei::Wei;

/// A transaction of an account's own that did what it should.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Transaction {
    /// What it was for.
    pub label: String,
    /// Its hash.
    pub transaction: String,
    /// The block that it is in.
    pub block: u64,
    /// The gas that it used.
    pub gas_used: u64,
}

/// The transactions of a command: `bond`, `unbond`, `delegate`, `undelegate`, `withdraw`, `escrow refund` and others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Transactions {
    /// In the order in which they were sent.
    pub transactions: Vec<Transaction>,
}

/// An escrow that was opened. `tidemill escrow open` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OpenedEscrow {
    /// Its name.
    pub escrow: String,
    /// What opened it.
    pub transaction: Transaction,
}

/// An escrow that its coordinator settled. `tidemill escrow end` prints it; where it ends the escrow on the ledger
/// itself, it prints transactions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SettledEscrow {
    /// What was paid.
    pub payment: Payment,
}

/// What was paid out of an escrow, as its coordinator says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Payment {
    /// The escrow.
    pub escrow: String,
    /// How far its settlement is.
    pub stage: PaymentStage,
    /// What was locked in it.
    #[schemars(with = "Wei")]
    pub deposited_wei: Amount,
    /// What providers have earned, before fees.
    #[schemars(with = "Wei")]
    pub earned_wei: Amount,
    /// What came back; null before it has.
    #[schemars(with = "Option<Wei>")]
    pub refunded_wei: Option<Amount>,
    /// What of the payments went to the coordinator and the protocol.
    #[schemars(with = "Wei")]
    pub fees_wei: Amount,
    /// The accounts that earned, the one with most first.
    pub payees: Vec<Payee>,
    /// What settled it.
    pub transactions: Vec<Settlement>,
    /// What the settlement waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// How far a settlement is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PaymentStage {
    /// Work goes on, or may come.
    Open,
    /// It is to be settled.
    Settling,
    /// Everybody was paid. The rest comes back when the collect window is over.
    Paid,
    /// Everybody was paid, and the rest is back.
    Closed,
}

/// An account that earned something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Payee {
    /// The account.
    pub operator: String,
    /// Its node that earned last.
    pub node: String,
    /// What it earned, before fees.
    #[schemars(with = "Wei")]
    pub earned_wei: Amount,
    /// What left the escrow for it.
    #[schemars(with = "Wei")]
    pub paid_wei: Amount,
    /// What of that it received.
    #[schemars(with = "Wei")]
    pub received_wei: Amount,
    /// Whether it has said that it wants no more than that.
    pub released: bool,
}

/// A transaction of a coordinator that settled an escrow, perhaps with others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Settlement {
    /// Its hash.
    pub transaction: String,
    /// The block that it is in.
    pub block: u64,
    /// The gas that it used.
    pub gas_used: u64,
    /// What a unit of gas cost, in wei of the chain's coin.
    #[schemars(with = "Wei")]
    pub gas_price_wei: Coin,
    /// How many escrows it settled.
    pub escrows: u32,
}

/// The escrows that an account opened. `tidemill escrow list` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Escrows {
    /// The account's address.
    pub account: String,
    /// The newest first.
    pub escrows: Vec<Escrow>,
}

/// An escrow, as the ledger shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Escrow {
    /// Its name.
    pub escrow: String,
    /// How far it is on the ledger.
    pub state: EscrowPhase,
    /// The account of its coordinator.
    pub coordinator: String,
    /// What was locked in it.
    #[schemars(with = "Wei")]
    pub deposited_wei: Amount,
    /// What was paid out of it, before fees.
    #[schemars(with = "Wei")]
    pub paid_wei: Amount,
    /// What is in it.
    #[schemars(with = "Wei")]
    pub left_wei: Amount,
    /// When it ends by itself, in seconds since 1970.
    pub ends_at_unix_s: u64,
    /// Until when providers may collect, in seconds since 1970.
    pub collect_until_unix_s: u64,
    /// The jobs of this home that it pays for.
    pub jobs: Vec<PaidJob>,
}

/// How far an escrow is on the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EscrowPhase {
    /// It pays for work.
    Open,
    /// It has ended, and providers may collect.
    Collecting,
    /// What is left may go back.
    Refundable,
    /// Nothing is in it.
    Closed,
}

impl EscrowPhase {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Collecting => "collecting",
            Self::Refundable => "refundable",
            Self::Closed => "closed",
        }
    }
}

/// A job that an escrow pays for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PaidJob {
    /// Its id.
    pub job_id: String,
    /// Its name.
    pub job: String,
}

/// What the providers of a home have earned. `tidemill earnings` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Earnings {
    /// The providers that have worked for pay.
    pub providers: Vec<EarningsOfProvider>,
}

/// What one provider has earned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EarningsOfProvider {
    /// The directory of its state.
    pub directory: String,
    /// The escrows that paid for its work.
    pub escrows: Vec<EarningsOfEscrow>,
}

/// What a provider has earned in one escrow. Nodes of one account are paid together: the amounts are then of all of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EarningsOfEscrow {
    /// The escrow.
    pub escrow: String,
    /// The account of its coordinator.
    pub coordinator: String,
    /// The account that is paid; null without a voucher.
    pub account: Option<String>,
    /// What was earned, before fees.
    #[schemars(with = "Wei")]
    pub earned_wei: Amount,
    /// What the last voucher promises; null without one.
    #[schemars(with = "Option<Wei>")]
    pub voucher_wei: Option<Amount>,
    /// What the provider has said that it wants at most; null where it has not.
    #[schemars(with = "Option<Wei>")]
    pub released_wei: Option<Amount>,
    /// What has left the escrow for it.
    #[schemars(with = "Wei")]
    pub received_gross_wei: Amount,
    /// What of that it received, after fees.
    #[schemars(with = "Wei")]
    pub received_net_wei: Amount,
    /// Whether nothing more comes from the escrow.
    pub ended: bool,
    /// What was earned and will not come; null where nothing was lost.
    pub lost: Option<Lost>,
    /// The jobs that it paid for.
    pub jobs: Vec<EarningsOfJob>,
}

/// What was earned and will not come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// How much.
    #[schemars(with = "Wei")]
    pub amount_wei: Amount,
    /// Why.
    pub reason: String,
}

/// What a provider has earned with one job in one escrow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EarningsOfJob {
    /// The job's id.
    pub job_id: String,
    /// The escrow.
    pub escrow: String,
    /// Results that were paid.
    pub paid_results: u64,
    /// What was paid for them, before fees.
    #[schemars(with = "Wei")]
    pub paid_wei: Amount,
    /// What they were paid less than they cost.
    #[schemars(with = "Wei")]
    pub short_wei: Amount,
    /// Results that were not paid.
    pub unpaid: Vec<UnpaidResults>,
}

/// Results that were not paid, for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UnpaidResults {
    /// The reason.
    pub reason: Unpaid,
    /// The same in words.
    pub why: String,
    /// How many.
    pub results: u64,
    /// What they would have cost.
    #[schemars(with = "Wei")]
    pub amount_wei: Amount,
}

/// Why a result is not paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Unpaid {
    /// It came after its lease had ended.
    Late,
    /// Another provider's result was first.
    Superseded,
    /// The job had ended.
    JobEnded,
    /// The attempt failed because of the machine.
    Circumstance,
    /// The program failed, and no other provider has seen it fail in the same way.
    Unconfirmed,
    /// The output could not be fetched.
    NoOutput,
    /// It contradicts the accepted result.
    Contradicted,
    /// The job ended without a verdict, and more results contradicted it.
    Undecided,
}

/// Vouchers that were cashed. `tidemill collect` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Collected {
    /// What was sent.
    pub transactions: Vec<Transaction>,
    /// What the vouchers that were sent still promised, before fees.
    #[schemars(with = "Wei")]
    pub amount_wei: Amount,
    /// The vouchers that the contract refused.
    pub refused: Vec<RefusedVoucher>,
}

/// A voucher that the contract refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RefusedVoucher {
    /// Its escrow.
    pub escrow: String,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json() {
        use EscrowPhase::{Closed, Collecting, Open, Refundable};
        for phase in [Open, Collecting, Refundable, Closed] {
            assert_eq!(serde_json::to_value(phase).expect("a word"), phase.word());
        }
    }

    #[test]
    fn amounts_are_decimal_strings() {
        let amount_wei = Amount::from_wei(u128::MAX);
        let lost = Lost { amount_wei, reason: "gone".to_owned() };
        let text = serde_json::to_string(&lost).expect("it is plain data");
        assert_eq!(text, format!(r#"{{"amount_wei":"{}","reason":"gone"}}"#, u128::MAX));
        assert_eq!(serde_json::from_str::<Lost>(&text).expect("it reads back"), lost);
        assert!(serde_json::from_str::<Lost>(r#"{"amount_wei":1,"reason":"gone"}"#).is_err());
    }
}
