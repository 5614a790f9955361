//! What a provider has earned and been paid, as its journal tells it.

use std::{collections::BTreeMap, path::Path};

use tidemill_net::wire::Unpaid;
use tidemill_types::{Address, Amount, EscrowContract, EscrowId, JobId, Signed, Voucher};

use super::journal::{self, Decided, Entry, JournalError, Loss, Tally};

/// Vouchers that prove a fraud are kept up to so many for each escrow: two are enough.
const MOST_EVIDENCE: usize = 4;

/// All that is known of what a provider earned, by escrow. Escrows stay when they have ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct History {
    /// The escrows that work was done for.
    pub escrows: BTreeMap<EscrowId, EscrowHistory>,
    /// What coordinators have not paid in full, by their accounts.
    pub withheld: BTreeMap<Address, WithheldHistory>,
}

/// What a coordinator has not paid in full of what was handed in. It counts less with time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WithheldHistory {
    /// What it has refused, before fees, as of `at_s`.
    pub refused: Amount,
    /// What waited for its decisions then.
    pub waiting: Amount,
    /// When, in seconds since 1970.
    pub at_s: u64,
}

/// What is known of one escrow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EscrowHistory {
    /// The contract that it is in.
    pub contract: EscrowContract,
    /// The account of its coordinator.
    pub coordinator: Address,
    /// What results come to that are paid by the coordinator's word, before fees: those it has decided, and those of earlier
    /// lives that its vouchers cover.
    pub decided: Amount,
    /// The newest voucher.
    pub voucher: Option<Signed<Voucher>>,
    /// Vouchers that prove a fraud of the coordinator.
    pub evidence: Vec<Signed<Voucher>>,
    /// What the provider has said to be all that it wants from it.
    pub released: Option<Amount>,
    /// What has left the escrow for this provider.
    pub gross: Amount,
    /// What of that went into the provider's record on the ledger.
    pub net: Amount,
    /// The transaction of this provider's own that last collected from it.
    pub collected: Option<[u8; 32]>,
    /// How often collecting failed.
    pub failures: u32,
    /// Whether nothing more comes from it.
    pub ended: bool,
    /// What was lost at its end.
    pub loss: Option<Loss>,
    /// What was decided about the results of each job that it paid for.
    pub jobs: BTreeMap<JobId, JobHistory>,
}

/// What was decided about the results of a job.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct JobHistory {
    /// Results that were paid.
    pub paid: Tally,
    /// What the paid results were paid less than they cost.
    pub short: Amount,
    /// Results that were not, by the coordinator's reason, with what they would have cost.
    pub unpaid: BTreeMap<Unpaid, Tally>,
}

impl History {
    /// Reads the journal in a provider's directory. It may be of a provider that works now: an entry that is just being
    /// written is passed over. Without a journal there is nothing in it.
    ///
    /// # Errors
    /// [`JournalError`] where the file cannot be read, or is damaged.
    pub fn read(directory: &Path) -> Result<Self, JournalError> {
        journal::read(directory)
    }

    /// Takes one more entry in.
    pub(crate) fn take(&mut self, entry: &Entry) {
        if let Entry::Escrow { escrow, contract, coordinator } = entry {
            let new = || EscrowHistory::new(*contract, *coordinator);
            self.escrows.entry(*escrow).or_insert_with(new);
        } else if let Entry::Withheld { coordinator, refused, waiting, at_s } = *entry {
            self.withheld.insert(coordinator, WithheldHistory { refused, waiting, at_s });
        } else if let Some(known) = entry.escrow().and_then(|escrow| self.escrows.get_mut(&escrow)) {
            known.take(entry);
        }
    }

    /// Entries that say all of it, in pieces.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Vec<Entry>> {
        let withheld = self.withheld.iter().map(|(coordinator, known)| {
            let WithheldHistory { refused, waiting, at_s } = *known;
            Entry::Withheld { coordinator: *coordinator, refused, waiting, at_s }
        });
        let withheld = std::iter::once(withheld.collect::<Vec<_>>()).filter(|entries| !entries.is_empty());
        self.escrows.iter().map(|(id, known)| known.entries(*id)).chain(withheld)
    }
}

impl EscrowHistory {
    fn new(contract: EscrowContract, coordinator: Address) -> Self {
        Self {
            contract,
            coordinator,
            decided: Amount::ZERO,
            voucher: None,
            evidence: Vec::new(),
            released: None,
            gross: Amount::ZERO,
            net: Amount::ZERO,
            collected: None,
            failures: 0,
            ended: false,
            loss: None,
            jobs: BTreeMap::new(),
        }
    }

    /// What was earned in it altogether, before fees. A voucher may cover results whose decision is not known yet, so it is
    /// not added to what was decided.
    pub fn earned(&self) -> Amount {
        self.decided.max(self.promised())
    }

    /// What the voucher promises and the ledger has not paid, as far as is known.
    pub fn uncollected(&self) -> Amount {
        self.promised().saturating_sub(self.gross)
    }

    fn promised(&self) -> Amount {
        self.voucher.map_or(Amount::ZERO, |signed| signed.body.amount)
    }

    fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Escrow { .. } | Entry::Withheld { .. } => {}
            Entry::Decided(decided) => self.decided(decided),
            Entry::Voucher(signed) => self.voucher = Some(*signed),
            Entry::Evidence(signed) => {
                if self.evidence.len() < MOST_EVIDENCE && !self.evidence.contains(signed) {
                    self.evidence.push(*signed);
                }
            }
            Entry::Released { amount, .. } => self.released = Some(*amount),
            Entry::Received { gross, net, .. } => (self.gross, self.net) = (*gross, *net),
            Entry::Collected { transaction, .. } => self.collected = Some(*transaction),
            Entry::CollectFailed { times, .. } => self.failures = self.failures.saturating_add(*times),
            Entry::Ended { loss, .. } => (self.ended, self.loss) = (true, *loss),
            Entry::Earned { amount, .. } => self.decided = *amount,
        }
    }

    fn decided(&mut self, decided: &Decided) {
        self.decided = self.decided.saturating_add(decided.paid.amount);
        let job = self.jobs.entry(decided.job).or_default();
        job.paid.add(decided.paid);
        job.short = job.short.saturating_add(decided.short);
        for (reason, tally) in &decided.unpaid {
            job.unpaid.entry(*reason).or_default().add(*tally);
        }
    }

    fn entries(&self, escrow: EscrowId) -> Vec<Entry> {
        let Self { contract, coordinator, .. } = *self;
        let mut entries = vec![Entry::Escrow { escrow, contract, coordinator }];
        entries.extend(self.jobs.iter().map(|(job, known)| {
            let unpaid = known.unpaid.iter().map(|(reason, tally)| (*reason, *tally)).collect();
            Entry::Decided(Decided { escrow, job: *job, paid: known.paid, short: known.short, unpaid })
        }));
        entries.extend(self.voucher.map(Entry::Voucher));
        entries.extend(self.evidence.iter().copied().map(Entry::Evidence));
        entries.push(Entry::Earned { escrow, amount: self.decided });
        entries.extend(self.released.map(|amount| Entry::Released { escrow, amount }));
        if !self.gross.is_zero() || !self.net.is_zero() {
            entries.push(Entry::Received { escrow, gross: self.gross, net: self.net });
        }
        entries.extend(self.collected.map(|transaction| Entry::Collected { escrow, transaction }));
        if self.failures > 0 {
            entries.push(Entry::CollectFailed { escrow, times: self.failures });
        }
        if self.ended {
            entries.push(Entry::Ended { escrow, loss: self.loss });
        }
        entries
    }
}
