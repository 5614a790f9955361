//! Two coordinators at a time: what one of them does is nothing to the other.

use tidemill_net::wire::ReleaseAsked;

use super::*;

impl World {
    /// A second coordinator, with a key of its own, is joined.
    fn beside(&mut self) -> ResultKey {
        let other = key(3);
        self.book.joined(SECOND, Session::Pays(other.address()), self.now.at);
        other
    }

    /// The second coordinator leases a task that this escrow pays for.
    fn admit_of_second(&mut self, lease: u64, byte: u8) -> Admission {
        let lease = SECOND.lease(LeaseId(lease));
        self.book.admit(lease, (Some(&pay(byte)), &RateCard::default()), Millis(60_000), self.now)
    }

    /// An escrow of the second coordinator, seen and written down.
    fn open_of_second(&mut self, byte: u8, other: &ResultKey) {
        assert_eq!(self.admit_of_second(u64::MAX, byte), Admission::Wait);
        self.book.errands(self.now);
        // Whose bond answers for it is another matter: that may be the account of the first one.
        let view = EscrowView { voucher_key: other.address(), ..self.view(byte) };
        self.see(byte, Some(Sight { view, ..self.sight(byte) }));
        self.book.reconsider(self.now);
        self.store();
        assert_eq!(self.book.reconsider(self.now), [(SECOND.lease(LeaseId(u64::MAX)), Ok(()))]);
    }

    fn report_of_second(&mut self, lease: u64, byte: u8, price: Amount) {
        let task = TaskId { job: JobId([byte; 16]), task: TaskNumber(lease) };
        let reported = Reported { task, escrow: escrow(byte), price };
        self.book.reported(SECOND.lease(LeaseId(lease)), reported);
    }
}

#[test]
fn each_coordinator_is_worked_for_up_to_the_limit_by_itself() {
    let mut world = World::new();
    let other = world.beside();
    world.open(1);
    world.open_of_second(2, &other);
    // Both count their leases from one.
    world.report(1, 1, tide(10));
    world.report_of_second(1, 2, tide(4));
    assert_eq!((world.book.exposure(FIRST), world.book.exposure(SECOND)), (tide(10), tide(4)));
    assert!(matches!(world.book.stop(FIRST), Some(NotPaid::Exposed { .. })));
    assert_eq!(world.book.stop(SECOND), None);
    assert_eq!(world.admit_of_second(2, 2), Admission::Take);
    assert_eq!(world.book.gives_back(FIRST, world.now.at), None);
    assert_eq!(world.book.gives_back(SECOND, world.now.at), None);
    let limit = terms().max_exposure;
    let expected = (Some(FIRST), Event::Exposed { amount: tide(10), limit });
    assert!(world.book.news().contains(&expected), "and it is said whose work it is");
    world.sanity_check();
}

#[test]
fn one_coordinator_does_not_decide_for_the_other() {
    let mut world = World::new();
    let other = world.beside();
    world.open(1);
    world.open_of_second(2, &other);
    world.report(1, 1, tide(4));
    world.report_of_second(1, 2, tide(3));
    world.book.decided(SECOND, &[(LeaseId(1), Decision::Unpaid(tidemill_net::wire::Unpaid::Late))], &[]);
    // What it refuses stays a part of its exposure, and of nobody else's.
    assert_eq!((world.book.exposure(FIRST), world.book.exposure(SECOND)), (tide(4), tide(3)));
    assert_eq!((world.book.undecided(FIRST), world.book.undecided(SECOND)), (1, 0));
    assert_eq!(world.book.held(FIRST).map(|(lease, _)| lease).collect::<Vec<_>>(), [LeaseId(1)]);
    let voucher = world.voucher(1, 1, tide(4));
    world.pays(&[(1, tide(4))], Some(voucher));
    world.store();
    // Nobody gives up an escrow but at the word of whoever has it.
    let asked = ReleaseAsked { escrow: escrow(1), amount: tide(9) };
    world.book.release_asked(SECOND, asked, false);
    world.store();
    assert_eq!(world.book.releases(), []);
    world.book.release_asked(FIRST, asked, false);
    world.store();
    assert_eq!(world.book.releases().iter().map(|(to, _)| *to).collect::<Vec<_>>(), [FIRST]);
    world.sanity_check();
}

#[test]
fn a_fraud_of_one_leaves_the_other_its_work() {
    let mut world = World::new();
    let other = world.beside();
    world.open(1);
    world.open_of_second(2, &other);
    world.earn(1, 5, tide(4));
    let twice = world.voucher(1, 5, tide(6));
    world.pays(&[], Some(twice));
    assert_eq!(world.book.stop(FIRST), Some(NotPaid::Fraud));
    assert_eq!(world.book.stop(SECOND), None);
    assert_eq!(world.admit_of_second(2, 2), Admission::Take);
    world.sanity_check();
}

#[test]
fn an_escrow_is_that_of_the_coordinator_that_the_ledger_names() {
    let mut world = World::new();
    world.beside();
    // The second names the first one's escrow before that one does.
    assert_eq!(world.admit_of_second(1, 1), Admission::Wait);
    assert_eq!(world.admit(1, 1), Admission::Wait);
    world.book.errands(world.now);
    world.see(1, Some(world.sight(1)));
    let decided = world.book.reconsider(world.now);
    let [(lease, Err(reason))] = decided[..] else { panic!("the first waits for the disk: {decided:?}") };
    assert_eq!(lease, SECOND.lease(LeaseId(1)));
    assert!(matches!(reason, NotPaid::OtherCoordinator { .. }), "{reason}");
    world.store();
    assert_eq!(world.book.reconsider(world.now), [(key_of(1), Ok(()))]);
    world.sanity_check();
}

#[test]
fn the_bond_of_each_is_asked_for() {
    let mut world = World::with(Terms { min_bond: tide(50), ..terms() });
    let (first, second) = (world.coordinator.address(), world.beside().address());
    let asked = |world: &mut World| world.book.errands(world.now).and_then(|errands| errands.bond);
    assert_eq!(asked(&mut world), Some(first));
    assert_eq!(asked(&mut world), None, "one at a time");
    world.book.bonded(first, tide(50), world.now.at);
    assert_eq!(asked(&mut world), Some(second));
    world.book.bonded(second, tide(49), world.now.at);
    assert_eq!(world.book.stop(FIRST), None);
    assert!(matches!(world.book.stop(SECOND), Some(NotPaid::Bond { .. })));
}

#[test]
fn two_nodes_with_one_account_are_trusted_as_one() {
    let mut world = World::new();
    let account = world.coordinator.address();
    world.book.joined(SECOND, Session::Pays(account), world.now.at);
    world.open(1);
    world.report(1, 1, tide(6));
    world.report_of_second(1, 1, tide(4));
    assert!(matches!(world.book.stop(FIRST), Some(NotPaid::Exposed { .. })));
    assert!(matches!(world.book.stop(SECOND), Some(NotPaid::Exposed { .. })));
    world.sanity_check();
}

#[test]
fn a_coordinator_that_is_silent_is_collected_from_while_the_other_one_speaks() {
    let mut world = World::new();
    world.beside();
    world.open(1);
    world.earn(1, 1, tide(4));
    world.pass(Duration::from_secs(OPEN_S + 61));
    world.book.heard(SECOND, world.now.at);
    world.see(1, Some(world.sight_of_ended(1)));
    let collection = world.collection().expect("its coordinator says nothing");
    assert_eq!(collection.voucher.body.escrow, escrow(1));
}

impl World {
    /// An escrow that has just ended.
    fn sight_of_ended(&self, byte: u8) -> Sight {
        let ends_s = self.now.unix_s - 1;
        let view = EscrowView { ends_s, collect_until_s: ends_s + WINDOW_S, ..self.view(byte) };
        Sight { view, ..self.sight(byte) }
    }
}
