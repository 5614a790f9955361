//! A ledger in simulated time: escrows with their deposits and payments, and what every provider was promised. It does
//! what the contract does, and finds a coordinator out that promises too much or twice.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_ledger::{
    EscrowView,
    settlement::{Closing, Conditions, Purpose, plan},
};
use tidemill_store::SettlementRecord;
use tidemill_types::{Address, Amount, Coin, EscrowContract, EscrowId, Voucher};

use crate::core::{Settled, money::Escrow};

/// The contract that all of it is for.
pub const CONTRACT: EscrowContract = EscrowContract { chain_id: 77, address: Address([0xcc; 20]) };

/// The coordinator's account there.
pub const ACCOUNT: Address = Address([0xac; 20]);

/// How long vouchers are paid after the end of an escrow, in seconds.
const WINDOW_S: u64 = 600;

/// An escrow there.
#[derive(Clone, Debug)]
struct Account {
    view: EscrowView,
    paid: BTreeMap<Address, Amount>,
    refunded: Amount,
}

/// All that is on the ledger, and all that was promised.
#[derive(Default)]
pub struct Ledger {
    accounts: BTreeMap<EscrowId, Account>,
    /// By escrow and number: no number has two vouchers.
    vouchers: BTreeMap<(EscrowId, u64), Voucher>,
    /// The best voucher of each.
    best: BTreeMap<(EscrowId, Address), Voucher>,
    transactions: u64,
}

impl Ledger {
    /// Opens an escrow.
    pub fn open(&mut self, id: EscrowId, budget: Amount, ends_s: u64) {
        let view = EscrowView {
            id,
            requester: Address([0xee; 20]),
            coordinator: ACCOUNT,
            voucher_key: ACCOUNT,
            deposited: budget,
            paid: Amount::ZERO,
            fee_ppm: 10_000,
            protocol_fee_ppm: 20_000,
            ends_s,
            collect_until_s: ends_s + WINDOW_S,
            closed: false,
            now_s: 0,
        };
        self.accounts.insert(id, Account { view, paid: BTreeMap::new(), refunded: Amount::ZERO });
    }

    /// An escrow as it is.
    pub fn view(&self, id: EscrowId, now_s: u64) -> EscrowView {
        EscrowView { now_s, ..self.accounts[&id].view }
    }

    /// Adds to an escrow, as is possible while it is open.
    pub fn deposit(&mut self, id: EscrowId, amount: Amount, now_s: u64) {
        let view = &mut self.accounts.get_mut(&id).expect("it was opened").view;
        if now_s < view.ends_s && !view.closed {
            view.deposited = view.deposited.saturating_add(amount);
        }
    }

    /// Its requester ends it at once.
    pub fn end(&mut self, id: EscrowId, now_s: u64) {
        let view = &mut self.accounts.get_mut(&id).expect("it was opened").view;
        if now_s < view.ends_s && !view.closed {
            view.ends_s = now_s;
            view.collect_until_s = now_s + WINDOW_S;
        }
    }

    /// A voucher reaches its provider.
    pub fn promise(&mut self, voucher: Voucher) {
        let former = self.vouchers.insert((voucher.escrow, voucher.sequence), voucher);
        assert!(
            former.is_none_or(|former| former == voucher),
            "two vouchers of one number: {former:?}, {voucher:?}"
        );
        let deposited = self.accounts[&voucher.escrow].view.deposited;
        assert!(voucher.total <= deposited, "{voucher:?} promises more than {deposited}");
        let best = self.best.entry((voucher.escrow, voucher.provider)).or_insert(voucher);
        if voucher.sequence > best.sequence {
            assert!(voucher.amount >= best.amount, "{voucher:?} promises less than {best:?}");
            *best = voucher;
        }
        let promised: Amount = self
            .best
            .values()
            .filter(|best| best.escrow == voucher.escrow)
            .fold(Amount::ZERO, |sum, best| sum.saturating_add(best.amount));
        assert!(promised <= deposited, "{promised} are promised out of {deposited}");
    }

    /// Makes what has to be made, as the teller would.
    pub fn settle(&mut self, mut closing: Closing, now_s: u64) -> Result<Settled, String> {
        let id = closing.view.id;
        let before = self.accounts[&id].paid.clone();
        let known: BTreeMap<Address, Amount> =
            closing.payees.iter().map(|payee| (payee.provider, payee.paid)).collect();
        closing.view = self.view(id, now_s);
        for payee in &mut closing.payees {
            payee.paid = before.get(&payee.provider).copied().unwrap_or(Amount::ZERO);
        }
        let mut settlements = Vec::new();
        let conditions = Conditions::new(Coin::gwei(1), Coin::gwei(10), 30_000_000);
        for call in plan(std::slice::from_ref(&closing), &conditions) {
            self.make(call.purpose, &closing, now_s);
            self.transactions += 1;
            settlements.push(SettlementRecord {
                transaction: [1; 32],
                block: self.transactions,
                gas_used: 1,
                gas_price_wei: 1,
                escrows: 1,
                refunded: None,
            });
        }
        let account = &self.accounts[&id];
        let more = account.paid.iter().filter_map(|(provider, paid)| {
            let known = known.get(provider).copied().unwrap_or(Amount::ZERO);
            Some((*provider, paid.checked_sub(known)?))
        });
        let payments = more.collect();
        Ok(Settled { settlements, view: self.view(id, now_s), payments, acknowledged: Vec::new() })
    }

    fn make(&mut self, purpose: Purpose, closing: &Closing, now_s: u64) {
        let account = self.accounts.get_mut(&closing.view.id).expect("it is open");
        assert!(!account.view.closed, "a closed escrow does nothing any more");
        match purpose {
            Purpose::Close | Purpose::Pay | Purpose::Acknowledge => {
                for payee in &closing.payees {
                    if purpose == Purpose::Close {
                        let release = payee.release.expect("everybody has released").body;
                        assert_eq!(release.amount, payee.amount);
                    }
                    account.paid.insert(payee.provider, payee.amount);
                }
                account.view.paid =
                    account.paid.values().fold(Amount::ZERO, |sum, paid| sum.saturating_add(*paid));
                assert!(account.view.paid <= account.view.deposited, "more is paid than there is");
                if purpose == Purpose::Close {
                    account.close();
                }
            }
            Purpose::End => {
                account.view.ends_s = now_s;
                account.view.collect_until_s = now_s + WINDOW_S;
            }
            Purpose::Refund => {
                assert!(now_s >= account.view.collect_until_s, "the window is open");
                account.close();
            }
        }
    }

    /// Everything is where it belongs, to the wei: `earned` by account, in each escrow that a job has used. Where a job of it
    /// ended before it was done (`early`), what has run of it and failures are paid beside that.
    pub fn check(
        &self,
        earned: &BTreeMap<(EscrowId, Address), Amount>,
        used: &BTreeSet<EscrowId>,
        early: &BTreeSet<EscrowId>,
    ) {
        for (id, account) in &self.accounts {
            if !used.contains(id) {
                assert!(account.paid.is_empty(), "somebody is paid for nothing");
                continue;
            }
            let Account { view, paid, refunded } = account;
            assert!(view.closed, "an escrow is never settled: {account:?}");
            assert_eq!(view.deposited, view.paid.saturating_add(*refunded), "money is lost or made");
            for ((_, provider), amount) in earned.iter().filter(|((of, _), _)| of == id) {
                if early.contains(id) {
                    assert!(paid.get(provider) >= Some(amount), "{provider} is paid less than it has earned");
                    continue;
                }
                assert_eq!(paid.get(provider), Some(amount), "{provider} is not paid what it has earned");
            }
            let is_paid = |amount: &Amount| !amount.is_zero() && !early.contains(id);
            for (provider, amount) in paid.iter().filter(|(_, amount)| is_paid(amount)) {
                assert_eq!(earned.get(&(*id, *provider)), Some(amount), "{provider} is paid for nothing");
            }
        }
        for ((escrow, provider), voucher) in &self.best {
            let paid = self.accounts[escrow].paid.get(provider).copied().unwrap_or(Amount::ZERO);
            assert!(paid >= voucher.amount, "{provider} was promised {} and got {paid}", voucher.amount);
        }
    }
}

impl Account {
    fn close(&mut self) {
        self.view.closed = true;
        self.refunded =
            self.view.deposited.checked_sub(self.view.paid).expect("no more is paid than there is");
    }
}

/// What a running core holds back and owes never exceeds what is there.
pub fn check_escrow(escrow: &Escrow, reserved: Amount) {
    assert_eq!(escrow.reserved, reserved, "what is held back is what leases may come to");
    let promised = escrow.payees.values().fold(Amount::ZERO, |sum, payee| sum.saturating_add(payee.vouched));
    assert_eq!(promised, escrow.record.total);
    let earned = escrow.payees.values().fold(Amount::ZERO, |sum, payee| sum.saturating_add(payee.earned));
    let taken = earned.saturating_add(escrow.reserved);
    assert!(taken <= escrow.record.deposited, "{taken} of {} are taken", escrow.record.deposited);
}
