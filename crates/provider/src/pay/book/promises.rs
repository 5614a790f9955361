//! What the coordinator promises and this provider waives: decisions, vouchers, releases.

use std::collections::BTreeMap;

use tidemill_net::wire::{Decision, ReleaseAsked, Unpaid};
use tidemill_types::{EscrowId, JobId, LeaseId, Release, Signed, Voucher};

use super::{
    Book,
    account::{Account, Noted},
};
use crate::{
    event::Event,
    key::{CoordinatorIndex, LeaseKey},
    pay::{
        Promise, VoucherError,
        journal::{Decided, Entry, Tally},
        voucher::{self, Known},
    },
};

impl Book {
    /// A coordinator says which of its results are paid, and gives the vouchers for it.
    pub(crate) fn decided(
        &mut self,
        by: CoordinatorIndex,
        decisions: &[(LeaseId, Decision)],
        vouchers: &[Signed<Voucher>],
    ) {
        self.decide(decisions.iter().map(|(lease, decision)| (by.lease(*lease), *decision)));
        for signed in vouchers {
            self.promised(signed, Some(by), false);
        }
        self.recount();
    }

    pub(super) fn decide(&mut self, decisions: impl Iterator<Item = (LeaseKey, Decision)>) {
        let mut decided: BTreeMap<(EscrowId, JobId), Decided> = BTreeMap::new();
        for (lease, decision) in decisions {
            // Of results of an earlier life nothing is known but the voucher.
            let Some(undecided) = self.forget_result(lease) else { continue };
            let reported = undecided.reported;
            let (escrow, job) = (reported.escrow, reported.task.job);
            let new = || Decided {
                escrow,
                job,
                paid: Tally::default(),
                short: Default::default(),
                unpaid: Vec::new(),
            };
            let of_job = decided.entry((escrow, job)).or_insert_with(new);
            let of = Some(lease.coordinator);
            if let Some(account) = self.account_of(lease.coordinator) {
                match decision {
                    Decision::Paid(amount) => {
                        self.withhold(account, reported.price.saturating_sub(amount));
                        self.forgive(account, amount.min(reported.price));
                    }
                    // The machine itself failed.
                    Decision::Unpaid(Unpaid::Circumstance) => {}
                    Decision::Unpaid(_) => self.withhold(account, reported.price),
                }
            }
            let lease = lease.lease;
            match decision {
                Decision::Paid(amount) => {
                    // What is said to be paid on top counts once a voucher holds it.
                    of_job.paid.add(Tally::one(amount.min(reported.price)));
                    let short = reported.price.saturating_sub(amount);
                    of_job.short = of_job.short.saturating_add(short);
                    if !short.is_zero() {
                        let price = reported.price;
                        self.news.push((of, Event::Underpaid { lease, job, paid: amount, price }));
                    }
                }
                Decision::Unpaid(reason) => {
                    let amount = reported.price;
                    match of_job.unpaid.iter_mut().find(|(known, _)| *known == reason) {
                        Some((_, tally)) => tally.add(Tally::one(amount)),
                        None => of_job.unpaid.push((reason, Tally::one(amount))),
                    }
                    self.news.push((of, Event::Unpaid { lease, job, reason, amount }));
                }
            }
        }
        for ((escrow, _), decided) in decided {
            let Some(account) = self.accounts.get_mut(&escrow) else { continue };
            account.decided = account.decided.saturating_add(decided.paid.amount);
            self.unsaved.push(Entry::Decided(decided));
        }
    }

    /// Takes a voucher in. `by`: who has just given it. `is_sure`: the ledger was asked for it what the escrow holds.
    pub(super) fn promised(&mut self, signed: &Signed<Voucher>, by: Option<CoordinatorIndex>, is_sure: bool) {
        let escrow = signed.body.escrow;
        let is_open = |account: &&mut Account| account.noted == Noted::Durably && !account.has_ended;
        let Some(account) = self.accounts.get_mut(&escrow).filter(is_open) else {
            return self.refuse(by, escrow, VoucherError::UnknownEscrow(escrow));
        };
        let known = Known {
            contract: self.terms.contract,
            operator: self.terms.operator,
            signer: account.signer(),
            newest: account.newest,
            deposited: account.sight().map(|sight| sight.deposited),
        };
        match voucher::check(signed, &known) {
            Ok(Promise::Repeated) => {}
            Ok(Promise::New) => self.accept(signed),
            Err(error) if error.is_over_issue() && !is_sure => {
                // A deposit may have been made since the ledger was asked.
                let is_newer = |other: Signed<Voucher>| other.body.sequence < signed.body.sequence;
                if account.doubted.is_none_or(is_newer) {
                    account.doubted = Some(*signed);
                }
                account.is_wanted = true;
            }
            Err(error) if error.is_over_issue() => {
                self.over_issued(signed, error);
                // It is worth what the escrow still has.
                if matches!(error, VoucherError::OverIssue { .. }) {
                    self.accept(signed);
                }
            }
            Err(error) => {
                if error.is_evidence() {
                    self.unsaved.extend(known.newest.map(Entry::Evidence));
                    self.unsaved.push(Entry::Evidence(*signed));
                    self.frauds.insert(known.signer);
                }
                self.refuse(by, escrow, error);
            }
        }
    }

    fn refuse(&mut self, by: Option<CoordinatorIndex>, escrow: EscrowId, error: VoucherError) {
        let of = by.or_else(|| self.coordinator_of(escrow));
        self.news.push((of, Event::VoucherRefused { escrow, error }));
    }

    /// A good voucher, which counts once it is on the disk.
    fn accept(&mut self, signed: &Signed<Voucher>) {
        let Voucher { escrow, amount, .. } = signed.body;
        let of = self.coordinator_of(escrow);
        let Some(account) = self.accounts.get_mut(&escrow) else { return };
        let earned = account.earned();
        if amount < earned {
            self.news.push((of, Event::Short { escrow, promised: amount, earned }));
        }
        account.newest = Some(*signed);
        self.unsaved.push(Entry::Voucher(*signed));
        // What results of this life do not explain is for results of earlier ones.
        let forgotten = amount.saturating_sub(account.decided.saturating_add(account.undecided.amount));
        if !forgotten.is_zero() {
            account.decided = account.decided.saturating_add(forgotten);
            let coordinator = account.coordinator;
            self.unsaved.push(Entry::Earned { escrow, amount: account.decided });
            self.cover_earlier(coordinator, forgotten);
        }
    }

    /// A voucher proves that the coordinator promised more than there is.
    pub(super) fn over_issued(&mut self, signed: &Signed<Voucher>, error: VoucherError) {
        let escrow = signed.body.escrow;
        let Some(account) = self.accounts.get_mut(&escrow) else { return };
        self.frauds.insert(account.coordinator);
        if !account.is_over_issued {
            account.is_over_issued = true;
            self.unsaved.push(Entry::Evidence(*signed));
            self.tell(escrow, Event::OverIssue { escrow, error });
        }
    }

    /// A coordinator asks for a release of an escrow of its own. `has_leases`: whether leases of the escrow are held. Where
    /// it is not time for it, nothing is said: it will be asked for again.
    pub(crate) fn release_asked(&mut self, by: CoordinatorIndex, asked: ReleaseAsked, has_leases: bool) {
        let ReleaseAsked { escrow, amount } = asked;
        let is_waited_for = self.waiting.values().any(|waiting| waiting.escrow == escrow);
        let asking = self.account_of(by);
        let is_its = |account: &&mut Account| Some(account.coordinator) == asking;
        let Some(account) = self.accounts.get_mut(&escrow).filter(is_its) else { return };
        let promised = account.newest.map_or(Default::default(), |signed| signed.body.amount);
        let least = promised.max(account.earned()).max(account.released.unwrap_or_default());
        let is_open = has_leases || is_waited_for || account.undecided.results > 0;
        if is_open || account.noted != Noted::Durably || amount < least {
            return;
        }
        account.released = Some(amount);
        self.unsaved.push(Entry::Released { escrow, amount });
        self.is_stirred = true;
    }

    /// The releases that may be signed and sent now, each to its coordinator.
    pub(crate) fn releases(&mut self) -> Vec<(CoordinatorIndex, Release)> {
        std::mem::take(&mut self.releases)
    }

    /// Entries are on the disk.
    pub(crate) fn stored(&mut self, entries: &[Entry]) {
        self.saving = 0;
        self.journal_fails = false;
        for entry in entries {
            let Some(escrow) = entry.escrow() else { continue };
            let of = self.coordinator_of(escrow);
            let Some(account) = self.accounts.get_mut(&escrow) else { continue };
            match entry {
                Entry::Escrow { .. } => account.noted = Noted::Durably,
                Entry::Voucher(signed) => {
                    let total = signed.body.amount;
                    let amount = total.saturating_sub(account.promised());
                    account.durable = Some(*signed);
                    if !amount.is_zero() {
                        self.news.push((of, Event::Paid { escrow, amount, total }));
                    }
                }
                Entry::Released { amount, .. } => {
                    let (provider, amount) = (self.terms.operator, *amount);
                    self.releases.extend(of.map(|of| (of, Release { escrow, provider, amount })));
                    self.news.push((of, Event::Released { escrow, amount }));
                }
                _ => {}
            }
        }
        self.recount();
    }

    /// Entries could not be written down; they are to be tried again.
    pub(crate) fn not_stored(&mut self, mut entries: Vec<Entry>, reason: String) {
        self.saving = 0;
        entries.append(&mut self.unsaved);
        self.unsaved = entries;
        if !self.journal_fails {
            self.news.push((None, Event::JournalFailed { reason }));
        }
        self.journal_fails = true;
        self.is_stirred = true;
    }
}
