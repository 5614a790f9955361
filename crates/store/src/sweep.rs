//! Deletes what removed jobs left, a slice at a time.

use redb::{ReadableTable, Table, WriteTransaction};
use tidemill_types::{JobId, TaskNumber};

use crate::{
    BatchId, DoneRecord, OpinionRecord,
    error::Fault,
    schema::{Bytes, Tables, UsesRow, decode, lease_keys_of_job, task_keys},
};

/// Deletes at most `rows` rows. Says whether more are left.
pub(crate) fn sweep(write: &WriteTransaction, rows: usize) -> Result<bool, Fault> {
    let mut tables = Tables::open(write)?;
    let mut left = rows;
    while let Some(job) = first(&tables.removing)? {
        sweep_results(&mut tables, job, &mut left)?;
        let keys = task_keys(job, TaskNumber(0));
        for table in [&mut tables.outputs, &mut tables.logs, &mut tables.failed] {
            delete(table, &keys, &mut left, |_| Ok(()))?;
        }
        delete(&mut tables.kept, &lease_keys_of_job(job), &mut left, |_| Ok(()))?;
        if left == 0 {
            return Ok(true);
        }
        tables.removing.remove(&job.0)?;
        left -= 1;
        if left == 0 {
            return Ok(first(&tables.removing)?.is_some());
        }
    }
    Ok(false)
}

/// Deletes results, and batches that no other result refers to.
fn sweep_results(tables: &mut Tables<'_>, job: JobId, left: &mut usize) -> Result<(), Fault> {
    let (uses, batches) = (&mut tables.uses, &mut tables.batches);
    let mut release = |batch| release(uses, batches, batch);
    delete(&mut tables.done, &task_keys(job, TaskNumber(0)), left, |row| {
        release(decode::<DoneRecord>(row)?.result.batch)
    })?;
    delete(&mut tables.opinions, &lease_keys_of_job(job), left, |row| {
        release(decode::<OpinionRecord>(row)?.result.batch)
    })
}

/// A result that referred to a batch is gone.
fn release(
    uses: &mut Table<'_, u64, UsesRow>,
    batches: &mut Table<'_, u64, Bytes>,
    BatchId(batch): BatchId,
) -> Result<(), Fault> {
    let found = uses.get(batch)?.map(|row| row.value());
    let (leaves, count, open) = found.ok_or_else(|| Fault::Damaged(format!("batch {batch} is missing")))?;
    if count > 1 || open {
        uses.insert(batch, (leaves, count - 1, open))?;
    } else {
        uses.remove(batch)?;
        batches.remove(batch)?;
    }
    Ok(())
}

fn delete<const N: usize>(
    table: &mut Table<'_, &'static [u8; N], Bytes>,
    (first, last): &([u8; N], [u8; N]),
    left: &mut usize,
    mut gone: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for row in table.extract_from_if::<&[u8; N], _>(first..=last, |_, _| true)?.take(*left) {
        gone(row?.1.value())?;
        *left -= 1;
    }
    Ok(())
}

fn first(removing: &impl ReadableTable<crate::schema::JobKey, ()>) -> Result<Option<JobId>, Fault> {
    Ok(removing.first()?.map(|(key, _)| JobId(*key.value())))
}
