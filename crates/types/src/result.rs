//! What a provider says came of an attempt, and the leaf by which it can be held to it.
//!
//! A leaf commits to all that an attempt was asked to be and to all that is claimed of it, in a form that an
//! EVM can rebuild: the EIP-712 hash of one flat struct. Which chain it is for stands in the signature over
//! the batch (see [`crate::BatchTerms`]), not in the leaf.

use std::sync::LazyLock;

use alloy_primitives::{B256, Keccak256, keccak256};
use alloy_sol_types::SolStruct;
use serde::{Deserialize, Serialize};

use crate::{
    Address, BlobId, Failure, FloatClass, JobId, LeaseId, NodeId, Outcome, ProgramKind, SpecHash, TaskNumber,
    TaskSpec, Usage, Weight, task::derive,
};

/// The ledger that results are signed for. It is zero where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// The chain's number, as in EIP-155.
    pub chain_id: u64,
    /// The contract before which a result can be disputed.
    pub disputes: Address,
}

/// What of a [`TaskSpec`] goes into the leaf.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct WorkTerms {
    /// The hash of the whole specification.
    pub spec: SpecHash,
    /// The program.
    pub program: BlobId,
    /// The hash of all that the program is given: arguments, environment, inputs and seed.
    pub input: [u8; 32],
    /// The hash of what it may use.
    pub limits: [u8; 32],
    /// The sort of program.
    pub kind: ProgramKind,
    /// How floats are compiled.
    pub floats: FloatClass,
    /// The version of execution; see [`ProgramKind::version`].
    pub exec_version: u32,
}

/// All that an attempt was asked to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// The escrow on the ledger that pays for it; zero where there is none.
    pub escrow: [u8; 32],
    /// Who leased it out.
    pub coordinator: NodeId,
    /// Who ran it.
    pub provider: NodeId,
    /// The job.
    pub job: JobId,
    /// The task of that job.
    pub task: TaskNumber,
    /// The attempt.
    pub lease: LeaseId,
    /// What was to be run.
    pub work: WorkTerms,
}

/// What a provider says came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it left behind: there exactly when the outcome is [`Outcome::Done`].
    pub output: Option<ClaimedOutput>,
    /// The hardware class of the machine that ran it, if that belongs to one.
    pub hardware_class: Option<String>,
}

/// The archive that an attempt left behind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ClaimedOutput {
    /// The hash of its bytes.
    pub id: BlobId,
    /// How many there are.
    pub len: u64,
}

/// A claim that contradicts itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimError {
    /// It names no output.
    #[error("the claim says that the task is done, and names no output")]
    NoOutput,
    /// It names one.
    #[error("the claim says that the task failed, and names the output {0}")]
    OutputOfFailure(BlobId),
}

/// What was asked and what is claimed of it, in the form that an EVM sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf(eip712::TaskResult);

impl WorkTerms {
    /// The terms of this specification under this build's version of execution.
    pub fn of(spec: &TaskSpec) -> Self {
        Self::under(spec, spec.kind.version())
    }

    /// The terms of this specification under another version of execution.
    pub fn under(spec: &TaskSpec, exec_version: u32) -> Self {
        let input = (&spec.args, &spec.env, &spec.inputs, spec.seed);
        Self {
            spec: spec.hash_under(exec_version),
            program: spec.program,
            input: derive("tidemill 2026 task input", &input),
            limits: derive("tidemill 2026 task limits", &spec.limits),
            kind: spec.kind,
            floats: spec.floats,
            exec_version,
        }
    }
}

impl Claim {
    /// Checks that an output is named exactly when the task is done.
    ///
    /// # Errors
    /// [`ClaimError`] where that is not so.
    pub fn check(&self) -> Result<(), ClaimError> {
        match (&self.outcome, self.output) {
            (Outcome::Done, None) => Err(ClaimError::NoOutput),
            (Outcome::Failed(_), Some(output)) => Err(ClaimError::OutputOfFailure(output.id)),
            (Outcome::Done, Some(_)) | (Outcome::Failed(_), None) => Ok(()),
        }
    }
}

impl Leaf {
    /// The leaf of an attempt at these terms that ended as claimed.
    ///
    /// # Errors
    /// [`ClaimError`] for a claim that contradicts itself: there is no leaf of one.
    pub fn of(terms: &Terms, claim: &Claim) -> Result<Self, ClaimError> {
        claim.check()?;
        let (outcome, failure, weight) = match &claim.outcome {
            Outcome::Done => (0, B256::ZERO, 0),
            Outcome::Failed(failure) => (1, failure_hash(failure), weight_code(failure.weight())),
        };
        let Terms { escrow, coordinator, provider, job, task, lease, work } = *terms;
        let Usage { fuel, tokens, memory, read, output, log, host_calls } = claim.usage;
        let class = claim.hardware_class.as_ref();
        Ok(Self(eip712::TaskResult {
            escrow: escrow.into(),
            coordinator: coordinator.0.into(),
            provider: provider.0.into(),
            job: job.0.into(),
            task: task.0,
            lease: lease.0,
            spec: work.spec.as_bytes().into(),
            program: work.program.as_bytes().into(),
            input: work.input.into(),
            limits: work.limits.into(),
            kind: kind_code(work.kind),
            floats: floats_code(work.floats),
            execVersion: work.exec_version,
            outcome,
            failure,
            weight,
            output: claim.output.map_or(B256::ZERO, |output| output.id.as_bytes().into()),
            outputLength: claim.output.map_or(0, |output| output.len),
            fuel: fuel.0,
            inputTokens: tokens.input,
            cachedTokens: tokens.cached,
            outputTokens: tokens.output,
            memoryBytes: memory.0,
            readBytes: read.0,
            outputBytes: output.0,
            logBytes: log.0,
            hostCalls: host_calls,
            hardwareClass: class.map_or(B256::ZERO, |class| keccak256(class.as_bytes())),
        }))
    }

    /// The leaf as it stands in a batch's tree: the struct's EIP-712 hash, hashed once more, so that what is
    /// hashed for a leaf is 32 bytes and never the 64 of an inner node.
    pub fn hash(&self) -> [u8; 32] {
        keccak256(self.struct_hash()).0
    }

    /// `hashStruct` of EIP-712, with the hash of the type kept: making it anew each time would be a quarter
    /// of all work.
    fn struct_hash(&self) -> B256 {
        static TYPE_HASH: LazyLock<B256> =
            LazyLock::new(|| keccak256(eip712::TaskResult::eip712_encode_type().as_bytes()));
        let mut hasher = Keccak256::new();
        hasher.update(TYPE_HASH.as_slice());
        hasher.update(self.0.eip712_encode_data());
        hasher.finalize()
    }
}

// A contract knows these numbers: none is ever given another meaning.

fn kind_code(kind: ProgramKind) -> u8 {
    match kind {
        ProgramKind::Wasm => 0,
        // 1 is for compute shaders.
        ProgramKind::Infer => 2,
    }
}

fn floats_code(floats: FloatClass) -> u8 {
    match floats {
        FloatClass::Native => 0,
        FloatClass::Canonical => 1,
    }
}

/// 0 is for a task that is done: nothing weighs against it.
fn weight_code(weight: Weight) -> u8 {
    match weight {
        Weight::Evidence => 1,
        Weight::Circumstance => 2,
    }
}

fn failure_hash(failure: &Failure) -> B256 {
    derive("tidemill 2026 task failure", failure).into()
}

mod eip712 {
    alloy_sol_types::sol! {
        #[derive(PartialEq, Eq, Debug)]
        struct TaskResult {
            bytes32 escrow;
            bytes32 coordinator;
            bytes32 provider;
            bytes16 job;
            uint64 task;
            uint64 lease;
            bytes32 spec;
            bytes32 program;
            bytes32 input;
            bytes32 limits;
            uint8 kind;
            uint8 floats;
            uint32 execVersion;
            uint8 outcome;
            bytes32 failure;
            uint8 weight;
            bytes32 output;
            uint64 outputLength;
            uint64 fuel;
            uint64 inputTokens;
            uint64 cachedTokens;
            uint64 outputTokens;
            uint64 memoryBytes;
            uint64 readBytes;
            uint64 outputBytes;
            uint64 logBytes;
            uint64 hostCalls;
            bytes32 hardwareClass;
        }
    }
}

#[cfg(test)]
mod tests;
