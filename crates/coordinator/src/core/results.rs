//! Results: whether they are what was leased, and what follows from them.

use std::collections::HashSet;

use tidemill_job::BlobRef;
use tidemill_net::wire::{
    Decision, LogBody, MAX_INLINE_OUTPUT_BYTES, OutputBody, ResultBatch, TaskResult, ToProvider, Unpaid,
};
use tidemill_sched::{LeaseEnd, Micros};
use tidemill_store::{BatchId, BatchRecord, Change, FailureProof, LogRecord, ResultRecord, UnixMillis};
use tidemill_types::{
    Archive, BatchTerms, BlobId, ByteSize, ClaimedOutput, Failure, KeyBinding, Leaf, LeaseId, Limits,
    MAX_INDEX_BYTES, Metered, NodeId, Outcome, Signature65, SpecHash, Terms, Usage, Weight, merkle,
    verify_batch,
};

use super::{Core, verdicts::Came};
use crate::event::{Effect, FetchProblem, Now, SessionId};

/// A result that waits for its output.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) session: SessionId,
    pub(super) sequence: u64,
    result: Accepted,
}

impl Pending {
    /// What its provider says that it used.
    pub(super) fn usage(&self) -> &Usage {
        &self.result.usage
    }
}

/// A batch of which not every result has been decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsettled {
    /// How many have not.
    pub(super) results: usize,
    /// Under which number it is stored, if any of its leases was alive.
    batch: Option<BatchId>,
}

/// A signed batch whose results are being looked at.
struct Arrived {
    /// Its number in the store, if any of its leases is alive.
    id: BatchId,
    terms: BatchTerms,
    signature: Signature65,
    binding: KeyBinding,
    leaves: Vec<[u8; 32]>,
}

impl Arrived {
    /// What proves that a failure of this specification, at this place of the batch, was signed.
    fn proof(&self, leaf: u32, spec: SpecHash, usage: Usage) -> Option<Box<FailureProof>> {
        let path = merkle::path(&self.leaves, leaf as usize)?;
        let Self { terms: batch, signature, binding, .. } = *self;
        Some(Box::new(FailureProof { spec, usage, path, batch, signature, binding }))
    }
}

/// What is kept of a result that says the task is done.
#[derive(Clone, Debug)]
struct Accepted {
    batch: BatchId,
    leaf: u32,
    output: ClaimedOutput,
    inline: Option<Vec<u8>>,
    usage: Usage,
    hardware_class: Option<String>,
    wall_us: u64,
    log: LogBody,
}

impl Core {
    /// Takes in a batch: all of it, or nothing and the provider is cut off.
    pub(super) fn results(&mut self, session: SessionId, node: NodeId, batch: ResultBatch, now: Now) {
        let arrived = match self.check_batch(node, &batch) {
            Ok(arrived) => arrived,
            Err(reason) => return self.cut_off(session, &reason, now),
        };
        let provider = self.providers.get_mut(&node).expect("a batch is checked against its provider");
        let number = arrived.id;
        let is_of_use = batch.results.iter().any(|result| self.leases.contains_key(&result.lease));
        // It counts as one more result until all others have been looked at.
        let unsettled = Unsettled { results: 1, batch: is_of_use.then_some(number) };
        provider.unsettled.insert(batch.sequence, unsettled);
        if is_of_use {
            self.next_batch = BatchId(number.0 + 1);
            self.change(Change::Batch {
                id: number,
                record: BatchRecord {
                    provider: node,
                    binding: arrived.binding,
                    sequence: batch.sequence,
                    root: arrived.terms.root,
                    signature: batch.signature.0.to_vec(),
                    leaves: arrived.leaves.clone(),
                },
            });
        }
        for (place, result) in batch.results.into_iter().enumerate() {
            let leaf = u32::try_from(place).expect("a batch has few results");
            self.result(session, node, (&arrived, leaf), result, now);
        }
        self.settled(node, batch.sequence);
    }

    /// Whether a batch is signed by the provider and every result is of a lease that it was given.
    fn check_batch(&self, node: NodeId, batch: &ResultBatch) -> Result<Arrived, String> {
        let provider = self.providers.get(&node).ok_or("it is no provider")?;
        let binding = provider.binding.ok_or("its result key is not known")?;
        let leaves: Vec<[u8; 32]> = batch.results.iter().map(|result| result.leaf).collect();
        let count = u32::try_from(leaves.len()).map_err(|_| "its batch is too long")?;
        let terms = BatchTerms {
            root: merkle::root(&leaves),
            count,
            coordinator: self.config.node,
            provider: node,
            sequence: batch.sequence,
        };
        verify_batch(&self.config.chain, &terms, &batch.signature, binding.address)
            .map_err(|error| format!("its results are not signed by its result key: {error}"))?;
        if provider.unsettled.contains_key(&batch.sequence) {
            return Err(format!("its batch {} comes a second time", batch.sequence));
        }
        let mut leases = HashSet::new();
        for result in &batch.results {
            if !leases.insert(result.lease) {
                return Err(format!("its result for lease {} comes twice in one batch", result.lease));
            }
            self.check_result(node, result)
                .map_err(|problem| format!("its result for lease {} {problem}", result.lease))?;
        }
        Ok(Arrived { id: self.next_batch, terms, signature: batch.signature, binding, leaves })
    }

    fn check_result(&self, node: NodeId, result: &TaskResult) -> Result<(), String> {
        if result.seal != self.seal(result.lease, node) {
            return Err("is for a lease that it was never given".to_owned());
        }
        // A lease that has ended: the result is late, and of no use, but no offence.
        let Some(held) = self.leases.get(&result.lease) else { return Ok(()) };
        if held.fetching.is_some() {
            return Err("comes again while its output is fetched".to_owned());
        }
        let terms = Terms {
            escrow: held.bill.map_or([0; 32], |bill| bill.escrow.0),
            coordinator: self.config.node,
            provider: node,
            job: held.task.job,
            task: held.task.task,
            lease: result.lease,
            work: held.work,
        };
        let leaf = Leaf::of(&terms, &result.claim).map_err(|error| format!("contradicts itself: {error}"))?;
        if leaf.hash() != result.leaf {
            return Err("is not of the task that was leased".to_owned());
        }
        let offered = self.providers.get(&node).and_then(|provider| provider.engine(held.engine));
        let offered = offered.map(|engine| &engine.hardware_class);
        if offered != Some(&result.claim.hardware_class) {
            return Err("claims another class of hardware than its provider offers".to_owned());
        }
        let limits = self.jobs.get(&held.task.job).and_then(|job| {
            let stage = job.node(held.task.task).stage();
            job.spec.limits(stage).copied()
        });
        if let (Some(limits), Outcome::Done) = (&limits, &result.claim.outcome) {
            check_usage(&result.claim.usage, limits)?;
        }
        let most_output = limits.map_or(u64::MAX, |limits| {
            limits.output.0.saturating_add((MAX_INDEX_BYTES + Archive::HEADER_BYTES) as u64)
        });
        match (&result.claim.output, &result.output) {
            (None, None) => Ok(()),
            (Some(claimed), Some(OutputBody::Inline(bytes))) => {
                if claimed.len != bytes.len() as u64 || claimed.id != BlobId::of(bytes) {
                    return Err("brings another output than it claims".to_owned());
                }
                let archive = Archive::parse(bytes).map_err(|error| format!("brings no output: {error}"))?;
                if limits.is_some_and(|limits| archive.data_len() > limits.output.0) {
                    return Err("brings a longer output than the task may have".to_owned());
                }
                Ok(())
            }
            (Some(claimed), Some(OutputBody::Blob)) => {
                if claimed.len <= MAX_INLINE_OUTPUT_BYTES as u64 {
                    return Err("should have brought its small output".to_owned());
                }
                if claimed.len > most_output {
                    return Err("claims a longer output than the task may have".to_owned());
                }
                Ok(())
            }
            _ => Err("has an output where it claims none, or none where it claims one".to_owned()),
        }
    }

    fn result(
        &mut self,
        session: SessionId,
        node: NodeId,
        (arrived, leaf): (&Arrived, u32),
        result: TaskResult,
        now: Now,
    ) {
        let (batch, sequence) = (arrived.id, arrived.terms.sequence);
        let TaskResult { lease, claim, wall_us, output, log, .. } = result;
        let Some(held) = self.leases.get_mut(&lease) else {
            let provider = self.providers.get_mut(&node);
            if !provider.is_some_and(|provider| provider.reconciled.remove(&lease)) {
                self.decide(node, lease, Decision::Unpaid(Unpaid::Late));
            }
            return;
        };
        let task = held.task;
        match (claim.outcome, claim.output, output) {
            (Outcome::Failed(Failure::Cancelled), ..) => {
                // Not by the coordinator, who would not know of the lease any more.
                self.strike(node, task.job, now);
                self.take_back(&[lease], LeaseEnd::Returned, now);
            }
            (Outcome::Failed(failure), ..) => {
                let proof = match failure.weight() {
                    Weight::Evidence => arrived.proof(leaf, held.work.spec, claim.usage),
                    Weight::Circumstance => None,
                };
                self.attempt_failed(lease, failure, &claim.usage, claim.hardware_class, proof, now);
            }
            (Outcome::Done, Some(output), Some(body)) => {
                let inline = match body {
                    OutputBody::Inline(bytes) => Some(bytes),
                    OutputBody::Blob => None,
                };
                let fetch = inline.is_none();
                let accepted = Accepted {
                    batch,
                    leaf,
                    output,
                    inline,
                    usage: claim.usage,
                    hardware_class: claim.hardware_class,
                    wall_us,
                    log,
                };
                if !fetch {
                    return self.accept(lease, accepted, now);
                }
                held.fetching = Some(Box::new(Pending { session, sequence, result: accepted }));
                if let Some(unsettled) =
                    self.providers.get_mut(&node).and_then(|provider| provider.unsettled.get_mut(&sequence))
                {
                    unsettled.results += 1;
                }
                let output = BlobRef { id: output.id, len: output.len };
                let is_part = self.jobs.get(&task.job).is_some_and(|job| {
                    job.spec.tree().is_some_and(|tree| tree.parent(job.node(task.task)).is_some())
                });
                self.effect(Effect::FetchOutput { session, lease, job: task.job, output, is_part });
            }
            // The claim has been checked.
            (Outcome::Done, ..) => {}
        }
    }

    pub(super) fn output_fetched(
        &mut self,
        session: SessionId,
        lease: LeaseId,
        result: Result<(), FetchProblem>,
        now: Now,
    ) {
        let Some(held) = self.leases.get_mut(&lease) else { return };
        // Of an earlier session: the result has come again since, or will.
        let Some(pending) = held.fetching.take_if(|pending| pending.session == session) else { return };
        let (node, job) = (held.node, held.task.job);
        match result {
            Ok(()) => self.accept(lease, pending.result, now),
            Err(FetchProblem::Provider(reason)) => {
                tracing::info!(node = %node.short(), %lease, reason, "an output could not be fetched");
                self.strike(node, job, now);
                self.take_back(&[lease], LeaseEnd::Failed, now);
            }
            Err(FetchProblem::NotAnOutput(reason)) => {
                self.take_back(&[lease], LeaseEnd::Failed, now);
                self.cut_off(
                    session,
                    &format!("its result for lease {lease} brings no output: {reason}"),
                    now,
                );
            }
            Err(FetchProblem::Here(reason)) => {
                tracing::error!(%lease, reason, "an output could not be kept here");
                let reason = format!("the coordinator could not keep the output: {reason}");
                self.attempt_failed(lease, Failure::Host { reason }, &Usage::default(), None, None, now);
            }
        }
        self.settled(node, pending.sequence);
    }

    /// A result is here, with its output.
    fn accept(&mut self, lease: LeaseId, accepted: Accepted, now: Now) {
        let Some(held) = self.close_but_for_money(lease) else { return };
        let price = self.price(&held, &accepted.usage, accepted.output.len);
        self.sched.ended(
            lease,
            LeaseEnd::Done {
                wall: Micros(accepted.wall_us),
                work: Metered::of(held.work.kind, &accepted.usage),
            },
            now.mono,
        );
        let result = ResultRecord {
            lease,
            provider: held.node,
            operator: held.operator,
            spec: held.work.spec,
            output: accepted.output.id,
            output_len: ByteSize(accepted.output.len),
            price,
            usage: accepted.usage,
            hardware_class: accepted.hardware_class,
            wall_us: accepted.wall_us,
            at: UnixMillis(now.unix_ms),
            batch: accepted.batch,
            leaf: accepted.leaf,
        };
        let (bytes, omitted) = match accepted.log {
            LogBody::Whole(bytes) => (bytes, 0),
            LogBody::End { bytes, omitted } => (bytes, omitted),
        };
        let log = (!bytes.is_empty()).then_some(LogRecord { bytes, omitted });
        self.hand_in(held, result, Came { output: accepted.inline, log }, now);
    }

    /// One result of a batch needs no more of the provider. After the last one the provider may forget them all.
    pub(super) fn settled(&mut self, node: NodeId, sequence: u64) {
        let Some(provider) = self.providers.get_mut(&node) else { return };
        let Some(unsettled) = provider.unsettled.get_mut(&sequence) else { return };
        unsettled.results -= 1;
        if unsettled.results > 0 {
            return;
        }
        let (session, batch) = (provider.session, unsettled.batch);
        provider.unsettled.remove(&sequence);
        if let Some(id) = batch {
            self.change(Change::BatchClosed { id });
        }
        if let Some(session) = session {
            self.effect(Effect::ToProvider(session, ToProvider::Settled { sequence }));
        }
    }

    /// A provider's session is over: what was on its way with it does not arrive. Results that were not settled
    /// come again in other batches.
    pub(super) fn drop_unsettled(&mut self, node: NodeId) {
        let Some(provider) = self.providers.get_mut(&node) else { return };
        let batches: Vec<BatchId> = std::mem::take(&mut provider.unsettled)
            .into_values()
            .filter_map(|unsettled| unsettled.batch)
            .collect();
        for lease in &provider.leases {
            if let Some(held) = self.leases.get_mut(lease) {
                held.fetching = None;
            }
        }
        for id in batches {
            self.change(Change::BatchClosed { id });
        }
    }
}

/// Whether a task that is done kept within its limits: the sandbox would have ended it otherwise.
fn check_usage(usage: &Usage, limits: &Limits) -> Result<(), String> {
    let over = [
        ("fuel", usage.fuel > limits.fuel),
        ("tokens of prompts", usage.tokens.input > limits.input_tokens),
        ("cached tokens", usage.tokens.cached > usage.tokens.input),
        ("tokens of answers", usage.tokens.output > limits.output_tokens),
        ("memory", usage.memory > limits.memory),
        ("output", usage.output > limits.output),
        ("log", usage.log > limits.log),
    ];
    match over.iter().find(|(_, over)| *over) {
        Some((what, _)) => Err(format!("claims more {what} than the task may have")),
        None => Ok(()),
    }
}
