//! What became of an escrow: waiting for its settlement, and saying who got what.

use std::time::Duration;

use indicatif::ProgressBar;
use tidemill_api::{Payment, PaymentStage, Settlement};
use tidemill_net::wire::{EscrowReport, EscrowStage, Reply, Request};
use tidemill_types::{Coin, EscrowId, one_line};
use tidemill_web::{
    quote::{shown, tide},
    told,
};
use tokio::time::{Instant, sleep};

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

/// Waits until an escrow is settled, or cannot be for now.
///
/// # Errors
/// With a code when the coordinator does not answer.
pub async fn settlement(requester: &mut Requester, escrow: EscrowId, quiet: bool) -> anyhow::Result<Payment> {
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
            return Ok(told::payment(&report));
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

/// Whether nothing is left to do for an escrow.
pub fn is_closed(payment: &Payment) -> bool {
    payment.stage == PaymentStage::Closed
}

/// What was paid, for a person.
pub fn print_payment(payment: &Payment) {
    println!("  paid out of the escrow {}", payment.escrow);
    let mut table = Table::new(&["provider ", "account ", "earned", "received"]);
    for payee in &payment.payees {
        table.row(vec![
            payee.node.chars().take(8).collect(),
            payee.operator.clone(),
            tide(payee.earned_wei),
            tide(payee.received_wei),
        ]);
    }
    if !payment.payees.is_empty() {
        table.print("  ");
    }
    let refunded =
        payment.refunded_wei.map_or_else(String::new, |back| format!("; {} came back", shown(back)));
    println!(
        "  {} of {} were earned, {} of it fees{refunded}",
        shown(payment.earned_wei),
        payment.deposited_wei,
        shown(payment.fees_wei)
    );
    for settlement in &payment.transactions {
        let Settlement { transaction, block, gas_used, gas_price_wei, escrows } = settlement;
        let cost = Coin::from_wei(u128::from(*gas_used).saturating_mul(gas_price_wei.wei()));
        let shared = if *escrows > 1 { format!(" for {escrows} escrows") } else { String::new() };
        println!(
            "  settled by transaction {transaction}\n    in block {block}, {gas_used} gas, {cost}{shared}"
        );
    }
    if !is_closed(payment) {
        let waits = payment.waits_for.as_deref().unwrap_or("the coordinator goes on with it");
        println!("  not closed yet ({waits}); `tidemill escrow list` shows how it stands");
    }
}
