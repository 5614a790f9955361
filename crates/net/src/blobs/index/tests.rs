use proptest::{collection::vec, prelude::*};

use super::*;

const BUDGET: u64 = 1000;

#[derive(Clone, Debug)]
enum Step {
    Import(u8, u64),
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

/// Sets room aside and checks what makes way for it. Whether there was room.
fn reserve(index: &mut Index, bytes: u64) -> bool {
    let before = index.usage();
    let held: HashSet<_> = index.pins.values().flatten().copied().collect();
    let ages: HashMap<_, _> = index.blobs.iter().map(|(id, entry)| (*id, entry.used_at)).collect();
    match index.reserve(bytes) {
        Err(over) => {
            assert_eq!(index.usage(), before, "all or nothing");
            assert!(over.held + bytes > BUDGET, "{over}");
            false
        }
        Ok(victims) => {
            let gone = victims.iter().filter_map(|victim| match victim {
                Victim::Blob(id) => Some(*id),
                Victim::Partial(..) => None,
            });
            let gone: Vec<_> = gone.collect();
            assert!(gone.iter().all(|id| !held.contains(id)), "what is pinned stays");
            assert!(gone.is_sorted_by_key(|id| ages[id]));
            let left =
                index.blobs.iter().filter(|(_, entry)| entry.pins == 0).map(|(_, entry)| entry.used_at).min();
            assert!(gone.iter().all(|id| left.is_none_or(|left| ages[id] < left)), "the oldest go first");
            assert!(index.used + index.reserved <= BUDGET);
            true
        }
    }
}

fn sanity_check(index: &Index, reserved: &[u64]) {
    let blobs: u64 = index.blobs.values().map(|entry| entry.bytes).sum();
    let partials: u64 = index.partials.values().map(|partial| partial.bytes).sum();
    assert_eq!(index.used, blobs + partials);
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
