//! The book, with a coordinator's key and a ledger that says what each test wants.

mod collecting;
mod coordinators;
mod exposure;
mod leases;
mod promises;

use std::time::{Duration, Instant};

use tidemill_ledger::EscrowView;
use tidemill_net::wire::{Decision, LeasePay};
use tidemill_types::{
    Address, Amount, EscrowContract, EscrowId, JobId, LeaseId, Millis, RateCard, ResultKey, Signable, Signed,
    TaskId, TaskNumber, Voucher,
};

use super::*;
use crate::key::tests::key as key_of;

/// The coordinator of every world, and another one that some have.
const FIRST: CoordinatorIndex = CoordinatorIndex(0);
const SECOND: CoordinatorIndex = CoordinatorIndex(1);

const CONTRACT: EscrowContract = EscrowContract { chain_id: 5, address: Address([9; 20]) };
const OPERATOR: Address = Address([7; 20]);
const NOW_S: u64 = 1_000_000;
/// Escrows end so long after that.
const OPEN_S: u64 = 1_000;
const WINDOW_S: u64 = 500;

/// A book and its world.
struct World {
    book: Book,
    now: Moment,
    coordinator: ResultKey,
    /// What was written down.
    written: Vec<Entry>,
    events: Vec<Event>,
}

fn escrow(byte: u8) -> EscrowId {
    EscrowId([byte; 32])
}

fn tide(count: u64) -> Amount {
    Amount::tide(count)
}

fn key(byte: u8) -> ResultKey {
    ResultKey::from_bytes(&[byte; 32]).expect("a key")
}

fn terms() -> Terms {
    Terms {
        contract: CONTRACT,
        operator: OPERATOR,
        max_exposure: tide(10),
        min_bond: Amount::ZERO,
        poll: Duration::from_secs(10),
        collect_after: Duration::from_secs(60),
        may_collect: true,
    }
}

fn pay(byte: u8) -> LeasePay {
    LeasePay { escrow: escrow(byte), rates: RateCard::default() }
}

impl World {
    /// A session with a network that pays.
    fn new() -> Self {
        Self::with(terms())
    }

    fn with(terms: Terms) -> Self {
        Self::recalled(terms, &History::default())
    }

    fn recalled(terms: Terms, history: &History) -> Self {
        let now = Moment { at: Instant::now(), unix_s: NOW_S };
        let mut book = Book::new(terms, history, now.at);
        let coordinator = key(1);
        book.joined(FIRST, Session::Pays(coordinator.address()), now.at);
        Self { book, now, coordinator, written: Vec::new(), events: Vec::new() }
    }

    /// What a restart finds.
    fn history(&self) -> History {
        let mut history = History::default();
        self.written.iter().for_each(|entry| history.take(entry));
        history
    }

    fn pass(&mut self, time: Duration) {
        self.now.at += time;
        self.now.unix_s += time.as_secs();
    }

    /// Writes down all that is to be.
    fn store(&mut self) {
        while let Some(entries) = self.book.unstored(usize::MAX) {
            self.book.stored(&entries);
            self.written.extend(entries);
        }
        self.listen();
    }

    fn listen(&mut self) -> &[Event] {
        self.events.extend(self.book.news().into_iter().map(|(_, event)| event));
        &self.events
    }

    fn said(&mut self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.listen();
        self.events.iter().filter(|event| wanted(event)).count()
    }

    fn view(&self, byte: u8) -> EscrowView {
        EscrowView {
            id: escrow(byte),
            requester: Address([2; 20]),
            coordinator: self.coordinator.address(),
            voucher_key: self.coordinator.address(),
            deposited: tide(100),
            paid: Amount::ZERO,
            fee_ppm: 0,
            protocol_fee_ppm: 0,
            ends_s: NOW_S + OPEN_S,
            collect_until_s: NOW_S + OPEN_S + WINDOW_S,
            closed: false,
            now_s: self.now.unix_s,
        }
    }

    fn sight(&self, byte: u8) -> Sight {
        let view = self.view(byte);
        let (gross, net) = (Amount::ZERO, Amount::ZERO);
        Sight { view, deposited: view.deposited, gross, net, is_enrolled: false }
    }

    /// The ledger answers this about an escrow.
    fn see(&mut self, byte: u8, sight: Option<Sight>) {
        self.book.seen(vec![(escrow(byte), sight)], self.now);
        self.listen();
    }

    fn admit(&mut self, lease: u64, byte: u8) -> Admission {
        self.book.admit(key_of(lease), (Some(&pay(byte)), &RateCard::default()), Millis(60_000), self.now)
    }

    /// An escrow that work is done for: seen and written down.
    fn open(&mut self, byte: u8) {
        assert_eq!(self.admit(u64::MAX, byte), Admission::Wait);
        let looks = self.book.errands(self.now).expect("a lease waits").looks;
        assert_eq!(looks, [escrow(byte)]);
        self.see(byte, Some(self.sight(byte)));
        assert_eq!(self.book.reconsider(self.now), [], "it waits for the disk");
        self.store();
        assert_eq!(self.book.reconsider(self.now), [(key_of(u64::MAX), Ok(()))]);
    }

    /// A result of that price is reported.
    fn report(&mut self, lease: u64, byte: u8, price: Amount) {
        let task = TaskId { job: JobId([byte; 16]), task: TaskNumber(lease) };
        self.book.reported(key_of(lease), Reported { task, escrow: escrow(byte), price });
    }

    fn voucher(&self, byte: u8, sequence: u64, amount: Amount) -> Voucher {
        Voucher { escrow: escrow(byte), provider: OPERATOR, amount, sequence, total: amount }
    }

    fn signed(&self, voucher: Voucher) -> Signed<Voucher> {
        voucher.sign(&CONTRACT, &self.coordinator).expect("it fits")
    }

    /// The coordinator pays these results, and gives a voucher of this.
    fn pays(&mut self, results: &[(u64, Amount)], voucher: Option<Voucher>) {
        let decisions: Vec<_> =
            results.iter().map(|(lease, amount)| (LeaseId(*lease), Decision::Paid(*amount))).collect();
        let vouchers: Vec<_> = voucher.map(|voucher| self.signed(voucher)).into_iter().collect();
        self.book.decided(FIRST, &decisions, &vouchers);
        self.listen();
    }

    /// An escrow with a voucher on the disk.
    fn earn(&mut self, byte: u8, sequence: u64, amount: Amount) {
        self.report(1_000 + u64::from(byte), byte, amount);
        let voucher = self.voucher(byte, sequence, amount);
        self.pays(&[(1_000 + u64::from(byte), amount)], Some(voucher));
        self.store();
    }

    fn collection(&mut self) -> Option<Collection> {
        self.book.errands(self.now).and_then(|errands| errands.collection)
    }

    /// What must hold at any time.
    fn sanity_check(&mut self) {
        self.store();
        let undecided: Amount = self
            .book
            .results
            .values()
            .map(|result| result.reported.price)
            .fold(Amount::ZERO, Amount::saturating_add);
        let parties = self.book.parties.values();
        let of_parties = parties.clone().map(|party| party.undecided);
        assert_eq!(of_parties.fold(Amount::ZERO, Amount::saturating_add), undecided);
        assert_eq!(parties.map(|party| party.results).sum::<usize>(), self.book.results.len());
        for (escrow, account) in &self.book.accounts {
            let mut of_it = Tally::default();
            let results = self.book.results.values().filter(|result| result.reported.escrow == *escrow);
            results.for_each(|result| of_it.add(Tally::one(result.reported.price)));
            assert_eq!(account.undecided, of_it, "{escrow}");
            assert!(account.earned() >= account.promised(), "{escrow}");
        }
        // A restart knows what this life knows.
        let again = Book::new(self.book.terms.clone(), &self.history(), self.now.at);
        assert_eq!(again.uncollected(), {
            let recalled = self.book.accounts.values().filter(|account| !account.has_ended);
            let left = recalled.map(|account| account.promised().saturating_sub(account.received.0));
            left.fold(Amount::ZERO, Amount::saturating_add)
        });
        assert_eq!(again.frauds, self.book.frauds);
        for (escrow, account) in &again.accounts {
            let Some(known) = self.book.accounts.get(escrow) else { panic!("{escrow} has ended") };
            assert_eq!((account.earned(), account.released), (known.earned(), known.released), "{escrow}");
            assert_eq!(account.durable, known.durable, "{escrow}");
        }
    }
}
