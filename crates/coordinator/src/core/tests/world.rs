//! A shell around a core: it commits what the core changes, and hands on what the core wants done.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
    path::PathBuf,
    sync::Arc,
};

use tempfile::TempDir;
use tidemill_job::{BlobRef, JobFile, JobSpec, Wanted, expand, seal};
use tidemill_ledger::EscrowView;
use tidemill_net::{
    blobs::{BlobError, Lent},
    wire::{JobPay, Lease, Money, ToProvider},
};
use tidemill_sched::{Micros, Policy};
use tidemill_store::{Change, JobRecord, Options, Store, UnixMillis};
use tidemill_types::{
    Acceptance, Address, Amount, BlobId, Chain, Comparison, Content, EscrowId, JobId, LeaseId, Millis,
    NodeId, Principal, RateCard, Segment, Signature65, TaskId, TaskNumber,
};

use tidemill_verify::{Model, SlashOdds};

use super::{
    peer::{FUEL, NOISY, Peer, output_of, outputs_of},
    sanity,
    simulation::ledger,
};
use crate::{
    assemble::{self, AssembleError, Made},
    compare::{Comparing, Places},
    core::{Core, CoreConfig, Funding, Keep, MoneyConfig, Step, Trust},
    effects,
    event::{Assembled, Caller, Effect, Event, Look, Now, Question, SessionId, Unmade},
    parts::Parts,
    recovery,
};

/// A provider that was not heard of for so long loses its leases, in milliseconds.
pub const LEASE_MS: u64 = 15_000;

/// How long one opinion waits for a second one, in milliseconds.
pub const SECOND_OPINION_MS: u64 = 2_000;

/// How long a task waits for somebody who could say more, in milliseconds.
pub const UNDECIDED_MS: u64 = 5_000;

/// How long evidence is kept, in milliseconds.
pub const KEEP_EVIDENCE_MS: u64 = 1_000_000;

pub const COORDINATOR: NodeId = NodeId([200; 32]);
pub const REQUESTER: NodeId = NodeId([100; 32]);
/// The same as the owner of its jobs.
pub const OWNER: Principal = Principal::Node(REQUESTER);

/// A core, its store, and what is known of it from outside.
pub struct World {
    directory: TempDir,
    pub store: Store,
    pub core: Core,
    pub now: Now,
    /// The leases that have not ended, by the changes that are durable.
    live: BTreeMap<LeaseId, TaskId>,
    /// Every lease that was ever made durable.
    given: BTreeSet<LeaseId>,
    /// How many ends of jobs and the like are durable, as the core told.
    past: u64,
    sessions: u64,
    config: CoreConfig,
}

/// Where small files are quick to write, durably too.
fn directory() -> TempDir {
    let memory = TempDir::new_in("/dev/shm");
    memory.or_else(|_| TempDir::new()).expect("a temporary directory can be made")
}

pub fn config(pays: bool) -> CoreConfig {
    CoreConfig {
        money: pays.then_some(MoneyConfig {
            terms: Money { contract: ledger::CONTRACT, account: ledger::ACCOUNT, fee_ppm: 10_000 },
            release_patience: Millis(10_000),
            slash_odds: SlashOdds::USUAL,
        }),
        node: COORDINATOR,
        chain: Chain::default(),
        seal_key: [7; 32],
        lease: Millis(LEASE_MS),
        heartbeat: Millis(3_000),
        second_opinion: Millis(SECOND_OPINION_MS),
        undecided: Millis(UNDECIDED_MS),
        keep_evidence: Millis(KEEP_EVIDENCE_MS),
        keep: Keep::default(),
        trust: Trust { everybody: true, ..Trust::default() },
        model: Model::default(),
        policy: Policy::default(),
    }
}

/// The job of a job file, without the line that names it and the program's path.
pub fn job_spec(head: &str, program: &str) -> Arc<JobSpec> {
    let directory = directory();
    fs::write(directory.path().join("a.wasm"), "program").expect("a file can be written");
    let text = format!("name = \"a\"\n{head}\n[program]\npath = \"a.wasm\"\n{program}");
    let file = JobFile::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let plan = expand(&file, directory.path()).expect("the job can be expanded");
    let mut hash = |content: &Content, _: Wanted| {
        Ok::<_, Infallible>(BlobRef { id: BlobId::of(b"program"), len: content.len() })
    };
    Arc::new(seal(&plan, &file, &mut hash).unwrap_or_else(|error| panic!("{error}")))
}

/// How a coordinator is set up that trusts nobody but these operators.
pub fn among_strangers(pays: bool, trusted: &[Address]) -> CoreConfig {
    let trust = Trust { everybody: false, operators: trusted.iter().copied().collect() };
    CoreConfig { trust, ..config(pays) }
}

/// A job of so many map tasks, all different.
pub fn map_job(tasks: u64) -> Arc<JobSpec> {
    job_spec(&format!("retries = 3\ntasks.range = {{ from = 0, to = {tasks} }}"), "args = [\"{index}\"]")
}

/// What the requester sends with its calls.
pub fn caller(call: u64) -> Caller {
    let (session, signer) = (SessionId(0), Address::default());
    Caller { session, principal: OWNER, node: REQUESTER, signer, call, is_operator: false }
}

pub const fn job_id(number: u8) -> JobId {
    JobId([number; 16])
}

impl World {
    pub fn new() -> Self {
        Self::of(false)
    }

    /// One whose coordinator pays, if that is wanted.
    pub fn of(pays: bool) -> Self {
        Self::with(config(pays), &[])
    }

    /// One whose coordinator is set up like this, and has these changes behind it.
    pub fn with(config: CoreConfig, before: &[Change]) -> Self {
        let directory = directory();
        fs::create_dir(directory.path().join("blobs")).expect("a directory can be made");
        let store =
            Store::open(&directory.path().join("state"), Options::default()).expect("the store opens");
        let now = Now { mono: Micros(0), unix_ms: 1_000_000 };
        store.commit(before).expect("the changes make sense");
        let core = take_up(&store, now, &config);
        let (live, given) = (BTreeMap::new(), BTreeSet::new());
        Self { directory, store, core, now, live, given, past: 0, sessions: 0, config }
    }

    pub fn new_session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }

    /// Tells the core of an event, and checks that all is in order after it.
    pub fn tell(&mut self, event: Event) {
        self.core.handle(event, self.now);
        sanity::check(&self.core);
    }

    /// Lets time pass, and has the core look at the clock.
    pub fn wait(&mut self, ms: u64) {
        self.now = Now { mono: self.now.mono.plus(Micros::millis(ms)), unix_ms: self.now.unix_ms + ms };
        self.core.tick(self.now);
        sanity::check(&self.core);
    }

    /// What the core did since it was asked last, placing included.
    pub fn take_step(&mut self) -> Step {
        self.core.place(self.now);
        sanity::check(&self.core);
        self.core.take_step(self.now)
    }

    /// Makes it durable, and gives what is to be done after that.
    pub fn commit(&mut self, step: Step) -> Vec<Effect> {
        let Step { changes, effects } = step;
        if !changes.is_empty() {
            self.store
                .commit(&changes)
                .unwrap_or_else(|error| panic!("{}: {changes:#?}", tidemill_types::causes(&error)));
        }
        changes.iter().for_each(|change| self.note(change));
        for effect in &effects {
            if let Effect::Past(count) = effect {
                self.past = *count;
            }
        }
        effects
    }

    /// All at once: places, commits, and gives what is to be done.
    pub fn settle(&mut self) -> Vec<Effect> {
        let step = self.take_step();
        self.commit(step)
    }

    /// The core and all that is not durable are gone; another one goes on.
    pub fn crash(&mut self) {
        (self.now.mono, self.past) = (Micros(0), 0);
        self.core = take_up(&self.store, self.now, &self.config);
        sanity::check(&self.core);
        self.check_store();
    }

    pub fn check_store(&self) {
        self.store.sanity_check().unwrap_or_else(|wrong| panic!("{wrong:#?}"));
        let leases = self.store.recover().expect("the store can be read").leases;
        let leases: BTreeMap<_, _> = leases.iter().map(|lease| (lease.id, lease.task)).collect();
        assert_eq!(leases, self.live);
    }

    /// Whether a lease has not ended, by what is durable.
    pub fn is_live(&self, lease: LeaseId) -> bool {
        self.live.contains_key(&lease)
    }

    /// Whether a lease is durable, or was.
    pub fn was_given(&self, lease: LeaseId) -> bool {
        self.given.contains(&lease)
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Leased(lease) => {
                assert!(self.given.insert(lease.id), "lease {} is used twice", lease.id);
                self.live.insert(lease.id, lease.task);
            }
            Change::LeaseEnded { lease, .. } => {
                self.live.remove(lease);
            }
            Change::AttemptFailed { record, .. } => {
                self.live.remove(&record.lease);
            }
            Change::Opinion { record, .. } => {
                self.live.remove(&record.result.lease);
            }
            Change::Finished { task, .. } => self.live.retain(|_, other| other != task),
            Change::JobEnded { job, .. } => self.live.retain(|_, task| task.job != *job),
            _ => {}
        }
    }

    /// What a session sees in the store before it brings a job; nothing of one that it answers for itself, since it has
    /// ended or is being swept out.
    pub fn look(&self, job: JobId, escrow: Option<EscrowId>) -> Option<Look> {
        let found = self.store.look(job, OWNER, escrow).expect("the store can be read");
        let is_over = found.is_removing || found.job.is_some_and(|record| record.ended.is_some());
        let (holdings, is_escrow_closed) = (found.holdings, found.is_escrow_closed);
        (!is_over).then_some(Look { past: self.past, holdings, is_escrow_closed })
    }

    pub fn submit(&mut self, job: JobId, spec: &Arc<JobSpec>) {
        let look = self.look(job, None).unwrap_or_default();
        self.submit_after(look, job, spec);
    }

    /// Submits a job for which the store was looked at before.
    pub fn submit_after(&mut self, look: Look, job: JobId, spec: &Arc<JobSpec>) {
        let (caller, encoded) = (caller(0), spec.encode());
        let (spec, funding) = (spec.clone(), None);
        self.tell(Event::Submit { caller, job, spec, encoded, follow: true, funding, look });
    }

    /// Asks to have a job removed.
    pub fn remove(&mut self, job: JobId) {
        self.ask(Question::Remove { job, past: self.past });
    }

    /// Has the jobs removed whose time is over, as the shell does.
    pub fn expire(&mut self) -> Vec<JobId> {
        let until = UnixMillis(self.now.unix_ms.saturating_sub(self.config.keep.time.0));
        let jobs = self.store.ended_until(until, 64).expect("the store can be read");
        self.tell(Event::Expired { jobs: jobs.clone(), past: self.past });
        jobs
    }

    /// Submits a job with an escrow that holds more than it can cost.
    pub fn fund_and_submit(&mut self, job: JobId, spec: &Arc<JobSpec>) {
        self.submit_paid(job, spec, false);
    }

    /// The same; `close` says whether the escrow is to be closed with the job.
    pub fn submit_paid(&mut self, job: JobId, spec: &Arc<JobSpec>, close: bool) {
        self.submit_at(job, spec, RateCard::default(), close);
    }

    /// The same, at these rates at most.
    pub fn submit_at(&mut self, job: JobId, spec: &Arc<JobSpec>, ceiling: RateCard, close: bool) {
        let (escrow, view) = self.escrow();
        let pay = JobPay { escrow, mandate: Signature65([0; 65]), ceiling, max_price: None, close };
        let (caller, encoded) = (caller(0), spec.encode());
        let (spec, funding) = (spec.clone(), Some(Funding { pay, view }));
        let look = self.look(job, Some(escrow)).unwrap_or_default();
        self.tell(Event::Submit { caller, job, spec, encoded, follow: true, funding, look });
    }

    /// The escrow that pays for jobs here, as the ledger shows it.
    fn escrow(&self) -> (EscrowId, EscrowView) {
        let mut ledger = ledger::Ledger::default();
        let escrow = EscrowId([9; 32]);
        ledger.open(escrow, Amount::tide(1_000_000), 1_000_000);
        (escrow, ledger.view(escrow, self.now.unix_ms / 1000))
    }

    /// The ledger is looked at, as after a start: until then nothing is leased that has to be paid for.
    pub fn see_escrow(&mut self) {
        let (escrow, view) = self.escrow();
        self.tell(Event::EscrowSeen { escrow, view: Some(view) });
    }

    pub fn ask(&mut self, question: Question) {
        self.tell(Event::Ask { caller: caller(1), question });
    }

    pub fn record(&self, job: JobId) -> JobRecord {
        self.store.job(job).expect("the store can be read").expect("the job is there")
    }

    /// Where a blob's file is, or would be.
    pub fn blob_file(&self, blob: BlobId) -> PathBuf {
        self.directory.path().join("blobs").join(blob.to_string())
    }

    pub fn keep_blob(&self, bytes: &[u8]) -> BlobRef {
        let blob = BlobRef { id: BlobId::of(bytes), len: bytes.len() as u64 };
        fs::write(self.blob_file(blob.id), bytes).expect("a file can be written");
        blob
    }

    /// As a folder of blobs lends it.
    pub fn lend(&self, id: BlobId) -> Result<Lent, BlobError> {
        let path = self.blob_file(id);
        let metadata = fs::metadata(&path).map_err(|_| BlobError::NotHere(id))?;
        Ok(Lent::file(&path, metadata.len()))
    }

    /// Makes a reduce task over what is in the store, where a part may not be done any more.
    pub fn assemble(&self, spec: &Arc<JobSpec>, task: TaskId) -> Result<Assembled, AssembleError> {
        let made = assemble::make(&self.store, spec, task, &Parts::default(), |blob| self.lend(blob));
        match made? {
            Made::Ready(assembled) => Ok(assembled),
            Made::Pack(content, packed) => {
                let bytes = content.segments.iter().flat_map(|segment| match segment {
                    Segment::Bytes(bytes) => bytes.clone(),
                    Segment::File { .. } => unreachable!("only small outputs are packed"),
                });
                let pack = self.keep_blob(&bytes.collect::<Vec<u8>>());
                assemble::with_pack(packed, pack)
            }
        }
    }

    /// Compares a result with others of its task that is not done.
    pub fn compare(
        &self,
        spec: &Arc<JobSpec>,
        task: TaskId,
        output: BlobRef,
        with: &[BlobRef],
    ) -> Option<BlobId> {
        let lend = |blob| self.lend(blob);
        let places = Places { store: &self.store, executor: None, lend: &lend };
        let comparing = Comparing { spec: spec.clone(), task, output };
        let is_same =
            |other: &&BlobRef| comparing.is_same(**other, &places).unwrap_or_else(|error| panic!("{error}"));
        with.iter().find(is_same).map(|same| same.id)
    }

    /// Honest peers do all there is to do until no job runs.
    pub fn finish(&mut self, peers: &mut [&mut Peer]) {
        for _ in 0..2_000 {
            let effects = self.settle();
            for effect in effects {
                self.obey(effect, peers);
            }
            if self.core.jobs.is_empty() {
                let effects = self.settle();
                assert!(!effects.iter().any(|effect| matches!(effect, Effect::CutOff { .. })));
                return self.check_store();
            }
            self.wait(200);
            for peer in peers.iter_mut() {
                peer.do_all(self);
            }
        }
        panic!("a job does not end");
    }

    /// Does what the core wants done.
    pub fn obey(&mut self, effect: Effect, peers: &mut [&mut Peer]) {
        match effect {
            Effect::ToProvider(session, message) => {
                if let Some(peer) = peers.iter_mut().find(|peer| peer.session == Some(session)) {
                    peer.hear(message);
                }
            }
            Effect::FetchOutput { session, lease, output, .. } => {
                let peer =
                    peers.iter().find(|peer| peer.session == Some(session)).expect("the session is a peer's");
                let bytes = peer.output(output.id).expect("a peer keeps its outputs");
                self.keep_blob(&bytes);
                self.tell(Event::OutputFetched { session, lease, result: Ok(()) });
            }
            Effect::Assemble { spec, task, number } => {
                let result = self.assemble(&spec, task).map_err(unmade);
                self.tell(Event::Assembled { task, number, result });
            }
            Effect::Compare { spec, task, lease, output, with, .. } => {
                let same = self.compare(&spec, task, output, &with);
                self.tell(Event::Compared { task, lease, same });
            }
            Effect::FindUnchecked { job, operator, from, undone } => {
                let found = effects::unchecked(&self.store, job, operator, from, undone);
                self.tell(Event::UncheckedFound(found.expect("the store can be read")));
            }
            Effect::CountKept(owner) => {
                let bytes = self.store.holdings(owner).expect("the store can be read").bytes;
                self.tell(Event::KeptCounted { owner, bytes });
            }
            _ => {}
        }
    }

    /// Every task is done once, by what its specification says.
    pub fn check_outputs(&self, job: JobId, spec: &Arc<JobSpec>) {
        self.check_outputs_but(job, spec, |_| false);
    }

    /// The same, but that results which were accepted in some ways may be wrong. What was made from a wrong one is made from
    /// that one still.
    pub fn check_outputs_but(
        &self,
        job: JobId,
        spec: &Arc<JobSpec>,
        may_be_wrong: impl Fn(&Acceptance) -> bool,
    ) {
        for task in (0..spec.task_count()).map(TaskNumber) {
            let id = TaskId { job, task };
            let done = self.store.task(id).expect("the store can be read").expect("the task is done");
            let bound = match spec.node(task).expect("the job has the task") {
                tidemill_job::Node::Map(index) => Arc::new(spec.map_task(index)),
                tidemill_job::Node::Reduce { .. } => {
                    self.assemble(spec, id).expect("its parts are done").bound
                }
            };
            assert_eq!(done.result.spec, bound.spec.hash());
            let hash = bound.spec.hash();
            let right = match bound.spec.args.iter().any(|arg| arg == NOISY) {
                true => outputs_of(hash).to_vec(),
                false => vec![output_of(hash)],
            };
            let is_right = right.iter().any(|output| done.result.output == BlobId::of(output));
            // Where results only count as the same, what they say of their work is no part of the answer.
            let is_right =
                is_right && (done.result.usage.fuel == FUEL || *spec.comparison() != Comparison::Exact);
            let verdict = &done.verdict;
            assert!(is_right || may_be_wrong(verdict), "a wrong result was accepted: {verdict:?}");
        }
    }
}

fn take_up(store: &Store, now: Now, config: &CoreConfig) -> Core {
    let taken_up = recovery::take_up(store, config.clone(), now, |_, _| {}, |_| true);
    taken_up.unwrap_or_else(|error| panic!("{error}"))
}

/// As the shell tells the core.
pub fn unmade(error: AssembleError) -> Unmade {
    match error.lost() {
        Some(_) => Unmade::PartLost,
        None => Unmade::Failed(tidemill_types::causes(&error)),
    }
}

/// The leases that are sent to a session.
pub fn leases_to(effects: &[Effect], session: Option<SessionId>) -> Vec<Lease> {
    let messages = effects.iter().filter_map(|effect| match effect {
        Effect::ToProvider(to, ToProvider::Leases(leases)) if Some(*to) == session => Some(leases.clone()),
        _ => None,
    });
    messages.flatten().collect()
}

/// Why a session is cut off, if it is.
pub fn cut_off(effects: &[Effect], session: SessionId) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::CutOff { session: of, reason, .. } if *of == session => Some(reason.as_str()),
        _ => None,
    })
}
