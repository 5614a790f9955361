//! What a provider tells its owner of its pay.

use serde_json::{Value, json};
use tidemill_provider::Event;

use crate::money::shown;

/// An event of money, for scripts and in words; none where it is of something else. Words that say nothing new are
/// empty.
pub fn told(event: &Event) -> Option<(Value, String)> {
    Some(match event {
        Event::Free => (
            json!({ "event": "free" }),
            "this network is free: nobody is paid for what is done here".to_owned(),
        ),
        Event::Paid { escrow, amount, total } => (
            json!({ "event": "paid", "escrow": escrow.to_string(), "amount_wei": amount, "total_wei": total }),
            String::new(),
        ),
        Event::Unpaid { lease, job, reason, amount } => (
            json!({ "event": "unpaid", "lease": lease.0, "job": job.to_string(), "reason": reason, "amount_wei": amount }),
            String::new(),
        ),
        Event::Underpaid { lease, job, paid, price } => (
            json!({ "event": "underpaid", "lease": lease.0, "job": job.to_string(), "paid_wei": paid, "price_wei": price }),
            format!("a task of job {} is paid {paid} and costs {price}", job.short()),
        ),
        Event::Short { escrow, promised, earned } => (
            json!({ "event": "short", "escrow": escrow.to_string(), "promised_wei": promised, "earned_wei": earned }),
            format!("the voucher of escrow {} promises {promised}, and {earned} was earned", escrow.short()),
        ),
        Event::VoucherRefused { escrow, error } => (
            json!({ "event": "voucher_refused", "escrow": escrow.to_string(), "reason": error.to_string() }),
            format!("a voucher of escrow {} is not good: {error}", escrow.short()),
        ),
        Event::OverIssue { escrow, error } => (
            json!({ "event": "over_issue", "escrow": escrow.to_string(), "reason": error.to_string() }),
            format!(
                "the coordinator has promised more than escrow {} holds ({error}): no more is done for it",
                escrow.short()
            ),
        ),
        Event::Exposed { amount, limit } => (
            json!({ "event": "exposed", "amount_wei": amount, "limit_wei": limit }),
            format!(
                "{} of work is not covered by vouchers, the limit is {}: nothing new is begun",
                shown(*amount),
                shown(*limit)
            ),
        ),
        Event::Secure { amount } => (
            json!({ "event": "secure", "amount_wei": amount }),
            "vouchers have come: work goes on".to_owned(),
        ),
        Event::Released { escrow, amount } => (
            json!({ "event": "released", "escrow": escrow.to_string(), "amount_wei": amount }),
            format!("released escrow {} with {}", escrow.short(), shown(*amount)),
        ),
        Event::Collecting { escrow, amount } => (
            json!({ "event": "collecting", "escrow": escrow.to_string(), "amount_wei": amount }),
            format!("collecting up to {} from escrow {}", shown(*amount), escrow.short()),
        ),
        Event::Collected { escrow, gross, net, transaction } => (
            json!({ "event": "collected", "escrow": escrow.to_string(), "gross_wei": gross, "net_wei": net, "transaction": transaction }),
            format!("collected {} from escrow {}: transaction {transaction}", shown(*net), escrow.short()),
        ),
        Event::CollectFailed { escrow, reason } => (
            json!({ "event": "collect_failed", "escrow": escrow.to_string(), "reason": reason }),
            format!(
                "escrow {} could not be collected: {reason}; `tidemill collect` does it by hand",
                escrow.short()
            ),
        ),
        Event::Loss { escrow, loss } => (
            json!({ "event": "loss", "escrow": escrow.to_string(), "amount_wei": loss.amount, "reason": loss.reason.to_string() }),
            format!("{} of escrow {} will not come: {}", shown(loss.amount), escrow.short(), loss.reason),
        ),
        Event::LedgerLost { reason } => (
            json!({ "event": "ledger_lost", "reason": reason }),
            format!("the ledger does not answer ({reason}): work goes on up to the limit"),
        ),
        Event::LedgerBack => (json!({ "event": "ledger_back" }), "the ledger answers again".to_owned()),
        Event::JournalFailed { reason } => (
            json!({ "event": "journal_failed", "reason": reason }),
            format!("vouchers cannot be written down: {reason}; nothing new is begun until they can"),
        ),
        _ => return None,
    })
}
