use proptest::prelude::*;
use tidemill_net::wire::Unpaid;
use tidemill_types::{Address, Amount, EscrowContract, EscrowId, JobId, Signature65, Signed, Voucher};

use super::*;

const CONTRACT: EscrowContract = EscrowContract { chain_id: 7, address: Address([3; 20]) };

fn escrow(byte: u8) -> EscrowId {
    EscrowId([byte; 32])
}

fn opened(byte: u8) -> Entry {
    Entry::Escrow { escrow: escrow(byte), contract: CONTRACT, coordinator: Address([byte; 20]) }
}

fn voucher(byte: u8, sequence: u64, amount: u64) -> Signed<Voucher> {
    let amount = Amount::tide(amount);
    let body = Voucher { escrow: escrow(byte), provider: Address([1; 20]), amount, sequence, total: amount };
    Signed { body, signature: Signature65([byte; 65]) }
}

fn decided(byte: u8, job: u8, amount: u64) -> Entry {
    Entry::Decided(Decided {
        escrow: escrow(byte),
        job: JobId([job; 16]),
        paid: Tally::one(Amount::tide(amount)),
        short: Amount::from_wei(1),
        unpaid: vec![(Unpaid::Late, Tally::one(Amount::tide(2)))],
    })
}

/// The writes of a short life.
fn life() -> Vec<Vec<Entry>> {
    vec![
        vec![opened(1), opened(2)],
        vec![decided(1, 9, 5), Entry::Voucher(voucher(1, 1, 5))],
        vec![Entry::Evidence(voucher(2, 8, 800))],
        vec![
            Entry::Voucher(voucher(1, 2, 6)),
            Entry::Released { escrow: escrow(1), amount: Amount::tide(6) },
        ],
    ]
}

fn history_of<'a>(writes: impl IntoIterator<Item = &'a Vec<Entry>>) -> History {
    let mut history = History::default();
    writes.into_iter().flatten().for_each(|entry| history.take(entry));
    history
}

/// A folder with the journal of that life, and the bytes of the file.
fn written() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, torn) = Journal::open(folder.path()).expect("nothing is there yet");
    assert_eq!((torn, journal.history()), (0, &History::default()));
    for entries in life() {
        journal.append(&entries).expect("there is room");
    }
    let bytes = fs::read(folder.path().join(FILE)).expect("it is there");
    (folder, bytes)
}

#[test]
fn what_was_written_is_there_for_others_and_after_a_restart() {
    let (folder, _) = written();
    let expected = history_of(&life());
    assert_eq!(History::read(folder.path()).expect("it is whole"), expected);
    let (mut journal, torn) = Journal::open(folder.path()).expect("it is whole");
    assert_eq!((torn, journal.history()), (0, &expected));
    let more = vec![Entry::Ended { escrow: escrow(1), loss: None }];
    journal.append(&more).expect("there is room");
    assert!(History::read(folder.path()).expect("it is whole").escrows[&escrow(1)].ended);
    let elsewhere = tempfile::tempdir().expect("a folder");
    assert_eq!(History::read(elsewhere.path()).expect("nothing is no error"), History::default());
}

#[test]
fn cut_anywhere_it_opens_with_the_writes_that_are_whole() {
    let (folder, bytes) = written();
    let path = folder.path().join(FILE);
    let mut ends = vec![HEAD.len()];
    for entries in life() {
        ends.push(ends[ends.len() - 1] + frame::encode(&entries).len());
    }
    assert_eq!(ends[ends.len() - 1], bytes.len());
    for cut in 0..=bytes.len() {
        fs::write(&path, &bytes[..cut]).expect("there is room");
        let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        let expected = history_of(&life()[..whole]);
        assert_eq!(
            History::read(folder.path()).expect("a torn end is passed over"),
            expected,
            "cut at {cut}"
        );
        let (mut journal, torn) = Journal::open(folder.path()).expect("a torn end is cut off");
        let good = ends.iter().rfind(|end| **end <= cut).copied().unwrap_or(0);
        assert_eq!((torn, journal.history()), (cut - good, &expected), "cut at {cut}");
        journal.append(&[opened(7)]).expect("there is room");
        let again = History::read(folder.path()).expect("it is whole again");
        assert_eq!(again.escrows.len(), expected.escrows.len() + 1, "cut at {cut}");
    }
}

#[test]
fn a_flipped_byte_is_found_and_never_believed() {
    let (folder, bytes) = written();
    let path = folder.path().join(FILE);
    let last = bytes.len() - frame::encode(&life()[3]).len();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        fs::write(&path, &damaged).expect("there is room");
        match History::read(folder.path()) {
            // Of the last write alone it cannot be told whether it was torn.
            Ok(history) => {
                assert!(at >= last, "byte {at}");
                assert_eq!(history, history_of(&life()[..3]), "byte {at}");
            }
            Err(error) => {
                assert!(at < last, "byte {at}");
                assert!(error.to_string().contains(FILE), "{error}");
                assert!(Journal::open(folder.path()).is_err(), "byte {at}");
            }
        }
        assert_eq!(fs::read(&path).expect("it is there").len(), bytes.len(), "reading mends nothing");
    }
}

#[test]
fn a_long_journal_is_rewritten_and_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = Journal::open(folder.path()).expect("nothing is there yet");
    journal.append(&[opened(1)]).expect("there is room");
    let size = || fs::metadata(folder.path().join(FILE)).expect("it is there").len();
    let mut longest = 0;
    for round in 0..40_u64 {
        let entries: Vec<_> =
            (0..500).map(|n| Entry::Voucher(voucher(1, round * 500 + n + 1, round + 1))).collect();
        journal.append(&entries).expect("there is room");
        longest = longest.max(size());
    }
    assert!(longest > LEAST_REWRITTEN / 2, "it grew to {longest} bytes");
    assert!(longest < 2 * LEAST_REWRITTEN, "and was rewritten: {longest} bytes");
    let history = History::read(folder.path()).expect("it is whole");
    assert_eq!(&history, journal.history());
    assert_eq!(history.escrows[&escrow(1)].voucher, Some(voucher(1, 20_000, 40)));
    let (again, torn) = Journal::open(folder.path()).expect("it is whole");
    assert_eq!((torn, again.history()), (0, &history));
}

#[test]
fn a_write_that_failed_leaves_no_trace_and_can_be_made_again() {
    let (folder, _) = written();
    let (mut journal, _) = Journal::open(folder.path()).expect("it is whole");
    // A file that cannot be written to.
    journal.file = File::open(folder.path().join(FILE)).expect("it is there");
    let entries = vec![Entry::Voucher(voucher(1, 3, 7))];
    journal.append(&entries).expect_err("it is open for reading");
    assert_eq!(journal.history(), &history_of(&life()));
    journal.append(&entries).expect("it is written anew");
    let expected = history_of(life().iter().chain([&entries]));
    assert_eq!(
        (journal.history(), &History::read(folder.path()).expect("it is whole")),
        (&expected, &expected)
    );
}

fn any_entry() -> impl Strategy<Value = Entry> {
    (0_u8..4, 0_u8..11, 0_u64..9, 1_u32..4).prop_map(|(byte, kind, number, times)| {
        let (escrow, amount) = (escrow(byte), Amount::tide(number));
        match kind {
            0 | 1 => opened(byte),
            2 => decided(byte, 9, number),
            3 => decided(byte, 8, number),
            4 => Entry::Voucher(voucher(byte, number, number)),
            5 => Entry::Evidence(voucher(byte, number, number)),
            6 => Entry::Released { escrow, amount },
            7 => Entry::Received { escrow, gross: amount, net: amount },
            8 => Entry::Collected { escrow, transaction: [byte; 32] },
            9 => Entry::CollectFailed { escrow, times },
            _ => {
                let loss = Loss { amount, reason: LossReason::WindowOver };
                Entry::Ended { escrow, loss: (number > 4).then_some(loss) }
            }
        }
    })
}

proptest! {
    #[test]
    fn what_a_history_comes_to_is_the_same_history(entries in prop::collection::vec(any_entry(), 0..60)) {
        let history = history_of([&entries]);
        let rewritten: Vec<_> = history.entries().collect();
        prop_assert_eq!(history_of(&rewritten), history);
    }
}
