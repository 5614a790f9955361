//! Who may read which blob: a requester those of its own jobs, and a provider those of the jobs that it has leases of. Knowing
//! a blob's name is not enough.

use tidemill_store::{Store, StoreError};
use tidemill_types::{BlobId, JobId, NodeId, Principal};

use crate::{effects::job_of_output_pin, shared::Shared};

/// Whether a node may read a blob now.
pub fn may_read(shared: &Shared, node: NodeId, blob: BlobId) -> bool {
    if shared.peers.is_operator(node) {
        return true;
    }
    let outputs = shared.blobs.pins_of(blob);
    let made_for = outputs.iter().filter_map(job_of_output_pin);
    let jobs: Vec<JobId> = made_for.chain(shared.inputs.users_of(blob)).collect();
    match is_of_one(&shared.store, node, &jobs) {
        Ok(may) => may,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "whether a node may read a blob cannot be looked up");
            false
        }
    }
}

/// Whether one of these jobs is a node's own, or gave it a lease that has not ended.
pub fn is_of_one(store: &Store, node: NodeId, jobs: &[JobId]) -> Result<bool, StoreError> {
    for job in jobs {
        let is_its_own = store.job(*job)?.is_some_and(|record| record.owner == Principal::Node(node));
        if is_its_own || store.has_lease(*job, node)? {
            return Ok(true);
        }
    }
    Ok(false)
}
