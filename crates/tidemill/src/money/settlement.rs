//! What became of an escrow: waiting for its settlement, and saying who got what.

use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use tidemill_net::wire::{EscrowReport, EscrowStage, Reply, Request};
use tidemill_types::{Amount, Coin, EscrowId, one_line};
use tokio::time::{Instant, sleep};

use super::quote::{shown, tide};
use crate::{
    progress::spinner,
    requester::{Requester, off_the_protocol},
    table::Table,
};

/// How long a settlement is waited for by a command.
const PATIENCE: Duration = Duration::from_secs(90);

/// The first pause between two looks at it, and the longest: most are made within a moment.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(150);

/// What was paid, for scripts.
#[derive(Clone, Debug, Serialize)]
pub struct PaymentSummary {
    escrow: String,
    stage: &'static str,
    deposited_wei: Amount,
    earned_wei: Amount,
    refunded_wei: Option<Amount>,
    /// What of the payments went to coordinator and protocol.
    fees_wei: Amount,
    payees: Vec<PayeeSummary>,
    transactions: Vec<TransactionSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct PayeeSummary {
    operator: String,
    /// Its node that earned last.
    provider: String,
    earned_wei: Amount,
    paid_wei: Amount,
    received_wei: Amount,
    released: bool,
}

#[derive(Clone, Debug, Serialize)]
struct TransactionSummary {
    hash: String,
    block: u64,
    gas_used: u64,
    gas_price_wei: u128,
    escrows: u32,
}

/// Waits until an escrow is settled, or cannot be for now.
///
/// # Errors
/// With a code when the coordinator does not answer.
pub async fn settlement(
    requester: &mut Requester,
    escrow: EscrowId,
    quiet: bool,
) -> anyhow::Result<PaymentSummary> {
    let bar = if quiet { ProgressBar::hidden() } else { spinner() };
    let mut is_said = quiet || !bar.is_hidden();
    bar.set_message("waiting for the settlement");
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_LOOK;
    loop {
        let report = requester.escrow(escrow).await?;
        let is_over =
            matches!(report.stage, EscrowStage::Closed | EscrowStage::Paid) || Instant::now() >= deadline;
        if is_over {
            bar.finish_and_clear();
            return Ok(PaymentSummary::from(&report));
        }
        if let Some(reason) = &report.waits_for {
            let words = format!("the settlement waits: {}", one_line(reason, 300));
            if !std::mem::replace(&mut is_said, true) {
                eprintln!("{words}");
            }
            bar.set_message(words);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

impl Requester {
    /// How an escrow stands, as its coordinator knows it.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn escrow(&mut self, escrow: EscrowId) -> anyhow::Result<EscrowReport> {
        match self.call(Request::Escrow { escrow }).await? {
            Reply::Escrow(report) => Ok(*report),
            _ => Err(off_the_protocol()),
        }
    }
}

impl From<&EscrowReport> for PaymentSummary {
    fn from(report: &EscrowReport) -> Self {
        let mut payees: Vec<_> = report.payees.iter().collect();
        payees.sort_by(|a, b| b.earned.cmp(&a.earned).then(a.operator.cmp(&b.operator)));
        let fees = report.payees.iter().fold(Amount::ZERO, |sum, payee| {
            let fee = payee.paid.checked_sub(payee.net).unwrap_or(Amount::ZERO);
            sum.checked_add(fee).unwrap_or(sum)
        });
        Self {
            escrow: report.escrow.to_string(),
            stage: match report.stage {
                EscrowStage::Open => "open",
                EscrowStage::Settling => "settling",
                EscrowStage::Paid => "paid",
                EscrowStage::Closed => "closed",
            },
            deposited_wei: report.deposited,
            earned_wei: report.earned,
            refunded_wei: report.settlements.iter().find_map(|settlement| settlement.refunded),
            fees_wei: fees,
            payees: payees
                .iter()
                .map(|payee| PayeeSummary {
                    operator: payee.operator.to_string(),
                    provider: payee.node.to_string(),
                    earned_wei: payee.earned,
                    paid_wei: payee.paid,
                    received_wei: payee.net,
                    released: payee.released,
                })
                .collect(),
            transactions: report
                .settlements
                .iter()
                .map(|settlement| TransactionSummary {
                    hash: hex(&settlement.transaction),
                    block: settlement.block,
                    gas_used: settlement.gas_used,
                    gas_price_wei: settlement.gas_price_wei,
                    escrows: settlement.escrows,
                })
                .collect(),
            waits_for: report.waits_for.as_deref().map(|reason| one_line(reason, 300)),
        }
    }
}

impl PaymentSummary {
    /// Whether nothing is left to do.
    pub fn is_closed(&self) -> bool {
        self.stage == "closed"
    }

    /// For a person.
    pub fn print(&self) {
        println!("  paid out of the escrow {}", self.escrow);
        let mut table = Table::new(&["provider ", "account ", "earned", "received"]);
        for payee in &self.payees {
            table.row(vec![
                payee.provider.chars().take(8).collect(),
                payee.operator.clone(),
                tide(payee.earned_wei),
                tide(payee.received_wei),
            ]);
        }
        if !self.payees.is_empty() {
            table.print("  ");
        }
        let refunded =
            self.refunded_wei.map_or_else(String::new, |back| format!("; {} came back", shown(back)));
        println!(
            "  {} of {} were earned, {} of it fees{refunded}",
            shown(self.earned_wei),
            self.deposited_wei,
            shown(self.fees_wei)
        );
        for transaction in &self.transactions {
            let TransactionSummary { hash, block, gas_used, gas_price_wei, escrows } = transaction;
            let cost = Coin::from_wei(u128::from(*gas_used).saturating_mul(*gas_price_wei));
            let shared = if *escrows > 1 { format!(" for {escrows} escrows") } else { String::new() };
            println!("  settled by transaction {hash}\n    in block {block}, {gas_used} gas, {cost}{shared}");
        }
        if self.stage != "closed" {
            let waits = self.waits_for.as_deref().unwrap_or("the coordinator goes on with it");
            println!("  not closed yet ({waits}); `tidemill escrow list` shows how it stands");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
