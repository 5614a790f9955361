//! What a provider tells its owner of its pay.

use tidemill_api::ProvideEvent;
use tidemill_provider::Event;

use crate::{commands::earnings::unpaid, money::shown};

/// An event of money, for scripts and in words; none where it is of something else. Words that say nothing new are
/// empty.
pub fn told(event: &Event) -> Option<(ProvideEvent, String)> {
    Some(match event {
        Event::Free => {
            (ProvideEvent::Free, "this network is free: nobody is paid for what is done here".to_owned())
        }
        Event::Paid { escrow, amount, total } => (
            ProvideEvent::Paid { escrow: escrow.to_string(), amount_wei: *amount, total_wei: *total },
            String::new(),
        ),
        Event::Unpaid { lease, job, reason, amount } => (
            ProvideEvent::Unpaid {
                lease: lease.0,
                job_id: job.to_string(),
                reason: unpaid(*reason),
                amount_wei: *amount,
            },
            String::new(),
        ),
        Event::Underpaid { lease, job, paid, price } => (
            ProvideEvent::Underpaid {
                lease: lease.0,
                job_id: job.to_string(),
                paid_wei: *paid,
                price_wei: *price,
            },
            format!("a task of job {} is paid {paid} and costs {price}", job.short()),
        ),
        Event::Short { escrow, promised, earned } => (
            ProvideEvent::Short { escrow: escrow.to_string(), promised_wei: *promised, earned_wei: *earned },
            format!("the voucher of escrow {} promises {promised}, and {earned} was earned", escrow.short()),
        ),
        Event::VoucherRefused { escrow, error } => (
            ProvideEvent::VoucherRefused { escrow: escrow.to_string(), reason: error.to_string() },
            format!("a voucher of escrow {} is not good: {error}", escrow.short()),
        ),
        Event::OverIssue { escrow, error } => (
            ProvideEvent::OverIssue { escrow: escrow.to_string(), reason: error.to_string() },
            format!(
                "the coordinator has promised more than escrow {} holds ({error}): no more is done for it",
                escrow.short()
            ),
        ),
        Event::Exposed { amount, limit } => (
            ProvideEvent::Exposed { amount_wei: *amount, limit_wei: *limit },
            format!(
                "{} of work is not covered by vouchers, the limit is {}: nothing new is begun",
                shown(*amount),
                shown(*limit)
            ),
        ),
        Event::Secure { amount } => {
            (ProvideEvent::Secure { amount_wei: *amount }, "vouchers have come: work goes on".to_owned())
        }
        Event::Released { escrow, amount } => (
            ProvideEvent::Released { escrow: escrow.to_string(), amount_wei: *amount },
            format!("released escrow {} with {}", escrow.short(), shown(*amount)),
        ),
        Event::Collecting { escrow, amount } => (
            ProvideEvent::Collecting { escrow: escrow.to_string(), amount_wei: *amount },
            format!("collecting up to {} from escrow {}", shown(*amount), escrow.short()),
        ),
        Event::Collected { escrow, gross, net, transaction } => (
            ProvideEvent::Collected {
                escrow: escrow.to_string(),
                gross_wei: *gross,
                net_wei: *net,
                transaction: transaction.to_string(),
            },
            format!("collected {} from escrow {}: transaction {transaction}", shown(*net), escrow.short()),
        ),
        Event::CollectFailed { escrow, reason } => (
            ProvideEvent::CollectFailed { escrow: escrow.to_string(), reason: reason.clone() },
            format!(
                "escrow {} could not be collected: {reason}; `tidemill collect` does it by hand",
                escrow.short()
            ),
        ),
        Event::Loss { escrow, loss } => (
            ProvideEvent::Loss {
                escrow: escrow.to_string(),
                amount_wei: loss.amount,
                reason: loss.reason.to_string(),
            },
            format!("{} of escrow {} will not come: {}", shown(loss.amount), escrow.short(), loss.reason),
        ),
        Event::LedgerLost { reason } => (
            ProvideEvent::LedgerLost { reason: reason.clone() },
            format!("the ledger does not answer ({reason}): work goes on up to the limit"),
        ),
        Event::LedgerBack => (ProvideEvent::LedgerBack, "the ledger answers again".to_owned()),
        Event::JournalFailed { reason } => (
            ProvideEvent::JournalFailed { reason: reason.clone() },
            format!("vouchers cannot be written down: {reason}; nothing new is begun until they can"),
        ),
        _ => return None,
    })
}
