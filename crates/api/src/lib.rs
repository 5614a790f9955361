//! What Tidemill says in JSON.
//!
//! Each type is what one command prints with `--json`, or a part of it. Ids and addresses are strings, as commands take
//! them. Names hold the unit: `_ms` and `_unix_s` are times since 1970, `_s` and `_us` are durations, `_wei` are decimal
//! strings. A field that is marked optional in the schema is left out where there is nothing to say.
//!
//! Readers ignore fields that they do not know, so a later version may add some. docs/json-schema.json is made from these
//! types.

mod api_key;
mod doctor;
mod event;
mod evidence;
mod http;
mod job;
mod ledger;
mod liquid;
mod model;
mod money;
mod pass;
mod prospects;
mod provider;
mod receipt;
mod run;
mod schema;
mod task;
mod trust;
mod wallet;
mod wei;

pub use api_key::{ApiKey, MadeApiKey};
pub use doctor::{Check, Doctor, Grade};
pub use event::{
    DiskEvent, FollowLine, HostingEvent, Lack, LedgerEvent, LedgerLine, LedgerMade, LeftOut, ProvideEvent,
    ProvideLine, ProvideNotice, ServeEvent, ServeLine, TaskEnd, UpEvent, UpLine, WhyLeftOut,
};
pub use evidence::{CheckedEvidence, EvidenceFile, EvidenceSide, Finding, WrittenEvidence};
pub use http::{
    JobByHashes, JobFileMistake, JobPage, KeptBlob, OutputEntry, OutputListing, Problem, ProviderList,
    TaskPage,
};
pub use job::{
    Asked, AskedWord, Contribution, Failure, Job, JobPhase, Output, OutputFile, Reliability, TaskFailure,
    Undecided, Unjudged, Usage,
};
pub use ledger::{Contract, DeployedLedger, LedgerStatus, RememberedLedger, TokenContract};
pub use liquid::{Apy, Claimed, ExitRequest, Rate, Staked, Unstaked};
pub use model::NamedModel;
pub use money::{
    Collected, Earnings, EarningsOfEscrow, EarningsOfJob, EarningsOfProvider, Escrow, EscrowPhase, Escrows,
    Lost, OpenedEscrow, PaidJob, Payee, Payment, PaymentStage, RefusedVoucher, SettledEscrow, Settlement,
    Transaction, Transactions, Unpaid, UnpaidResults,
};
pub use pass::{NewPass, Pass, PassRole};
pub use prospects::{Candidate, Prospects, Quote, Takes};
pub use provider::{Engine, Provider};
pub use receipt::Receipt;
pub use run::{
    DryRun, DryRunOutcome, Exec, FirstTask, Keys, Log, Network, Outcome, Policy, RememberedNetwork, Run,
    Submitted,
};
pub use schema::document;
pub use task::{FailedAttempt, OutputBlob, Task, TaskPhase};
pub use trust::{Basis, Explanation, NodeReason, Record, Reputation, Stake, Standing, TaskResult, Verdict};
pub use wallet::{
    Account, Balance, CallToSend, CoordinatorKey, EndedTransaction, Moved, PendingTransaction,
    PendingTransactions, Pool, Position, Thaw,
};
pub use wei::Wei;
