use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proptest::{collection::vec, prelude::*};

use super::*;

fn blob(number: u8) -> BlobRef {
    BlobRef { id: BlobId::of(&[number]), len: 1 }
}

fn here() -> Lent {
    Lent::file(Path::new("/blobs/here"), 1)
}

#[test]
fn a_blob_is_fetched_once_for_all_who_need_it() {
    let now = Instant::now();
    let mut wants = Wants::new(4);
    assert_eq!(wants.need(LeaseId(1), &[blob(1), blob(2)]), Ok(2));
    assert_eq!(wants.need(LeaseId(2), &[blob(1)]), Ok(1));
    assert_eq!((wants.next(), wants.next(), wants.next()), (Some(blob(1)), Some(blob(2)), None));
    assert_eq!(wants.arrived(blob(1).id, here(), now), [LeaseId(1), LeaseId(2)]);
    assert_eq!(wants.need(LeaseId(3), &[blob(1)]), Ok(0), "it is here");
    assert_eq!(wants.lent(blob(1).id).map(Lent::path), Some(here().path()));
    assert!(wants.lent(blob(2).id).is_none());
}

#[test]
fn a_few_are_fetched_at_once() {
    let mut wants = Wants::new(2);
    wants.need(LeaseId(1), &[blob(1), blob(2), blob(3)]).expect("no conflict");
    assert_eq!((wants.next(), wants.next(), wants.next()), (Some(blob(1)), Some(blob(2)), None));
    wants.again(blob(1).id);
    assert_eq!(wants.next(), Some(blob(1)), "what was broken off comes before what has not begun");
    wants.arrived(blob(2).id, here(), Instant::now());
    assert_eq!(wants.next(), Some(blob(3)));
}

#[test]
fn what_nobody_needs_is_forgotten_after_a_while() {
    let begin = Instant::now();
    let mut wants = Wants::new(2);
    wants.need(LeaseId(1), &[blob(1)]).expect("no conflict");
    wants.next();
    wants.arrived(blob(1).id, here(), begin);
    let minute = Duration::from_secs(60);
    assert!(wants.forget_unused(minute, begin + 2 * minute).is_empty(), "it is needed");
    wants.release(LeaseId(1), &[blob(1)], begin);
    assert!(wants.forget_unused(minute, begin + minute / 2).is_empty(), "a lease of the same job may come");
    assert_eq!(wants.need(LeaseId(2), &[blob(1)]), Ok(0));
    wants.release(LeaseId(2), &[blob(1)], begin + minute);
    assert_eq!(wants.forget_unused(minute, begin + 2 * minute), [blob(1).id]);
    assert_eq!(wants.need(LeaseId(3), &[blob(1)]), Ok(1));
}

#[test]
fn what_cannot_be_had_costs_all_who_need_it_their_leases() {
    let now = Instant::now();
    let mut wants = Wants::new(2);
    wants.need(LeaseId(1), &[blob(1)]).expect("no conflict");
    wants.need(LeaseId(2), &[blob(1)]).expect("no conflict");
    wants.next();
    let lost = wants.failed(blob(1).id);
    assert_eq!(lost, [LeaseId(1), LeaseId(2)]);
    for lease in lost {
        wants.release(lease, &[blob(1)], now);
    }
    assert!(wants.blobs.is_empty());
    assert_eq!(wants.need(LeaseId(3), &[blob(1)]), Ok(1));
    assert_eq!(wants.next(), Some(blob(1)), "another lease may have more luck");
}

#[test]
fn two_lengths_of_one_blob_are_a_lie() {
    let mut wants = Wants::new(2);
    wants.need(LeaseId(1), &[blob(1)]).expect("no conflict");
    let longer = BlobRef { len: 2, ..blob(1) };
    assert!(wants.need(LeaseId(2), &[blob(2), longer]).is_err());
    assert!(!wants.blobs.contains_key(&blob(2).id), "a lease that is refused needs nothing");
}

proptest! {
    #[test]
    fn nobody_waits_for_ever(
        leases in vec(vec(0u8..6, 0..4), 1..12),
        luck in vec(0u8..8, 0..60),
        dropped in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let now = Instant::now();
        let mut wants = Wants::new(2);
        let mut missing: BTreeMap<LeaseId, usize> = BTreeMap::new();
        let blobs: Vec<Vec<BlobRef>> = leases
            .iter()
            .map(|numbers| numbers.iter().collect::<BTreeSet<_>>().into_iter().map(|number| blob(*number)).collect())
            .collect();
        let of = |lease: LeaseId| &blobs[lease.0 as usize];
        for (id, blobs) in blobs.iter().enumerate() {
            let lease = LeaseId(id as u64);
            missing.insert(lease, wants.need(lease, blobs).expect("one length"));
        }
        for index in dropped {
            let lease = LeaseId(index.index(blobs.len()) as u64);
            if missing.remove(&lease).is_some() {
                wants.release(lease, of(lease), now);
            }
        }
        let mut luck = luck.into_iter();
        let mut on_the_way = BTreeSet::new();
        while let Some(blob) = wants.next() {
            prop_assert!(on_the_way.insert(blob.id), "fetched twice at once");
            prop_assert!(on_the_way.len() <= 2);
            on_the_way.remove(&blob.id);
            match luck.next().unwrap_or(7) {
                0 => {
                    for lease in wants.failed(blob.id) {
                        prop_assert!(missing.remove(&lease).is_some());
                        wants.release(lease, of(lease), now);
                    }
                }
                1 => wants.again(blob.id),
                _ => {
                    for lease in wants.arrived(blob.id, here(), now) {
                        *missing.get_mut(&lease).expect("it waits") -= 1;
                    }
                }
            }
        }
        prop_assert!(missing.values().all(|missing| *missing == 0), "{missing:?}");
        for lease in missing.into_keys() {
            wants.release(lease, of(lease), now);
        }
        wants.forget_unused(Duration::ZERO, now);
        prop_assert!(wants.blobs.is_empty());
        prop_assert_eq!(wants.fetching, 0);
    }
}
