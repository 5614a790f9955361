//! The JSON schema of everything that commands print.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

use crate::{
    Account, ApiKey, Apy, Balance, CallToSend, CheckedEvidence, Claimed, Collected, CoordinatorKey,
    DeployedLedger, DryRun, Earnings, Escrows, Exec, Explanation, FollowLine, Job, Keys, LedgerLine,
    LedgerStatus, Log, MadeApiKey, NamedModel, NewPass, OpenedEscrow, Pass, PendingTransactions, ProvideLine,
    Provider, Rate, Receipt, RememberedLedger, RememberedNetwork, Reputation, Run, ServeLine, SettledEscrow,
    Staked, Submitted, Transaction, Transactions, Unstaked, UpLine, WrittenEvidence,
};

/// Gives the schema of a type, and keeps those of its parts in the generator.
type Of = fn(&mut SchemaGenerator) -> Schema;

/// What each command prints with `--json`. Measurements (`bench`, `sim`) are not among them: they change with what is
/// measured.
const PRINTED: &[(&str, Of)] = &[
    ("apy", of::<Apy>),
    ("api-key fund", of::<crate::OpenedEscrow>),
    ("api-key list", of::<Vec<ApiKey>>),
    ("api-key new", of::<MadeApiKey>),
    ("bond", of::<Transactions>),
    ("cancel", of::<Job>),
    ("claim", of::<Claimed>),
    ("collect", of::<Collected>),
    ("coordinator-key bind", of::<Transactions>),
    ("coordinator-key call", of::<CallToSend>),
    ("coordinator-key show", of::<CoordinatorKey>),
    ("coordinator-key unbind", of::<Transactions>),
    ("delegate", of::<Transactions>),
    ("doctor", of::<crate::Doctor>),
    ("earnings", of::<Earnings>),
    ("escrow end", of::<SettledEscrow>),
    ("escrow end --on-ledger", of::<Transactions>),
    ("escrow list", of::<Escrows>),
    ("escrow open", of::<OpenedEscrow>),
    ("escrow refund", of::<Transactions>),
    ("escrow top-up", of::<Transactions>),
    ("evidence JOB TASK", of::<WrittenEvidence>),
    ("evidence check", of::<CheckedEvidence>),
    ("exec", of::<Exec>),
    ("explain", of::<Explanation>),
    ("fetch", of::<Job>),
    ("join", of::<RememberedNetwork>),
    ("keys", of::<Keys>),
    ("ledger deploy", of::<DeployedLedger>),
    ("ledger start", of::<LedgerLine>),
    ("ledger status", of::<LedgerStatus>),
    ("ledger use", of::<RememberedLedger>),
    ("logs", of::<Log>),
    ("logs --follow", of::<FollowLine>),
    ("pass list", of::<Vec<Pass>>),
    ("pass new", of::<NewPass>),
    ("pass revoke", of::<Pass>),
    ("models list", of::<Vec<NamedModel>>),
    ("provide", of::<ProvideLine>),
    ("providers", of::<Vec<Provider>>),
    ("rate", of::<Rate>),
    ("receipt", of::<Receipt>),
    ("redelegate", of::<Transactions>),
    ("remove", of::<Job>),
    ("reputation", of::<Reputation>),
    ("run", of::<Run>),
    ("run --dry-run", of::<DryRun>),
    ("serve", of::<ServeLine>),
    ("stake", of::<Staked>),
    ("status", of::<Vec<Job>>),
    ("status JOB", of::<Job>),
    ("submit", of::<Submitted>),
    ("unbond", of::<Transactions>),
    ("undelegate", of::<Transactions>),
    ("unstake", of::<Unstaked>),
    ("up", of::<UpLine>),
    ("wallet balance", of::<Vec<Balance>>),
    ("wallet import", of::<Account>),
    ("wallet list", of::<Vec<Account>>),
    ("wallet new", of::<Account>),
    ("wallet pending", of::<PendingTransactions>),
    ("wallet send", of::<Transaction>),
    ("withdraw", of::<Transactions>),
];

/// The schema of all of it: the types under `$defs`, and under `commands` which of them each command prints.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let commands: Map<String, Value> =
        PRINTED.iter().map(|(command, of)| ((*command).to_owned(), of(&mut generator).to_value())).collect();
    let mut document = Map::new();
    document.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    document.insert("title".to_owned(), "What tidemill prints with --json".into());
    document.insert("commands".to_owned(), commands.into());
    document.insert("$defs".to_owned(), generator.take_definitions(true).into());
    document.into()
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    /// Where the schema is committed, from this crate.
    const COMMITTED: &str = "../../docs/json-schema.json";

    /// Says that the schema is to be written, not compared.
    const WRITE: &str = "TIDEMILL_WRITE_SCHEMA";

    #[test]
    fn the_committed_schema_is_that_of_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
        let made = document();
        if env::var_os(WRITE).is_some() {
            let text = serde_json::to_string_pretty(&made).expect("it is plain data") + "\n";
            fs::write(&path, text).expect("the schema is written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        let committed: Value = serde_json::from_str(&committed).unwrap_or_default();
        assert!(
            committed == made,
            "docs/json-schema.json is not that of the types: write it with `{WRITE}=1 cargo test --release -p \
             tidemill-api`, and look at what changes for scripts"
        );
    }

    #[test]
    fn every_reference_leads_to_a_type() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|field| references(field, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let made = document();
        let mut found = Vec::new();
        references(&made, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("it is within the document");
            assert!(made.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_is_left_out_is_optional_and_amounts_are_strings() {
        let made = document();
        let required = |name: &str, field: &str| {
            let list = made["$defs"][name]["required"].as_array().expect("a list");
            list.iter().any(|one| one == field)
        };
        assert!(required("Job", "job_id") && !required("Job", "escrow"));
        assert!(required("Submitted", "escrow"), "it is null rather than left out");
        assert_eq!(made["$defs"]["Wei"]["type"], "string");
        assert_eq!(made["$defs"]["Lost"]["properties"]["amount_wei"]["$ref"], "#/$defs/Wei");
    }
}
