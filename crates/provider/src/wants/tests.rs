use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proptest::{collection::vec, prelude::*};

use super::*;

fn need(number: u8) -> Need {
    Need::whole(BlobRef { id: BlobId::of(&[number]), len: 1 })
}

fn here() -> Lent {
    Lent::file(Path::new("/blobs/here"), 1)
}

#[test]
fn a_blob_is_fetched_once_for_all_who_need_it() {
    let now = Instant::now();
    let mut wants = Wants::new(4);
    assert_eq!(wants.need(LeaseId(1), &[need(1), need(2)]), Ok(2));
    assert_eq!(wants.need(LeaseId(2), &[need(1)]), Ok(1));
    assert_eq!((wants.next(), wants.next(), wants.next()), (Some(need(1)), Some(need(2)), None));
    assert_eq!(wants.arrived(need(1).blob.id, here(), now), [LeaseId(1), LeaseId(2)]);
    assert_eq!(wants.need(LeaseId(3), &[need(1)]), Ok(0), "it is here");
    assert_eq!(wants.lent(need(1).blob.id).map(Lent::path), Some(here().path()));
    assert!(wants.lent(need(2).blob.id).is_none());
}

#[test]
fn what_is_damaged_is_fetched_again_for_those_who_need_it_from_then_on() {
    let now = Instant::now();
    let mut wants = Wants::new(4);
    wants.need(LeaseId(1), &[need(1), need(2)]).expect("no conflict");
    while wants.next().is_some() {}
    wants.arrived(need(1).blob.id, here(), now);
    wants.arrived(need(2).blob.id, here(), now);
    wants.lost(need(1).blob.id);
    assert!(wants.lent(need(1).blob.id).is_none());
    assert_eq!(wants.need(LeaseId(2), &[need(1)]), Ok(1));
    assert_eq!(wants.next(), Some(need(1)));
    wants.lost(need(1).blob.id);
    assert_eq!(wants.next(), None, "it is on its way");
    assert_eq!(wants.arrived(need(1).blob.id, here(), now), [LeaseId(2)]);
    wants.release(LeaseId(1), &[need(1), need(2)], now);
    wants.lost(need(2).blob.id);
    assert_eq!((wants.next(), wants.need(LeaseId(3), &[need(2)])), (None, Ok(1)), "nobody needed it");
    assert_eq!(wants.next(), Some(need(2)));
}

#[test]
fn what_all_blobs_come_to_is_known() {
    let now = Instant::now();
    let mut wants = Wants::new(4);
    wants.need(LeaseId(1), &[need(1), need(2)]).expect("no conflict");
    assert_eq!(wants.bytes_with(&[need(2), need(3)]), 3);
    while wants.next().is_some() {}
    wants.arrived(need(1).blob.id, here(), now);
    wants.release(LeaseId(1), &[need(1), need(2)], now);
    assert_eq!(wants.bytes_with(&[]), 2, "one is kept for a while, and one is on its way");
    wants.again(need(2).blob.id);
    assert_eq!(wants.forget_unused(Duration::ZERO, now), [need(1).blob.id]);
    assert_eq!(wants.bytes_with(&[]), 0);
}

#[test]
fn a_few_are_fetched_at_once() {
    let mut wants = Wants::new(2);
    wants.need(LeaseId(1), &[need(1), need(2), need(3)]).expect("no conflict");
    assert_eq!((wants.next(), wants.next(), wants.next()), (Some(need(1)), Some(need(2)), None));
    wants.again(need(1).blob.id);
    assert_eq!(wants.next(), Some(need(1)), "what was broken off comes before what has not begun");
    wants.arrived(need(2).blob.id, here(), Instant::now());
    assert_eq!(wants.next(), Some(need(3)));
}

#[test]
fn what_nobody_needs_is_forgotten_after_a_while() {
    let begin = Instant::now();
    let mut wants = Wants::new(2);
    wants.need(LeaseId(1), &[need(1)]).expect("no conflict");
    wants.next();
    wants.arrived(need(1).blob.id, here(), begin);
    let minute = Duration::from_secs(60);
    assert!(wants.forget_unused(minute, begin + 2 * minute).is_empty(), "it is needed");
    wants.release(LeaseId(1), &[need(1)], begin);
    assert!(wants.forget_unused(minute, begin + minute / 2).is_empty(), "a lease of the same job may come");
    assert_eq!(wants.need(LeaseId(2), &[need(1)]), Ok(0));
    wants.release(LeaseId(2), &[need(1)], begin + minute);
    assert_eq!(wants.forget_unused(minute, begin + 2 * minute), [need(1).blob.id]);
    assert_eq!(wants.need(LeaseId(3), &[need(1)]), Ok(1));
}

#[test]
fn what_cannot_be_had_costs_all_who_need_it_their_leases() {
    let now = Instant::now();
    let mut wants = Wants::new(2);
    wants.need(LeaseId(1), &[need(1)]).expect("no conflict");
    wants.need(LeaseId(2), &[need(1)]).expect("no conflict");
    wants.next();
    let lost = wants.failed(need(1).blob.id);
    assert_eq!(lost, [LeaseId(1), LeaseId(2)]);
    for lease in lost {
        wants.release(lease, &[need(1)], now);
    }
    assert!(wants.blobs.is_empty());
    assert_eq!(wants.need(LeaseId(3), &[need(1)]), Ok(1));
    assert_eq!(wants.next(), Some(need(1)), "another lease may have more luck");
}

#[test]
fn a_part_of_a_blob_is_looked_for_where_the_first_lease_says() {
    let mut wants = Wants::new(2);
    let part = |offset| {
        let file = BlobRef { id: BlobId::of(b"a file"), len: 6 };
        Need { part_of: Some(BlobSource::at(file, offset)), ..need(1) }
    };
    wants.need(LeaseId(1), &[part(2)]).expect("no conflict");
    wants.need(LeaseId(2), &[part(4)]).expect("the same bytes may be there twice");
    assert_eq!(wants.next(), Some(part(2)));
    wants.again(need(1).blob.id);
    assert_eq!(wants.next(), Some(part(2)));
    assert_eq!(wants.arrived(need(1).blob.id, here(), Instant::now()), [LeaseId(1), LeaseId(2)]);
}

#[test]
fn two_lengths_of_one_blob_are_a_lie() {
    let mut wants = Wants::new(2);
    wants.need(LeaseId(1), &[need(1)]).expect("no conflict");
    let longer = Need::whole(BlobRef { len: 2, ..need(1).blob });
    assert!(wants.need(LeaseId(2), &[need(2), longer]).is_err());
    assert!(!wants.blobs.contains_key(&need(2).blob.id), "a lease that is refused needs nothing");
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
        let blobs: Vec<Vec<Need>> = leases
            .iter()
            .map(|numbers| numbers.iter().collect::<BTreeSet<_>>().into_iter().map(|number| need(*number)).collect())
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
        while let Some(Need { blob, .. }) = wants.next() {
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
