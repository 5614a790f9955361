//! Escrows that are promised from, paid, collected, topped up and settled in an order that follows from a seed.

use std::collections::BTreeMap;

use tidemill_ledger::{
    Escrows,
    escrow::Phase,
    settlement::{Closing, Conditions, Payee, Purpose, plan},
};
use tidemill_types::Release;

use super::*;

/// What is known of an escrow, beside the ledger.
struct Model {
    id: EscrowId,
    deposited: Amount,
    total: Amount,
    sequence: u64,
    /// What each was promised last, with the voucher.
    promises: BTreeMap<usize, Signed<Voucher>>,
    paid: BTreeMap<usize, Amount>,
}

/// Numbers that follow from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// One of the amounts up to this one, which is seldom a round one.
    fn part(&mut self, most: Amount) -> Amount {
        most.mul_div_floor(self.below(1_000_003), 1_000_003).expect("a part is less")
    }
}

const WORKERS: [usize; 2] = [PROVIDER, SECOND];

impl World {
    /// Lets a few escrows live at a time. Whatever came before, each ends with everybody paid what was promised.
    pub(super) async fn schedules(&mut self, seed: u64) {
        println!("seed {seed}");
        let mut numbers = Numbers(seed);
        let mut models = Vec::new();
        for number in 0..3 {
            let id = self.open(50, B256::repeat_byte(0x10 + number)).await;
            let (deposited, total) = (Amount::tide(50), Amount::ZERO);
            let (promises, paid) = (BTreeMap::new(), BTreeMap::new());
            models.push(Model { id, deposited, total, sequence: 0, promises, paid });
        }
        for _ in 0..24 {
            let at = usize::try_from(numbers.below(3)).expect("a few");
            self.happens(&mut models[at], &mut numbers).await;
        }
        for model in models {
            let some_are_silent = numbers.below(2) == 0;
            self.settled(model, some_are_silent).await;
        }
    }

    async fn happens(&mut self, model: &mut Model, numbers: &mut Numbers) {
        let who = WORKERS[usize::try_from(numbers.below(2)).expect("two")];
        let (provider, id) = (self.address(who), model.id);
        let paid = model.paid.get(&who).copied().unwrap_or_default();
        match numbers.below(4) {
            0 | 1 => {
                let more = numbers.part(model.deposited.saturating_sub(model.total));
                let before = model.promises.get(&who).map_or(Amount::ZERO, |signed| signed.body.amount);
                (model.total, model.sequence) = (model.total.saturating_add(more), model.sequence + 1);
                let voucher = Voucher {
                    escrow: id,
                    provider: ours(provider),
                    amount: before.saturating_add(more),
                    sequence: model.sequence,
                    total: model.total,
                };
                model.promises.insert(who, self.signed(voucher));
            }
            2 => {
                let Some(promise) = model.promises.get(&who) else { return };
                let amount = promise.body.amount;
                match numbers.below(2) {
                    0 if amount > paid => {
                        self.act(who, "JobEscrow", escrow::collect(&[*promise])).await;
                        model.paid.insert(who, amount);
                    }
                    1 if amount > paid => {
                        let amount = paid.saturating_add(numbers.part(amount.saturating_sub(paid)));
                        if amount == paid {
                            return;
                        }
                        let payment = JobEscrow::Payment { provider, amount: U96::from(amount.wei()) };
                        let settle = JobEscrow::settleCall {
                            id: id.0.into(),
                            payments: vec![payment],
                            root: B256::ZERO,
                        };
                        self.act(COORDINATOR, "JobEscrow", settle.abi_encode()).await;
                        model.paid.insert(who, amount);
                    }
                    _ => {}
                }
            }
            _ => {
                let more = numbers.part(Amount::tide(5));
                let escrow = self.book.address("JobEscrow").expect("it is named");
                let approve = Tide::approveCall { spender: escrow, value: U256::from(more.wei()) };
                self.act(REQUESTER, "Tide", approve.abi_encode()).await;
                let deposit = JobEscrow::depositCall { id: id.0.into(), amount: U96::from(more.wei()) };
                self.act(REQUESTER, "JobEscrow", deposit.abi_encode()).await;
                model.deposited = model.deposited.saturating_add(more);
            }
        }
    }

    /// Settles an escrow as a coordinator does, and checks who got what.
    async fn settled(&mut self, model: Model, some_are_silent: bool) {
        let escrows = Escrows::new(self.chain.clone(), &self.book).await.expect("it is named");
        let contract = escrows.contract();
        let id = model.id;
        let conditions = Conditions::new(Coin::from_wei(1), Coin::from_wei(1), 30_000_000);
        let mut steps = Vec::new();
        loop {
            let view = escrows.view(id, 1).await.expect("an answer").expect("it is there");
            // The clock of the test runs ahead of blocks.
            let view = tidemill_ledger::EscrowView { now_s: view.now_s.max(self.time), ..view };
            let payments = escrows.payments(id).await.expect("an answer");
            let payee = |(who, promise): (&usize, &Signed<Voucher>)| {
                let (provider, amount) = (promise.body.provider, promise.body.amount);
                let release = Release { escrow: id, provider, amount };
                let is_silent = some_are_silent && *who == SECOND;
                let key = self.key(*who);
                Payee {
                    provider,
                    amount,
                    release: (!is_silent).then(|| release.sign(&contract, &key).expect("it fits")),
                    paid: payments
                        .iter()
                        .filter(|payment| payment.provider == provider)
                        .fold(Amount::ZERO, |sum, payment| sum.saturating_add(payment.gross)),
                    acknowledged: false,
                }
            };
            let payees: Vec<_> = model.promises.iter().map(payee).collect();
            if view.closed {
                for payee in &payees {
                    assert_eq!(payee.paid, payee.amount, "{:?} after {steps:?}", payee.provider);
                }
                assert_eq!(view.paid, model.total);
                assert_eq!(view.deposited, model.deposited);
                break;
            }
            let calls = plan(&[Closing { view, payees, impatient: true }], &conditions);
            if calls.is_empty() {
                assert_eq!(view.phase(), Phase::Collecting, "after {steps:?}");
                self.time = view.collect_until_s;
            }
            for call in calls {
                steps.push(call.purpose);
                self.act(COORDINATOR, "JobEscrow", call.data).await;
            }
            assert!(steps.len() < 8, "it does not come to an end: {steps:?}");
        }
        let last = steps.last().copied();
        let is_awaited = some_are_silent && model.promises.contains_key(&SECOND);
        assert_eq!(last, Some(if is_awaited { Purpose::Refund } else { Purpose::Close }));
    }
}
