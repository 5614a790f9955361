//! One network over many epochs: a job an epoch, placed by the scheduler and judged by a rule.

mod measured;

use std::collections::{BTreeMap, BTreeSet};

use tidemill_sched::{Class, ClassId, Job, LeaseEnd, Micros, NewLease, Policy, Scheduler, Single, Work};
use tidemill_types::{
    Address, Amount, ByteSize, EngineId, EngineIndex, FloatClass, JobId, LeaseId, Needs, NodeId, ProgramKind,
    Stage, TaskId, TaskNumber,
};
use tidemill_verify::{Checks, Evidence, KnownAnswers, Model, Stake, Turns, Witness, is_chosen};

use super::{
    Measured, Plan,
    adversary::{Adversary, Answer, Asked, Gang, RIGHT},
    peers::{CREDITS, Peer, join_all, named, offer},
    rule::{Rule, Ruling, Standing, Voice},
};
use crate::dice::Dice;

/// What a task takes.
const WALL: Micros = Micros(1_000_000);
const FUEL: u64 = 1_000_000_000;

/// A task of the job that runs.
#[derive(Clone, Default)]
struct Task {
    voices: Vec<Voice>,
    /// Who gave each.
    peers: Vec<usize>,
    /// Results that are on their way.
    leases: u32,
    accepted: Option<Answer>,
    is_unchecked: bool,
    /// Somebody who gave a result was caught: it is not believed alone any more.
    recheck: bool,
    /// Its first result's turn among those of its operator that wait for checks, and that operator.
    turn: Option<(Address, u64)>,
}

/// A result that is on its way.
struct Running {
    lease: LeaseId,
    task: TaskNumber,
    peer: usize,
    /// Whether there was a task with a known answer to try its provider with.
    has_known: bool,
    /// Whether this is one.
    is_known: bool,
    /// How much longer it takes.
    waves: u32,
}

pub(super) struct World<'a> {
    plan: &'a Plan,
    adversary: Adversary,
    rule: Rule,
    model: Model,
    scheduler: Scheduler,
    peers: Vec<Peer>,
    by_node: BTreeMap<NodeId, usize>,
    /// What is known of each operator.
    standings: BTreeMap<Address, Standing>,
    /// The results of each that wait for checks.
    turns: BTreeMap<Address, Turns<()>>,
    gang: Gang,
    dice: Dice,
    now: Micros,
    epoch: u64,
    next_lease: u64,
    next_name: u64,
    tasks: Vec<Task>,
    checks: Checks,
    /// Tasks whose answer is known, with the operators that gave it.
    known: KnownAnswers<Vec<Address>>,
    /// Tasks that nobody was given yet.
    fresh: u64,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    leases: u64,
    accepted: u64,
    undecided: u64,
    /// From the first lie on.
    accepted_since: u64,
    wrong: u64,
    has_lied: bool,
    /// In the last quarter of the epochs.
    late_leases: u64,
    late_accepted: u64,
    delays: Vec<u64>,
    caught: u64,
    honest_caught: u64,
    /// In the job that the attack began with.
    target_accepted: u64,
    target_wrong: u64,
}

fn job_id(epoch: u64) -> JobId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&epoch.to_le_bytes());
    JobId(id)
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, adversary: Adversary, rule: Rule, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut scheduler = Scheduler::new(Policy::default());
        let peers = join_all(plan, &adversary, &mut dice, &mut scheduler);
        Self {
            plan,
            adversary,
            rule,
            model: plan.model,
            scheduler,
            by_node: peers.iter().enumerate().map(|(number, peer)| (peer.node, number)).collect(),
            // Those of one operator have names beyond the numbers of the nodes.
            next_name: 2 * peers.len() as u64,
            peers,
            standings: BTreeMap::new(),
            turns: BTreeMap::new(),
            gang: Gang::default(),
            dice,
            now: Micros(1),
            epoch: 0,
            next_lease: 1,
            tasks: Vec::new(),
            checks: Checks::default(),
            known: KnownAnswers::default(),
            fresh: 0,
            counts: Counts::default(),
        }
    }

    pub(super) fn run(mut self, mut progress: impl FnMut()) -> Measured {
        for epoch in 0..u64::from(self.plan.epochs) {
            self.epoch = epoch;
            self.one_job();
            progress();
        }
        self.measured()
    }

    fn attack_begins(&self) -> u64 {
        u64::from(self.plan.epochs / 2)
    }

    fn one_job(&mut self) {
        let count = u64::from(self.plan.providers) * u64::from(self.plan.tasks_each);
        let id = job_id(self.epoch);
        let class = Class {
            needs: Needs {
                kind: ProgramKind::Wasm,
                floats: FloatClass::Canonical,
                memory: ByteSize::mib(64),
            },
            shared: Vec::new(),
            own_bytes: 0,
            ceiling: None,
            only: None,
            avoid: BTreeSet::new(),
        };
        self.scheduler.add_job(id, Job { weight: 1, most_running: None, map: class, reduce: None });
        self.tasks = vec![Task::default(); count as usize];
        self.fresh = count;
        let mut running = Vec::new();
        loop {
            self.place(id, &mut running);
            if running.is_empty() {
                // What waits for a check that nobody can decide is checked itself.
                if self.checks.is_empty() && self.check_held() {
                    continue;
                }
                if self.checks.is_empty() || !self.place_singles(id, &mut running) {
                    break;
                }
                if running.is_empty() {
                    break;
                }
            }
            self.now = self.now.plus(WALL);
            let mut ended: Vec<Running> = Vec::new();
            for mut one in std::mem::take(&mut running) {
                one.waves -= 1;
                if one.waves == 0 { ended.push(one) } else { running.push(one) }
            }
            self.dice.shuffle(&mut ended);
            for ended in ended {
                let end = LeaseEnd::Done {
                    wall: WALL,
                    work: tidemill_types::Metered::Fuel(tidemill_types::Fuel(FUEL)),
                };
                self.scheduler.ended(ended.lease, end, self.now);
                self.result(&ended);
            }
        }
        self.scheduler.remove_job(id);
        self.close();
    }

    /// Gives out what the scheduler places: checks first, since they look like any other task.
    fn place(&mut self, id: JobId, running: &mut Vec<Running>) {
        let class = ClassId { job: id, stage: Stage::Map };
        self.scheduler.set_ready(class, self.fresh + self.checks.len() as u64);
        for placement in self.scheduler.place(self.now) {
            let peer = self.by_node[&placement.at.node];
            let operator = self.peers[peer].operator;
            let Work::Any(count) = placement.work else { continue };
            for _ in 0..count {
                let fits = |givers: &Vec<Address>| !givers.contains(&operator);
                let has_known = self.fresh > 0 && self.known.has(fits);
                if has_known && self.is_tried(peer) {
                    let Some((task, _)) = self.known.take(fits) else { continue };
                    let of = (task, peer, has_known, true);
                    self.lease(id, of, placement.expected, running);
                    continue;
                }
                let task = match self.checks.take_for(operator) {
                    Some(task) => task,
                    None if self.fresh > 0 => {
                        self.fresh -= 1;
                        TaskNumber(self.tasks.len() as u64 - 1 - self.fresh)
                    }
                    None => break,
                };
                self.lease(id, (task, peer, has_known, false), placement.expected, running);
            }
        }
    }

    /// Whether somebody is to be tried with a task whose answer is known.
    fn is_tried(&mut self, peer: usize) -> bool {
        let standing = self.standing(peer);
        let rate = self.rule.known_rate(&self.model, &standing, self.stake(peer).as_ref());
        is_chosen(self.dice.roll(), rate)
    }

    /// What is known of a provider's operator.
    fn standing(&self, peer: usize) -> Standing {
        self.standings.get(&self.peers[peer].operator).copied().unwrap_or_default()
    }

    /// What a provider's operator has at stake, against what all that it has in hand is worth.
    fn stake(&self, peer: usize) -> Option<Stake> {
        let at_risk = u64::from(self.peers[peer].leases) * u64::from(1 + self.plan.outside_gain);
        (self.plan.stake > 0).then_some(Stake {
            slashable: Amount::tide(u64::from(self.plan.stake)),
            at_risk: Amount::tide(at_risk),
            slash_odds: self.plan.slash_odds,
        })
    }

    /// The last checks of a job want somebody in particular. Whether there are any.
    fn place_singles(&mut self, id: JobId, running: &mut Vec<Running>) -> bool {
        let class = ClassId { job: id, stage: Stage::Map };
        self.scheduler.set_ready(class, 0);
        let waiting: Vec<(TaskNumber, Vec<Address>)> =
            self.checks.waiting().map(|(task, exclude)| (task, exclude.to_vec())).collect();
        let singles: Vec<TaskId> = waiting.iter().map(|(task, _)| TaskId { job: id, task: *task }).collect();
        for (task, exclude) in waiting {
            let task = TaskId { job: id, task };
            self.scheduler.add_single(Single {
                task,
                stage: Stage::Map,
                exclude,
                only: None,
                beside: true,
                inputs: Vec::new(),
                bytes: 0,
            });
        }
        let mut any = false;
        for placement in self.scheduler.place(self.now) {
            let Work::Single(task) = placement.work else { continue };
            let peer = self.by_node[&placement.at.node];
            any = true;
            self.checks.give(task.task, self.peers[peer].operator);
            self.lease(id, (task.task, peer, false, false), placement.expected, running);
        }
        // Those that found nobody are looked at anew.
        for task in singles {
            self.scheduler.remove_single(task);
        }
        any
    }

    fn lease(
        &mut self,
        job: JobId,
        (task, peer, has_known, is_known): (TaskNumber, usize, bool, bool),
        expected: Option<Micros>,
        running: &mut Vec<Running>,
    ) {
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        let Peer { node, operator, .. } = self.peers[peer];
        let of = TaskId { job, task };
        let lease = NewLease {
            id,
            task: of,
            stage: Stage::Map,
            at: EngineId { node, engine: EngineIndex(0) },
            operator,
            exclude: Vec::new(),
            may_copy: false,
            expected,
        };
        self.scheduler.leased(lease, self.now);
        let of_task = &mut self.tasks[task.0 as usize];
        of_task.leases += 1;
        let is_check = !of_task.voices.is_empty() && !is_known;
        let waves = if is_check { self.plan.check_waves } else { 1 };
        self.counts.leases += 1;
        if self.is_late() {
            self.counts.late_leases += 1;
        }
        running.push(Running { lease: id, task, peer, has_known, is_known, waves });
    }

    fn is_late(&self) -> bool {
        self.epoch >= u64::from(self.plan.epochs) * 3 / 4
    }

    /// A provider hands in its result.
    fn result(&mut self, running: &Running) {
        let Running { task: number, peer, has_known, is_known, .. } = *running;
        let answer = self.answer(number, peer);
        let witness = Witness::Operator(self.peers[peer].operator);
        let (stake, standing) = (self.stake(peer), self.standing(peer));
        let basis = (stake.as_ref(), has_known);
        let voice = self.rule.voice(&self.model, &standing, basis, witness, answer, &mut self.dice);
        let task = &mut self.tasks[number.0 as usize];
        task.leases -= 1;
        if is_known && task.accepted == Some(answer) {
            return self.judge_peer(peer, Evidence::Known);
        }
        if is_known && task.accepted.is_some() {
            return self.contradicts_known(number, voice, peer);
        }
        if task.accepted.is_some() && !task.recheck {
            // It was decided without this one, which is evidence all the same.
            let evidence =
                if task.accepted == Some(answer) { Evidence::Agreed } else { Evidence::Contradicted };
            return self.judge_peer(peer, evidence);
        }
        task.voices.push(voice);
        task.peers.push(peer);
        if !self.waits(number) {
            self.decide(number);
        }
    }

    /// Whether a task's first result waits for a check of an earlier one of its operator. Notes one that a check is drawn for.
    fn waits(&mut self, number: TaskNumber) -> bool {
        let task = &mut self.tasks[number.0 as usize];
        let ([voice], [peer]) = (task.voices.as_slice(), task.peers.as_slice()) else { return false };
        if task.recheck || !self.rule.holds_back() {
            return false;
        }
        let operator = self.peers[*peer].operator;
        let is_drawn = voice.chosen;
        let turn = match self.rule.rule(&self.model, &task.voices, false) {
            _ if is_drawn => Some(self.turns.entry(operator).or_default().draw(number)),
            Ruling::Accept { .. } => self.turns.get_mut(&operator).and_then(|turns| turns.hold(number, ())),
            _ => None,
        };
        task.turn = turn.map(|turn| (operator, turn));
        !is_drawn && turn.is_some()
    }

    /// A task's first result waits for nothing any more. Whose it is, if it did.
    fn end_turn(&mut self, number: TaskNumber) -> Option<Address> {
        let (operator, turn) = self.tasks[number.0 as usize].turn.take()?;
        self.turns.get_mut(&operator)?.end(turn);
        Some(operator)
    }

    /// Lets go of what waited for checks of an operator that are in.
    fn let_go(&mut self, operator: Address) {
        while let Some(number) = self.turns.get(&operator).and_then(Turns::first_free) {
            self.end_turn(number);
            // Of somebody who was caught meanwhile it is checked.
            let is_caught = self.standings.get(&operator).is_none_or(|known| known.record.run() < 1.0);
            self.tasks[number.0 as usize].recheck |= is_caught;
            self.decide(number);
        }
    }

    /// Has all checked that waits. Whether anything did.
    fn check_held(&mut self) -> bool {
        let held: Vec<TaskNumber> = self.turns.values().flat_map(Turns::held).collect();
        for number in &held {
            self.end_turn(*number);
            self.tasks[number.0 as usize].recheck = true;
            self.decide(*number);
        }
        !held.is_empty()
    }

    /// Somebody says something else about a task whose answer is known. It is one more opinion about it, and may be right.
    fn contradicts_known(&mut self, number: TaskNumber, voice: Voice, peer: usize) {
        let task = &mut self.tasks[number.0 as usize];
        task.voices.push(voice);
        task.peers.push(peer);
        match self.rule.rule(&self.model, &task.voices, true) {
            Ruling::Accept { answer, .. } if task.accepted == Some(answer) => {
                self.judge_peer(peer, Evidence::KnownWrong);
            }
            _ => {
                task.accepted = None;
                task.recheck = true;
                self.decide(number);
            }
        }
    }

    fn answer(&mut self, number: TaskNumber, peer: usize) -> Answer {
        let attack = self.epoch >= self.attack_begins();
        let (epoch, begins) = (self.epoch, self.attack_begins());
        let of = &mut self.peers[peer];
        let mut answer = RIGHT;
        if of.is_dishonest {
            let asked = Asked {
                number: peer as u32,
                task: number.0,
                attack,
                is_target: epoch == begins && of.lied_in != Some(epoch),
            };
            answer = self.gang.answer(&self.adversary, &asked, &mut self.dice);
        }
        if answer != RIGHT {
            of.lied_in = Some(epoch);
            of.lying_for.get_or_insert(0);
            self.counts.has_lied = true;
        }
        if let Some(results) = &mut of.lying_for {
            *results += 1;
        }
        answer
    }

    fn decide(&mut self, number: TaskNumber) {
        let task = &mut self.tasks[number.0 as usize];
        match self.rule.rule(&self.model, &task.voices, task.recheck) {
            Ruling::Accept { answer, is_unchecked } => {
                task.accepted = Some(answer);
                task.is_unchecked = is_unchecked;
                task.recheck = false;
                self.checks.forget(number);
                if is_unchecked {
                    return self.peers[task.peers[0]].believed.push(number);
                }
                self.note_verdict(number, answer);
                if let Some(operator) = self.end_turn(number) {
                    self.let_go(operator);
                }
            }
            Ruling::Ask(more) => {
                let wanted = more.saturating_sub(task.leases + self.checks.wanted(number));
                let exclude: Vec<Address> =
                    task.peers.iter().map(|peer| self.peers[*peer].operator).collect();
                self.checks.ask(number, wanted, &exclude);
            }
            Ruling::Undecided => {}
        }
    }

    /// What a verdict says about those who gave the results.
    fn note_verdict(&mut self, number: TaskNumber, answer: Answer) {
        let task = &self.tasks[number.0 as usize];
        if !self.rule.is_telling(&self.model, &task.voices) {
            return;
        }
        let said: Vec<(usize, Answer)> =
            task.peers.iter().zip(&task.voices).map(|(peer, voice)| (*peer, voice.opinion.answer)).collect();
        for (peer, said) in said {
            let evidence = if said == answer { Evidence::Agreed } else { Evidence::Contradicted };
            self.judge_peer(peer, evidence);
        }
        let task = &self.tasks[number.0 as usize];
        let all_agree = task.voices.iter().all(|voice| voice.opinion.answer == answer);
        if all_agree && task.voices.len() <= Model::MOST_KNOWN_BY {
            let givers = task.peers.iter().map(|peer| self.peers[*peer].operator).collect();
            self.known.add(number, givers);
        }
    }

    fn judge_peer(&mut self, peer: usize, evidence: Evidence) {
        let of = &mut self.peers[peer];
        let operator = of.operator;
        let standing = self.standings.entry(operator).or_default();
        self.rule.note(&self.model, standing, evidence, self.epoch);
        if !evidence.is_of_a_lie() {
            return;
        }
        if !of.is_dishonest {
            self.counts.honest_caught += 1;
        } else {
            self.counts.caught += 1;
            self.counts.delays.extend(of.lying_for.take());
        }
        let of_it = self.peers.iter_mut().filter(|other| other.operator == operator);
        let believed: Vec<TaskNumber> = of_it.flat_map(|other| std::mem::take(&mut other.believed)).collect();
        let of = &mut self.peers[peer];
        if matches!(self.adversary, Adversary::Sybils { .. }) && of.is_dishonest {
            // It comes back as somebody new.
            of.operator = named(self.next_name);
            self.next_name += 1;
            self.scheduler.join(of.node, of.operator, offer(1), CREDITS, self.now);
        }
        if !self.rule.looks_again() {
            return;
        }
        for number in believed {
            let task = &mut self.tasks[number.0 as usize];
            if task.is_unchecked && task.accepted.is_some() {
                task.accepted = None;
                task.is_unchecked = false;
                task.recheck = true;
                self.decide(number);
            }
        }
    }

    /// The job has ended: what was accepted is handed over.
    fn close(&mut self) {
        let is_target = self.epoch == self.attack_begins();
        let is_late = self.is_late();
        for task in &self.tasks {
            let Some(answer) = task.accepted else {
                self.counts.undecided += 1;
                continue;
            };
            self.counts.accepted += 1;
            if is_late {
                self.counts.late_accepted += 1;
            }
            if self.counts.has_lied {
                self.counts.accepted_since += 1;
            }
            self.counts.wrong += u64::from(answer != RIGHT);
            if is_target {
                self.counts.target_accepted += 1;
                self.counts.target_wrong += u64::from(answer != RIGHT);
            }
        }
        for peer in 0..self.peers.len() {
            for _ in std::mem::take(&mut self.peers[peer].believed) {
                self.judge_peer(peer, Evidence::Accepted);
            }
        }
        self.checks = Checks::default();
        self.known = KnownAnswers::default();
        self.turns.clear();
        self.gang.forget();
        self.befriend();
    }

    /// A requester who is one of those who lie has had a job of its own done, by them alone.
    fn befriend(&mut self) {
        let Adversary::Friends { share, .. } = self.adversary else { return };
        if !self.rule.counts_narrowed(&self.model, share) {
            return;
        }
        let friends: Vec<usize> =
            (0..self.peers.len()).filter(|peer| self.peers[*peer].is_dishonest).collect();
        for peer in friends {
            (0..self.plan.tasks_each).for_each(|_| self.judge_peer(peer, Evidence::Agreed));
        }
    }
}
