//! What a provider tells its owner.

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    time::{Duration, Instant},
};

use tidemill_api::{self as api, ProvideEvent, ProvideNotice, TaskEnd};
use tidemill_exec::{Confinement, Lack};
use tidemill_provider::{Event, Notice, Provider};
use tidemill_types::{Address, ByteSize, Failure, Fuel, Millis, NodeId, Outcome, one_line};

use super::money;
use crate::{announce::Announcer, money::no_coins};

/// States in which tasks run.
const WORKING: &str = "working";
const DRAINING: &str = "draining";

/// The rate of progress is that between so many changes of its line: tasks of seconds would show as none and many.
const RATE_OVER: usize = 15;

/// Turns events into lines and a line of progress.
pub struct Telling {
    announcer: Announcer,
    /// How many coordinators it works for. With several, people are told whose each event is.
    coordinators: usize,
    /// Those that it has joined and not lost since.
    joined: BTreeSet<NodeId>,
    /// Which one the event that is being told is about.
    about: Option<NodeId>,
    state: String,
    running: u32,
    waiting: u32,
    done: u64,
    failed: u64,
    /// The fuel burnt when the line of progress was changed lately, and when that was, the oldest first.
    burnt: VecDeque<(u64, Instant)>,
}

impl Telling {
    pub fn new(announcer: Announcer, coordinators: usize) -> Self {
        Self {
            announcer,
            coordinators,
            joined: BTreeSet::new(),
            about: None,
            state: "joining".to_owned(),
            running: 0,
            waiting: 0,
            done: 0,
            failed: 0,
            burnt: VecDeque::new(),
        }
    }

    /// What programs of strangers are held to here, beside the sandbox itself, and what this machine lacks.
    pub fn confined(&self, confinement: &Confinement) {
        let lacks = confinement.lacks();
        let lack =
            |lack: &Lack| api::Lack { measure: lack.measure.name().to_owned(), reason: lack.reason.clone() };
        let event = ProvideEvent::Confinement {
            holds: confinement.holds().iter().map(|measure| measure.name().to_owned()).collect(),
            lacks: lacks.iter().map(lack).collect(),
        };
        let holds: Vec<_> = confinement.holds().iter().map(ToString::to_string).collect();
        let mut text = format!("programs run in workers that the system confines: {}", holds.join(", "));
        for lack in lacks {
            let reason = one_line(&lack.reason, 200);
            text += &format!("\nthis machine lacks for them: {} ({reason})", lack.measure);
        }
        self.announcer.tell(&event, &text);
    }

    /// What is missing before it can begin; said once.
    pub fn waits_for_coins(&mut self, account: tidemill_ledger::Address) {
        let state = "waiting for coins";
        if self.state == state {
            return;
        }
        self.state = state.to_owned();
        let event = ProvideEvent::WaitsForCoins { account: account.to_string() };
        self.announcer.tell(&event, &format!("waiting: {}", no_coins(account)));
        self.announcer.progress(state.to_owned());
    }

    /// What is lent, and by whom.
    pub fn offer(&mut self, provider: &Provider, address: Address, directory: &Path) {
        self.state = "joining".to_owned();
        let offer = provider.offer();
        let first = offer.engines.first();
        let capacity = first.map(|engine| engine.capacity).unwrap_or_default();
        let slots = first.map_or(0, |engine| engine.slots);
        let memory = first.map_or(ByteSize(0), |engine| engine.memory);
        let event = ProvideEvent::Offer {
            node: provider.id().to_string(),
            address: address.to_string(),
            name: offer.name.clone(),
            cpus: slots,
            memory_bytes: memory.0,
            disk_bytes: offer.disk.0,
            single_fuel_per_s: capacity.single_fuel_per_s,
            all_fuel_per_s: capacity.all_fuel_per_s,
            directory: directory.to_string_lossy().into_owned(),
        };
        let text = format!(
            "provider {} ({}) lends {} {}, {} of memory, {} of disk\n\
             it burns {} fuel a second on one core, {} on all; results are for {address}\nits state is in {}",
            offer.name,
            provider.id().short(),
            slots,
            if slots == 1 { "core" } else { "cores" },
            memory,
            offer.disk,
            Fuel(capacity.single_fuel_per_s),
            Fuel(capacity.all_fuel_per_s),
            directory.display(),
        );
        self.announcer.tell(&event, &text);
    }

    /// One event, and which coordinator it is about.
    pub fn notice(&mut self, Notice { coordinator, event }: &Notice) {
        self.about = *coordinator;
        self.event(event);
        self.about = None;
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Joined { software } => {
                self.joined.extend(self.about);
                self.state = "joined".to_owned();
                let coordinator = self.about.map(|about| about.short()).unwrap_or_default();
                self.announcer.tell(
                    &self.named(ProvideEvent::Joined { software: software.clone() }),
                    &format!(
                        "joined coordinator {coordinator} ({software}); Ctrl-C finishes what runs and ends"
                    ),
                );
            }
            Event::Lost { reason, retry_in } => {
                self.left();
                self.tell(
                    ProvideEvent::Lost { reason: reason.clone(), retry_in_ms: millis(*retry_in).0 },
                    &format!("no connection: {reason}; dialing again in {}", millis(*retry_in)),
                );
            }
            Event::Refused { reason } => {
                self.left();
                let text = match self.coordinators {
                    // People are told by the error that ends the command.
                    0 | 1 => String::new(),
                    _ => format!("does not take this provider in, and is dialed no more: {reason}"),
                };
                self.tell(ProvideEvent::Refused { reason: reason.clone() }, &text);
            }
            Event::CopyRefused { from } => {
                let at = from.map_or_else(String::new, |from| format!(" from {from}"));
                self.tell(
                    ProvideEvent::CopyRefused { from: from.map(|from| from.to_string()) },
                    &format!(
                        "a second provider with this one's key was turned away{at}: copied directory? each provider \
                         needs a directory of its own (`--directory`)"
                    ),
                );
            }
            Event::Idle { reason, since } => {
                self.running = 0;
                self.waiting = 0;
                self.state = format!("idle: {reason}");
                self.tell(
                    ProvideEvent::Idle { reason: reason.clone(), since_ms: millis(*since).0 },
                    &format!("no work for {}: {reason}", millis(*since)),
                );
            }
            Event::Working { running, waiting, done } => {
                (self.running, self.waiting, self.done) = (*running, *waiting, *done);
                if self.state != DRAINING {
                    self.state = WORKING.to_owned();
                }
                self.note(ProvideEvent::Working {
                    running: *running,
                    waiting: *waiting,
                    done: *done,
                    failed: self.failed,
                });
            }
            Event::TaskDone { job, task, outcome, wall, .. } => {
                self.done += 1;
                let failure = match outcome {
                    Outcome::Done => None,
                    Outcome::Failed(failure) => Some(failure),
                };
                self.failed += u64::from(failure.is_some());
                self.note(ProvideEvent::Task {
                    job_id: job.to_string(),
                    task: task.0,
                    outcome: if failure.is_some() { TaskEnd::Failed } else { TaskEnd::Done },
                    failure: failure.map(Failure::to_string),
                    wall_ms: millis(*wall).0,
                });
            }
            Event::Returned { leases, reason } => self.tell(
                ProvideEvent::Returned { leases: *leases as u64, reason: reason.clone() },
                &format!("gave back {} unrun: {reason}", count(*leases, "task")),
            ),
            Event::NoRoom { reason, resume_in } => self.tell(
                ProvideEvent::NoRoom { reason: reason.clone(), resume_in_ms: millis(*resume_in).0 },
                &format!("no room: {reason}; taking work again in {}", millis(*resume_in)),
            ),
            Event::Draining { running, unsettled } => {
                self.state = DRAINING.to_owned();
                let text = match (running, unsettled) {
                    (0, 0) => String::new(),
                    _ => format!(
                        "before the end: {} to finish, {} to be confirmed",
                        count(*running as usize, "task"),
                        count(*unsettled, "result")
                    ),
                };
                let event = ProvideEvent::Draining { running: *running, unsettled: *unsettled as u64 };
                self.tell(event, &text);
            }
            Event::Drained => {
                self.tell(ProvideEvent::Drained, "ended; all work is reported");
            }
            event => {
                if let Some((event, words)) = money::told(event) {
                    self.tell(event, &words);
                }
            }
        }
    }

    /// There is no session with the coordinator that the event is about.
    fn left(&mut self) {
        self.joined.retain(|joined| Some(*joined) != self.about);
        if self.joined.is_empty() {
            self.state = "not connected".to_owned();
        }
    }

    /// An event with the name of the coordinator that it is about.
    fn named(&self, event: ProvideEvent) -> ProvideNotice {
        ProvideNotice { event, coordinator: self.about.map(|about| about.to_string()) }
    }

    /// Tells an event. Where there are several coordinators, people are told which one it is about.
    fn tell(&self, event: ProvideEvent, text: &str) {
        let event = self.named(event);
        match self.about {
            Some(about) if self.coordinators > 1 && !text.is_empty() => {
                self.announcer.tell(&event, &format!("coordinator {}: {text}", about.short()));
            }
            _ => self.announcer.tell(&event, text),
        }
    }

    /// Tells something that only scripts want to know.
    fn note(&self, event: ProvideEvent) {
        self.tell(event, "");
    }

    /// Events came faster than they could be told.
    pub fn missed(&self, events: u64) {
        self.announcer.note(&ProvideEvent::Missed { events });
    }

    /// The person asked for the end.
    pub fn asked_to_drain(&self) {
        let text = "taking no more work, finishing what runs; Ctrl-C once more ends it at once";
        self.announcer.tell(&ProvideEvent::AskedToDrain, text);
    }

    /// It ended with work left.
    pub fn stopped(&self) {
        self.announcer.note(&ProvideEvent::Stopped);
    }

    /// Changes the line of progress. `fuel` is what was burnt since the start.
    pub fn progress(&mut self, fuel: u64) {
        let now = Instant::now();
        self.burnt.push_back((fuel, now));
        if self.burnt.len() > RATE_OVER {
            self.burnt.pop_front();
        }
        let (before, at) = self.burnt.front().copied().unwrap_or((fuel, now));
        let per_s =
            u128::from(fuel.saturating_sub(before)) * 1000 / now.duration_since(at).as_millis().max(1);
        let rate = Fuel(u64::try_from(per_s).unwrap_or(u64::MAX));
        let Self { state, running, waiting, done, .. } = self;
        self.announcer.progress(match state.as_str() {
            WORKING | DRAINING => {
                format!("{state}: {running} running, {waiting} waiting, {done} done, {rate} fuel/s")
            }
            _ => format!("{state}; {done} done"),
        });
    }

    /// Takes the line of progress away.
    pub fn finish(&self) {
        self.announcer.finish();
    }
}

fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
