//! Deletes what removed jobs left, a slice at a time.

use redb::{ReadableTable, Table, WriteTransaction};
use tidemill_types::{JobId, TaskNumber};

use crate::{
    DoneRecord,
    error::Fault,
    schema::{Bytes, Tables, TaskKey, decode, task_keys},
};

/// Deletes at most `rows` rows. Says whether more are left.
pub(crate) fn sweep(write: &WriteTransaction, rows: usize) -> Result<bool, Fault> {
    let mut tables = Tables::open(write)?;
    let mut left = rows;
    while let Some(job) = first(&tables.removing)? {
        sweep_done(&mut tables, job, &mut left)?;
        for table in [&mut tables.outputs, &mut tables.logs, &mut tables.failed] {
            delete(table, job, &mut left, |_| Ok(()))?;
        }
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
fn sweep_done(tables: &mut Tables<'_>, job: JobId, left: &mut usize) -> Result<(), Fault> {
    let (uses, batches) = (&mut tables.uses, &mut tables.batches);
    delete(&mut tables.done, job, left, |row| {
        let DoneRecord { batch, .. } = decode(row)?;
        let found = uses.get(batch.0)?.map(|row| row.value());
        let (leaves, count, open) =
            found.ok_or_else(|| Fault::Damaged(format!("batch {} is missing", batch.0)))?;
        if count > 1 || open {
            uses.insert(batch.0, (leaves, count - 1, open))?;
        } else {
            uses.remove(batch.0)?;
            batches.remove(batch.0)?;
        }
        Ok(())
    })
}

fn delete(
    table: &mut Table<'_, TaskKey, Bytes>,
    job: JobId,
    left: &mut usize,
    mut gone: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (first, last) = task_keys(job, TaskNumber(0));
    for row in table.extract_from_if::<&[u8; 24], _>(&first..=&last, |_, _| true)?.take(*left) {
        gone(row?.1.value())?;
        *left -= 1;
    }
    Ok(())
}

fn first(removing: &impl ReadableTable<crate::schema::JobKey, ()>) -> Result<Option<JobId>, Fault> {
    Ok(removing.first()?.map(|(key, _)| JobId(*key.value())))
}
