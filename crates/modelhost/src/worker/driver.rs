//! The loop of the worker: hears the parent, lets tasks begin as memory goes, and makes the steps of all models in turn.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    time::{Duration, Instant},
};

use tidemill_exec::HostWriter;
use tidemill_infer::{
    Engine,
    api::{Excess, Filled},
};
use tidemill_types::{BlobId, ByteSize, Failure, Tokens};

use super::{
    Heard,
    model::{Handed, Loaded, Read, What},
    room::{self, Share},
    task::{Task, tokens},
};
use crate::protocol::{ALIVE_S, FromHost, ToHost};

const ALIVE: Duration = Duration::from_secs(ALIVE_S);

/// Whoever waits for memory longer than this is served before others.
const PATIENCE: Duration = Duration::from_secs(5);

/// All that the worker has.
pub(super) struct Driver {
    writer: HostWriter,
    engine: Engine,
    /// For models and texts together, in bytes.
    memory: u64,
    models: HashMap<BlobId, Place>,
    /// In the order of their arrival.
    tasks: Vec<Task>,
    /// When the parent heard last that all goes well.
    said: Cell<Instant>,
    /// Counts uses of models.
    clock: u64,
}

/// A model that was needed.
struct Place {
    state: State,
    /// When it was used last, by the driver's clock.
    used: u64,
}

enum State {
    /// The parent was asked for it, for this task.
    Asked(u64),
    /// Its file is there.
    Read(Box<Read>),
    Loaded(Box<Loaded>),
}

impl Driver {
    pub(super) fn new(writer: HostWriter, engine: Engine) -> Self {
        Self {
            writer,
            engine,
            memory: 0,
            models: HashMap::new(),
            tasks: Vec::new(),
            said: Cell::new(Instant::now()),
            clock: 0,
        }
    }

    /// Serves until the parent is gone.
    pub(super) fn run(mut self, messages: &Receiver<Heard>) -> io::Result<()> {
        loop {
            let is_busy = self.tasks.iter().any(|task| task.begun.is_some());
            let heard = if is_busy {
                messages.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else {
                messages.recv_timeout(ALIVE)
            };
            match heard {
                Ok(Ok((message, file))) => {
                    self.take(message, file)?;
                    // All that waits to be heard comes first.
                    if is_busy {
                        continue;
                    }
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.alive();
            self.admit()?;
            self.share();
            self.step()?;
        }
    }

    /// Says that all goes well, if it is time.
    fn alive(&self) {
        if self.said.get().elapsed() >= ALIVE {
            self.said.set(Instant::now());
            // A parent that is gone is found out by what is heard of it.
            let _ = self.writer.send(&FromHost::Alive);
        }
    }

    fn take(&mut self, message: ToHost, file: Option<File>) -> io::Result<()> {
        match message {
            ToHost::Begin { memory } => self.memory = memory,
            ToHost::Run(request) => self.tasks.push(Task::new(*request)),
            ToHost::Model { program, offset, len } => {
                let file = file.ok_or(io::ErrorKind::InvalidData)?;
                // One that comes for a second task finds the first one's here, perhaps at work.
                let is_here =
                    self.models.get(&program).is_some_and(|place| !matches!(place.state, State::Asked(_)));
                if is_here {
                    return Ok(());
                }
                match Read::new(Handed { file, offset, len }) {
                    Ok(read) => self.set(program, State::Read(Box::new(read))),
                    Err(failure) => self.fail_all(program, &failure)?,
                }
            }
            // Another task may get it.
            ToHost::NoModel { program } => {
                if self.models.get(&program).is_some_and(|place| matches!(place.state, State::Asked(_))) {
                    self.models.remove(&program);
                }
            }
            ToHost::Follow { task, number } => {
                if let Some(task) = self.tasks.iter_mut().find(|one| one.number == task) {
                    task.follow(number);
                }
            }
            ToHost::Cancel { task } => {
                if let Some(at) = self.tasks.iter().position(|one| one.number == task) {
                    self.remove(at);
                    // The parent learns by this that it does not go on.
                    let end =
                        FromHost::Failed { task, failure: Failure::Cancelled, tokens: Tokens::default() };
                    self.writer.send(&end)?;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, program: BlobId, state: State) {
        self.clock += 1;
        self.models.insert(program, Place { state, used: self.clock });
    }

    /// Lets tasks begin, the oldest first, as far as their models are there and memory goes.
    fn admit(&mut self) -> io::Result<()> {
        let mut at = 0;
        while at < self.tasks.len() {
            if self.tasks[at].begun.is_some() {
                at += 1;
                continue;
            }
            match self.begin(at) {
                Ok(true) => at += 1,
                Ok(false) => {
                    let waits = &self.tasks[at];
                    let is_asked = self
                        .models
                        .get(&waits.program)
                        .is_some_and(|place| matches!(place.state, State::Asked(_)));
                    // Whoever has waited long enough for memory is not overtaken any more.
                    if !is_asked && waits.waits_since.elapsed() > PATIENCE {
                        return Ok(());
                    }
                    at += 1;
                }
                Err(Unfit::Task(failure)) => self.end(at, failure, Tokens::default())?,
                Err(Unfit::Model(failure)) => {
                    let program = self.tasks[at].program;
                    self.fail_all(program, &failure)?;
                    at = 0;
                }
            }
        }
        Ok(())
    }

    /// Begins a task, if its model is there or can be, and there is memory.
    fn begin(&mut self, at: usize) -> Result<bool, Unfit> {
        let task = &self.tasks[at];
        let (program, number) = (task.program, task.number);
        if task.limits.memory.0 > self.memory {
            let has = ByteSize(self.memory);
            let reason = format!("a task may take {}, and models have {has} here", task.limits.memory);
            return Err(Unfit::Task(Failure::Host { reason }));
        }
        let (is_loaded, weights) = match self.models.get(&program).map(|place| &place.state) {
            None => {
                // What the parent does not hear, it asks for by its silence.
                let _ = self.writer.send(&FromHost::NeedsModel { task: number, program });
                self.set(program, State::Asked(number));
                return Ok(false);
            }
            Some(State::Asked(_)) => return Ok(false),
            Some(State::Read(read)) => (false, read.bytes()),
            Some(State::Loaded(loaded)) => (true, loaded.bytes),
        };
        let room = task.room(weights).map_err(Unfit::Task)?;
        if !self.make_room(program, if is_loaded { 0 } else { weights }, room) {
            return Ok(false);
        }
        self.load(program)?;
        let Some(Place { state: State::Loaded(loaded), .. }) = self.models.get(&program) else {
            return Ok(false);
        };
        let (weights, page_bytes) = (loaded.bytes, loaded.page_bytes());
        self.tasks[at].begin(weights, page_bytes).map_err(Unfit::Task)?;
        Ok(true)
    }

    /// Removes models that nobody uses, those first that were used longest ago, until there is memory for so many bytes of
    /// weights and so many of texts. False where that does not suffice.
    fn make_room(&mut self, program: BlobId, weights: u64, room: u64) -> bool {
        loop {
            let loaded = self.models.values().filter_map(|place| place.state.loaded());
            let weights = loaded.fold(weights, |sum, loaded| sum.saturating_add(loaded.bytes));
            let begun = self.tasks.iter().filter_map(|task| Some(task.begun.as_ref()?.room));
            if room::fits(self.memory, weights, begun.chain([room])) {
                return true;
            }
            let is_idle = |id: &BlobId| {
                *id != program && self.tasks.iter().all(|task| task.program != *id || task.begun.is_none())
            };
            let idle = self.models.iter().filter(|(id, place)| place.state.loaded().is_some() && is_idle(id));
            let Some(oldest) = idle.min_by_key(|(_, place)| place.used).map(|(id, _)| *id) else {
                return false;
            };
            self.models.remove(&oldest);
        }
    }

    /// Reads a model into memory, if that was not done yet.
    fn load(&mut self, program: BlobId) -> Result<(), Unfit> {
        let Some(Place { state: State::Read(read), .. }) = self.models.get(&program) else { return Ok(()) };
        let loaded =
            read.load(program, self.engine.instruction_set(), &|| self.alive()).map_err(Unfit::Model)?;
        self.set(program, State::Loaded(Box::new(loaded)));
        Ok(())
    }

    /// The model of a task that has waited too long for memory that the requests of others hold. Where its own model is at
    /// work, it waits for that.
    fn starving(&self) -> Option<BlobId> {
        let is_running = |task: &Task| task.begun.as_ref().is_some_and(|begun| begun.lines.is_running());
        let starves = |task: &&Task| {
            task.begun.as_ref().is_some_and(|begun| begun.room > 0)
                && task.waits_since.elapsed() > PATIENCE
                && !self.tasks.iter().any(|other| other.program == task.program && is_running(other))
        };
        self.tasks.iter().find(starves).map(|task| task.program)
    }

    /// Says to each model how many pages it may have.
    fn share(&mut self) {
        let starving = self.starving();
        let mut free = self.memory;
        let (mut ids, mut shares) = (Vec::new(), Vec::new());
        for (id, place) in &self.models {
            let Some(loaded) = place.state.loaded() else { continue };
            free = free.saturating_sub(loaded.bytes);
            if let Some(page_bytes) = loaded.page_bytes() {
                ids.push(*id);
                shares.push(Share { page_bytes, held: loaded.held() });
            }
        }
        let starving = starving.and_then(|starving| ids.iter().position(|id| *id == starving));
        for (id, pages) in ids.iter().zip(room::pages(free, &shares, starving)) {
            if let Some(What::Decoder { batch, .. }) = self
                .models
                .get_mut(id)
                .and_then(|place| place.state.loaded_mut())
                .map(|loaded| &mut loaded.what)
            {
                batch.set_pages(usize::try_from(pages).unwrap_or(usize::MAX));
            }
        }
    }

    /// Makes a step of each model that has something to do.
    fn step(&mut self) -> io::Result<()> {
        let starving = self.starving();
        let mut programs: Vec<BlobId> =
            self.tasks.iter().filter(|task| task.begun.is_some()).map(|task| task.program).collect();
        programs.sort_unstable();
        programs.dedup();
        for program in programs {
            let may_fill = starving.is_none_or(|starving| starving == program);
            self.step_of(program, may_fill)?;
            self.alive();
        }
        for task in &mut self.tasks {
            while let Some((follow, offset, bytes)) = task.piece() {
                self.writer.send(&FromHost::Piece { task: task.number, follow, offset, bytes })?;
            }
        }
        self.finish()
    }

    fn step_of(&mut self, program: BlobId, may_fill: bool) -> io::Result<()> {
        self.clock += 1;
        let Some(place) = self.models.get_mut(&program) else { return Ok(()) };
        place.used = self.clock;
        let Some(loaded) = place.state.loaded_mut() else { return Ok(()) };
        let mut over: Vec<(u64, Excess)> = Vec::new();
        let mut is_full = !may_fill;
        for task in self.tasks.iter_mut().filter(|task| task.program == program) {
            let Some(begun) = &mut task.begun else { continue };
            let (served, batch) = loaded.served(&task.names);
            let Some(batch) = batch else {
                if let Err(excess) = begun.lines.encode_next(&served, &mut self.engine) {
                    over.push((task.number, excess));
                }
                continue;
            };
            if is_full {
                continue;
            }
            match begun.lines.fill(&served, batch) {
                Ok(Filled::Task) => {}
                // Whoever came later does not get what this one waits for.
                Ok(Filled::Batch) => is_full = true,
                Err(excess) => over.push((task.number, excess)),
            }
            if begun.lines.is_running() {
                task.waits_since = Instant::now();
            }
        }
        if let What::Decoder { batch, .. } = &mut loaded.what
            && !batch.is_empty()
        {
            batch.swap_engine(&mut self.engine);
            let stepped = batch.step();
            batch.swap_engine(&mut self.engine);
            match stepped {
                Ok(events) => {
                    for event in events {
                        let request = event.request();
                        let whose = self.tasks.iter_mut().find(|task| {
                            task.program == program
                                && task.begun.as_ref().is_some_and(|begun| begun.lines.has(request))
                        });
                        let Some(task) = whose else { continue };
                        let Some(begun) = &mut task.begun else { continue };
                        let (served, _) = loaded.served(&task.names);
                        match begun.lines.take(&served, event) {
                            Ok(Some(written)) => task.note(&written),
                            Ok(None) => {}
                            Err(excess) => over.push((task.number, excess)),
                        }
                    }
                }
                Err(error) => {
                    for task in self.tasks.iter_mut().filter(|task| task.program == program) {
                        if let Some(begun) = &mut task.begun {
                            begun.lines.fail(&error, batch);
                        }
                    }
                }
            }
        }
        for (number, excess) in over {
            if let Some(at) = self.tasks.iter().position(|task| task.number == number) {
                let (failure, tokens) = self.tasks[at].exceeded(excess);
                self.end(at, failure, tokens)?;
            }
        }
        Ok(())
    }

    /// Reports the tasks that are done.
    fn finish(&mut self) -> io::Result<()> {
        let is_done = |task: &Task| task.begun.as_ref().is_some_and(|begun| begun.lines.is_done());
        while let Some(at) = self.tasks.iter().position(is_done) {
            let task = self.tasks.remove(at);
            let Some(begun) = task.begun else { continue };
            let loaded = self.models.get(&task.program).and_then(|place| place.state.loaded());
            let model_bytes = loaded.map_or(0, |loaded| loaded.bytes);
            let done = begun.lines.finish();
            self.writer.send(&FromHost::Done {
                task: task.number,
                answers: done.answers,
                claims: done.claims,
                tokens: tokens(done.tokens),
                model_bytes,
            })?;
        }
        Ok(())
    }

    /// Ends a task with a failure.
    fn end(&mut self, at: usize, failure: Failure, tokens: Tokens) -> io::Result<()> {
        let task = self.tasks[at].number;
        self.remove(at);
        self.writer.send(&FromHost::Failed { task, failure, tokens })
    }

    /// Ends all tasks of a model that is of no use.
    fn fail_all(&mut self, program: BlobId, failure: &Failure) -> io::Result<()> {
        self.models.remove(&program);
        while let Some(at) = self.tasks.iter().position(|task| task.program == program) {
            self.end(at, failure.clone(), Tokens::default())?;
        }
        Ok(())
    }

    /// Takes a task out, with its requests.
    fn remove(&mut self, at: usize) {
        let mut task = self.tasks.remove(at);
        let loaded = self.models.get_mut(&task.program).and_then(|place| place.state.loaded_mut());
        if let (Some(begun), Some(What::Decoder { batch, .. })) =
            (&mut task.begun, loaded.map(|loaded| &mut loaded.what))
        {
            begun.lines.leave(batch);
        }
        // A model that was asked for in its name is asked for in another's.
        if self
            .models
            .get(&task.program)
            .is_some_and(|place| matches!(place.state, State::Asked(of) if of == task.number))
        {
            self.models.remove(&task.program);
        }
    }
}

/// Why a task cannot begin.
enum Unfit {
    /// Because of the task.
    Task(Failure),
    /// Because of its model.
    Model(Failure),
}

impl State {
    fn loaded(&self) -> Option<&Loaded> {
        match self {
            Self::Loaded(loaded) => Some(loaded),
            Self::Asked(_) | Self::Read(_) => None,
        }
    }

    fn loaded_mut(&mut self) -> Option<&mut Loaded> {
        match self {
            Self::Loaded(loaded) => Some(loaded),
            Self::Asked(_) | Self::Read(_) => None,
        }
    }
}
