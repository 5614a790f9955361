//! Receipts: the accepted result of a task, with its way to its provider's signature, from the rows of the store.

use tidemill_job::JobSpec;
use tidemill_net::wire::Refusal;
use tidemill_store::{BatchRecord, DoneRecord, ResultRecord};
use tidemill_types::{
    BatchTerms, Claim, ClaimedOutput, Outcome, Receipt, Signature65, SignedLeaf, SignedResult, TaskId, Terms,
    WorkTerms, merkle,
};

use crate::shared::Shared;

/// Longer answers are not in receipts, which name their hash.
const MOST_OUTPUT_BYTES: u64 = 4 << 20;

/// The receipt of a task of the map; nothing where no result of it was accepted, or where what was signed cannot be put
/// together again, as after a change of the coordinator's node key.
///
/// # Errors
/// [`Refusal::Busy`] where the store cannot be read.
pub fn of(shared: &Shared, id: TaskId) -> Result<Option<Receipt>, Refusal> {
    let busy = |error: tidemill_store::StoreError| Refusal::Busy { reason: error.to_string() };
    let Some(DoneRecord { result, verdict, .. }) = shared.store.task(id).map_err(busy)? else {
        return Ok(None);
    };
    let (Some(job), Some(encoded)) =
        (shared.store.job(id.job).map_err(busy)?, shared.store.job_spec(id.job).map_err(busy)?)
    else {
        return Ok(None);
    };
    let spec = JobSpec::decode(&encoded)
        .map_err(|error| Refusal::Busy { reason: format!("a job cannot be read back: {error}") })?;
    if id.task.0 >= spec.map_count() {
        return Ok(None);
    }
    let spec = spec.map_task(id.task.0).spec;
    let Some(batch) = shared.store.batch(result.batch).map_err(busy)? else { return Ok(None) };
    let escrow = job.pay.map_or([0; 32], |pay| pay.escrow.0);
    let terms = Terms {
        escrow,
        coordinator: shared.node.id(),
        provider: result.provider,
        job: id.job,
        task: id.task,
        lease: result.lease,
        work: WorkTerms::of(&spec),
    };
    let Some(signed) = signed(shared, terms, &result, batch) else { return Ok(None) };
    let output = match result.output_len.0 <= MOST_OUTPUT_BYTES {
        true => match shared.store.output(id).map_err(busy)? {
            Some(bytes) => Some(bytes),
            None => shared.blobs.blocking_lend(result.output).ok().and_then(|lent| lent.read().ok()),
        },
        false => None,
    };
    let (acceptance, price, at_ms) = (verdict, result.price, result.at.0);
    Ok(Some(Receipt { spec, result: signed, acceptance, price, at_ms, output }))
}

fn signed(shared: &Shared, terms: Terms, result: &ResultRecord, batch: BatchRecord) -> Option<SignedResult> {
    let BatchRecord { provider, binding, root, sequence, signature, leaves } = batch;
    let path = merkle::path(&leaves, result.leaf as usize)?;
    let count = u32::try_from(leaves.len()).ok()?;
    let claim = Claim {
        outcome: Outcome::Done,
        usage: result.usage,
        output: Some(ClaimedOutput { id: result.output, len: result.output_len.0 }),
        hardware_class: result.hardware_class.clone(),
    };
    let batch = BatchTerms { root, count, coordinator: terms.coordinator, provider, sequence };
    let signature = Signature65(signature.try_into().ok()?);
    let leaf = SignedLeaf { chain: shared.welcome.chain, terms, claim, path, batch, signature };
    leaf.check(binding.address).is_ok().then_some(SignedResult { leaf, binding })
}
