//! Evidence: how it is kept, how much of it, and how it goes when its time is over.
//!
//! A row holds all that its proof takes, so that nothing else has to stay for it, neither its job nor the batches that its
//! results came in.

use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use tidemill_types::{
    Address, BatchTerms, Chain, Evidence, JobId, MAX_EVIDENCE_BYTES, Principal, Signature65, SignedLeaf,
    SignedResult, TaskId, merkle,
};

use crate::{
    BatchRecord, Contradiction, EvidenceRecord, FailureProof, NewEvidence, Proof, Said, UnixMillis,
    apply::Refusal,
    error::Fault,
    schema::{
        self, EVIDENCE_ENDS, Tables, counter, decode, encode, evidence_end_key, evidence_of_key,
        evidence_owned_key, evidence_readers, lease_key, lease_keys_of_job,
    },
};

/// So many results of one account in one job are kept as evidence: more would prove the same once more.
pub const MAX_EVIDENCE_OF_OPERATOR_IN_JOB: usize = 16;

/// So many of one job, whoever gave them.
pub const MAX_EVIDENCE_OF_JOB: usize = 128;

/// So many of one account, in whichever jobs.
pub const MAX_EVIDENCE_OF_OPERATOR: usize = 1024;

/// The most bytes of evidence from one requester's jobs: some thousand pieces, unless it writes long tasks. Accounts cost
/// nothing, and so the bounds above do not keep one that contradicts itself from filling the disk. At this bound the
/// requester's oldest pieces go.
pub const MAX_EVIDENCE_BYTES_OF_OWNER: u64 = 16 << 20;

/// The most bytes of all evidence. At this bound the oldest pieces of the requester go who has the most.
pub const MAX_EVIDENCE_BYTES_OF_ALL: u64 = 1 << 30;

/// Keeps evidence, unless it proves nothing or there is enough of its sort.
pub(crate) fn keep(tables: &mut Tables<'_>, owner: Principal, new: &NewEvidence) -> Result<(), Refusal> {
    let NewEvidence { operator, at, until, chain, finding, spec, accused, accepted } = new;
    let terms = &accused.terms;
    let key = lease_key(TaskId { job: terms.job, task: terms.task }, terms.lease);
    if tables.evidence.get(&key)?.is_some() || !has_room(tables, terms.job, *operator)? {
        return Ok(());
    }
    let (accused, accepted) = (signed(tables, *chain, accused)?, signed(tables, *chain, accepted)?);
    // Terms that were rebuilt otherwise than they were signed, as after a change of the coordinator's node key, are nothing
    // that anybody could show.
    let (Some(accused), Some(accepted)) = (accused, accepted) else { return Ok(()) };
    let evidence = Evidence { finding: *finding, spec: spec.clone(), accused, accepted };
    let record = EvidenceRecord { owner, operator: *operator, at: *at, until: *until, evidence };
    let row = encode(&record);
    if row.len() > MAX_EVIDENCE_BYTES {
        return Ok(());
    }
    let (bytes, signer) = (row.len() as u64, record.evidence.accused.binding.address);
    make_room(tables, owner, bytes)?;
    tables.evidence.insert(&key, row.as_slice())?;
    tables.evidence_of.insert(&evidence_of_key(*operator, &key), ())?;
    tables.evidence_ends.insert(&evidence_end_key(*until, &key), ())?;
    tables.evidence_readers.insert(&key, &evidence_readers(owner, signer))?;
    tables.evidence_owned.insert(&evidence_owned_key(owner, *at, &key), bytes)?;
    let (of_owner, of_all) = (bytes_of(tables, owner)? + bytes, bytes_of_all(tables)? + bytes);
    Ok(set_bytes(tables, owner, of_owner, of_all)?)
}

fn bytes_of(tables: &Tables<'_>, owner: Principal) -> Result<u64, Fault> {
    Ok(tables.evidence_bytes.get(&owner.to_bytes())?.map_or(0, |row| row.value()))
}

fn bytes_of_all(tables: &Tables<'_>) -> Result<u64, Fault> {
    schema::count(&tables.counters, counter::EVIDENCE_BYTES)
}

fn set_bytes(tables: &mut Tables<'_>, owner: Principal, of_owner: u64, of_all: u64) -> Result<(), Fault> {
    let key = owner.to_bytes();
    match of_owner {
        0 => drop(tables.evidence_bytes.remove(&key)?),
        bytes => drop(tables.evidence_bytes.insert(&key, bytes)?),
    }
    tables.counters.insert(counter::EVIDENCE_BYTES, of_all)?;
    Ok(())
}

/// Lets the oldest evidence go until so many bytes more of a requester's are within the bounds.
fn make_room(tables: &mut Tables<'_>, owner: Principal, bytes: u64) -> Result<(), Fault> {
    while bytes_of(tables, owner)? + bytes > MAX_EVIDENCE_BYTES_OF_OWNER && drop_oldest(tables, owner)? {}
    while bytes_of_all(tables)? + bytes > MAX_EVIDENCE_BYTES_OF_ALL {
        let mut most = (0, owner);
        for row in tables.evidence_bytes.iter()? {
            let (other, bytes) = row?;
            most = most.max((bytes.value(), schema::owner_of(other.value())?));
        }
        if !drop_oldest(tables, most.1)? {
            break;
        }
    }
    Ok(())
}

/// Deletes the oldest piece of evidence of a requester's. Whether there was one.
fn drop_oldest(tables: &mut Tables<'_>, owner: Principal) -> Result<bool, Fault> {
    let first = evidence_owned_key(owner, UnixMillis(0), &[0; 32]);
    let last = evidence_owned_key(owner, UnixMillis(u64::MAX), &[0xff; 32]);
    let oldest = match tables.evidence_owned.range::<&[u8; 73]>(&first..=&last)?.next() {
        Some(row) => *row?.0.value(),
        None => return Ok(false),
    };
    delete(tables, oldest.last_chunk().expect("a key of 73 bytes ends with 32"))?;
    Ok(true)
}

/// Deletes a piece of evidence.
fn delete(tables: &mut Tables<'_>, lease: &[u8; 32]) -> Result<(), Fault> {
    let record = tables.evidence.remove(lease)?;
    let record = record.map(|row| decode::<EvidenceRecord>(row.value())).transpose()?;
    let Some(EvidenceRecord { owner, operator, at, until, .. }) = record else { return Ok(()) };
    tables.evidence_of.remove(&evidence_of_key(operator, lease))?;
    tables.evidence_ends.remove(&evidence_end_key(until, lease))?;
    tables.evidence_readers.remove(lease)?;
    let bytes = tables.evidence_owned.remove(&evidence_owned_key(owner, at, lease))?;
    let bytes = bytes.map_or(0, |row| row.value());
    let (of_owner, of_all) = (bytes_of(tables, owner)?, bytes_of_all(tables)?);
    set_bytes(tables, owner, of_owner.saturating_sub(bytes), of_all.saturating_sub(bytes))
}

/// Whether one more piece of evidence of this account in this job may be kept.
fn has_room(tables: &Tables<'_>, job: JobId, operator: Address) -> Result<bool, Fault> {
    let (first, last) = lease_keys_of_job(job);
    if tables.evidence.range::<&[u8; 32]>(&first..=&last)?.count() >= MAX_EVIDENCE_OF_JOB {
        return Ok(false);
    }
    let count = |first: &[u8; 32], last: &[u8; 32]| -> Result<usize, Fault> {
        let (first, last) = (evidence_of_key(operator, first), evidence_of_key(operator, last));
        Ok(tables.evidence_of.range::<&[u8; 52]>(&first..=&last)?.count())
    };
    Ok(count(&first, &last)? < MAX_EVIDENCE_OF_OPERATOR_IN_JOB
        && count(&[0; 32], &[0xff; 32])? < MAX_EVIDENCE_OF_OPERATOR)
}

/// A result with its way to a signature; nothing where it was not signed like this.
fn signed(tables: &Tables<'_>, chain: Chain, said: &Said) -> Result<Option<SignedResult>, Refusal> {
    let Said { terms, claim, proof } = said;
    let (path, batch, signature, binding) = match proof {
        Proof::Here(proof) => {
            let FailureProof { path, batch, signature, binding, .. } = &**proof;
            (path.clone(), *batch, *signature, *binding)
        }
        Proof::Stored { batch, leaf } => {
            let no_leaf = Contradiction::NoLeaf { batch: *batch, leaf: *leaf };
            let record = tables.batches.get(batch.0)?;
            let record = record.map(|row| decode::<BatchRecord>(row.value())).transpose()?;
            let record = record.ok_or_else(|| no_leaf.clone())?;
            let BatchRecord { provider, binding, root, sequence, signature, leaves } = record;
            let path = merkle::path(&leaves, *leaf as usize).ok_or(no_leaf)?;
            let Ok(signature) = <[u8; 65]>::try_from(signature) else { return Ok(None) };
            let batch = BatchTerms {
                root,
                count: u32::try_from(leaves.len()).unwrap_or(u32::MAX),
                coordinator: terms.coordinator,
                provider,
                sequence,
            };
            (path, batch, Signature65(signature), binding)
        }
    };
    let leaf = SignedLeaf { chain, terms: *terms, claim: claim.clone(), path, batch, signature };
    Ok(leaf.check(binding.address).is_ok().then_some(SignedResult { leaf, binding }))
}

/// Whether there is evidence whose time is over.
pub(crate) fn is_any_over(read: &ReadTransaction, now: UnixMillis) -> Result<bool, Fault> {
    let ends = read.open_table(EVIDENCE_ENDS)?;
    let first = ends.first()?;
    Ok(first.is_some_and(|(key, _)| *key.value() <= last_end(now)))
}

/// Deletes at most `rows` pieces of evidence whose time is over. Says whether more is left.
pub(crate) fn forget(write: &WriteTransaction, now: UnixMillis, rows: usize) -> Result<bool, Fault> {
    let mut tables = Tables::open(write)?;
    let (first, last) = ([0; 40], last_end(now));
    let mut over: Vec<[u8; 40]> = Vec::new();
    for row in tables.evidence_ends.range::<&[u8; 40]>(&first..=&last)?.take(rows.saturating_add(1)) {
        over.push(*row?.0.value());
    }
    let is_more = over.len() > rows;
    over.truncate(rows);
    for end in over {
        let lease: [u8; 32] = end[8..].try_into().expect("32 of 40 bytes are left");
        delete(&mut tables, &lease)?;
        tables.evidence_ends.remove(&end)?;
    }
    Ok(is_more)
}

/// The last key of what is over at an instant.
fn last_end(now: UnixMillis) -> [u8; 40] {
    evidence_end_key(now, &[0xff; 32])
}
