use std::path::Path;

use proptest::{collection::vec, prelude::*};

use super::*;

const BUDGET: u64 = 1000;

#[derive(Clone, Debug)]
enum Step {
    Import(u8, u64),
    /// Appends to a segment: the last one, or a new one.
    Pack(u8, u64, bool),
    Reserve(u64),
    Release,
    Touch(u8),
    Pin(u8, u8),
    Unpin(u8),
    Break(u8, u64),
    Resume(u8),
    Forget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let blob = 0..12u8;
    prop_oneof![
        (blob.clone(), 0..400u64).prop_map(|(blob, bytes)| Step::Import(blob, bytes)),
        (blob.clone(), 1..200u64, any::<bool>()).prop_map(|(blob, bytes, new)| Step::Pack(blob, bytes, new)),
        (0..1200u64).prop_map(Step::Reserve),
        Just(Step::Release),
        blob.clone().prop_map(Step::Touch),
        (0..3u8, blob.clone()).prop_map(|(pin, blob)| Step::Pin(pin, blob)),
        (0..3u8).prop_map(Step::Unpin),
        (blob.clone(), 1..400u64).prop_map(|(blob, bytes)| Step::Break(blob, bytes)),
        blob.clone().prop_map(Step::Resume),
        blob.prop_map(Step::Forget),
    ]
}

fn id(blob: u8) -> BlobId {
    BlobId::of(&[blob])
}

fn pin(pin: u8) -> Pin {
    Pin::new(format!("pin/{pin}")).expect("a plain name")
}

/// As the writer does: copies what is left of a segment to a new one, and gives it up.
fn clean(index: &mut Index, number: u64) {
    let left = |entry: &Entry| entry.segment() == Some(number);
    let left: Vec<_> =
        index.blobs.iter().filter(|(_, entry)| left(entry)).map(|(id, it)| (*id, it.len, it.bytes)).collect();
    if !left.is_empty() {
        let next = begin(index);
        for (id, len, bytes) in left {
            append(index, next, id, len, bytes);
        }
    }
    index.remove_segment(number).expect("it is there");
}

fn begin(index: &mut Index) -> u64 {
    let number = index.segments.last_key_value().map_or(1, |(last, _)| last + 1);
    index.add_segment(number, SegmentFile::new(Path::new("nowhere")), HEAD_BYTES);
    number
}

fn append(index: &mut Index, number: u64, id: BlobId, len: u64, bytes: u64) {
    let offset = index.segments[&number].len;
    index.resize_segment(number, offset + bytes);
    index.pack(id, len, bytes, Packed { segment: number, offset });
}

/// Sets room aside, cleans as it takes, and checks what makes way. Whether there was room.
fn reserve(index: &mut Index, bytes: u64) -> bool {
    let held: HashSet<_> = index.pins.values().flatten().copied().collect();
    let here: HashSet<_> = index.blobs.keys().filter(|id| held.contains(id)).copied().collect();
    for _ in 0..100 {
        let before = index.usage();
        let ages: HashMap<_, _> = index.blobs.iter().map(|(id, entry)| (*id, entry.used_at)).collect();
        let outcome = index.reserve(bytes, u64::MAX);
        assert!(here.iter().all(|id| index.blobs.contains_key(id)), "what is pinned stays");
        match outcome {
            Err(over) => {
                assert_eq!(index.usage(), before, "all or nothing");
                assert!(over.held + bytes > BUDGET, "{over}");
                return false;
            }
            Ok(Room::After(number)) => {
                assert_eq!(index.usage().reserved, before.reserved);
                clean(index, number);
                assert!(here.iter().all(|id| index.blobs.contains_key(id)), "what is pinned is copied on");
                assert!(index.usage().used < before.used, "a cleaned segment gives room");
            }
            Ok(Room::Here(victims)) => {
                let gone = victims.iter().filter_map(|victim| match victim {
                    Victim::Blob(id) => Some(*id),
                    Victim::Partial(..) => None,
                });
                let gone: Vec<_> = gone.collect();
                assert!(gone.is_sorted_by_key(|id| ages[id]));
                let files = index.blobs.values().filter(|it| it.pins == 0 && it.segment().is_none());
                let left = files.map(|entry| entry.used_at).min();
                assert!(gone.iter().all(|id| left.is_none_or(|left| ages[id] < left)), "the oldest go first");
                assert!(index.used + index.reserved <= BUDGET);
                return true;
            }
        }
    }
    panic!("cleaning comes to no end");
}

fn sanity_check(index: &Index, reserved: &[u64]) {
    let files = index.blobs.values().filter(|entry| entry.segment().is_none());
    let blobs: u64 = files.map(|entry| entry.bytes).sum();
    let segments: u64 = index.segments.values().map(|segment| segment.len).sum();
    for (number, segment) in &index.segments {
        let within = index.blobs.values().filter(|entry| entry.segment() == Some(*number));
        assert!(within.map(|entry| entry.bytes).sum::<u64>() + HEAD_BYTES <= segment.len);
    }
    let partials: u64 = index.partials.values().map(|partial| partial.bytes).sum();
    assert_eq!(index.used, blobs + partials + segments);
    assert_eq!(index.reserved, reserved.iter().sum::<u64>());
    let holding = |id| index.pins.values().filter(|held| held.contains(id)).count();
    for (id, entry) in &index.blobs {
        assert_eq!(entry.pins as usize, holding(id));
    }
    for (id, held) in &index.held {
        assert_eq!(*held as usize, holding(id), "a blob that went and comes again is held as before");
    }
    assert_eq!(index.held.len(), index.pins.values().flatten().collect::<HashSet<_>>().len());
}

proptest! {
    #[test]
    fn the_budget_holds_and_so_do_pins(steps in vec(step(), 1..80)) {
        let mut index = Index::new(BUDGET);
        let mut reserved = Vec::new();
        for step in steps {
            match step {
                Step::Import(blob, bytes) => {
                    if index.get(id(blob)).is_none() && reserve(&mut index, bytes) {
                        index.release(bytes);
                        index.insert(id(blob), bytes, bytes, Place::Owned);
                    }
                }
                Step::Pack(blob, bytes, new) => {
                    if index.get(id(blob)).is_none() && reserve(&mut index, bytes + HEAD_BYTES) {
                        index.release(bytes + HEAD_BYTES);
                        let last = index.segments.last_key_value().map(|(number, _)| *number);
                        let number = match last {
                            Some(last) if !new => last,
                            _ => begin(&mut index),
                        };
                        append(&mut index, number, id(blob), bytes, bytes);
                    }
                }
                Step::Reserve(bytes) => {
                    if reserve(&mut index, bytes) {
                        reserved.push(bytes);
                    }
                }
                Step::Release => index.release(reserved.pop().unwrap_or(0)),
                Step::Touch(blob) => prop_assert_eq!(index.touch(id(blob)).is_some(), index.get(id(blob)).is_some()),
                Step::Pin(name, blob) => prop_assert_eq!(index.pin(&pin(name), id(blob)), index.get(id(blob)).is_some()),
                Step::Unpin(name) => {
                    index.unpin(&pin(name));
                    prop_assert!(index.pinned(&pin(name)).is_empty());
                }
                Step::Break(blob, bytes) => {
                    index.take_partial(id(blob));
                    if reserve(&mut index, bytes) {
                        index.release(bytes);
                        index.insert_partial(id(blob), bytes, bytes);
                    }
                }
                Step::Resume(blob) => _ = index.take_partial(id(blob)),
                Step::Forget(blob) => index.forget(id(blob)),
            }
            sanity_check(&index, &reserved);
        }
    }
}

#[test]
fn a_segment_that_is_read_stays_and_one_that_is_needed_as_a_whole_goes_last() {
    let mut index = Index::new(BUDGET);
    let first = begin(&mut index);
    append(&mut index, first, id(1), 400, 400);
    append(&mut index, first, id(2), 20, 20);
    index.pin(&pin(1), id(1));
    let second = begin(&mut index);
    append(&mut index, second, id(3), 300, 300);
    let reading = index.segment(second).cloned();
    assert_eq!(
        index.reserve(300, u64::MAX),
        Err(OverBudget { need: 300, budget: BUDGET, held: 796 }),
        "only 20 may go"
    );
    drop(reading);
    assert_eq!(index.reserve(200, u64::MAX), Ok(Room::After(second)), "though it was used later");
    assert!(index.get(id(3)).is_none() && index.get(id(2)).is_some());
    clean(&mut index, second);
    assert_eq!(index.reserve(200, u64::MAX), Ok(Room::Here(Vec::new())));
}
