//! Runs the invocations of a workgroup side by side: each statement for all of them that are there, then the next.
//!
//! That is how GPUs run them, and it makes barriers free: where all invocations are at the same place, nobody has to wait.

use naga::{
    AddressSpace, AtomicFunction, Binding, Block, BuiltIn, Expression, Handle, Module, ScalarKind, Statement,
    SwitchValue, TypeInner,
};

use super::{
    code::{self, Code},
    eval,
    mask::Mask,
    shape::{self, Layout},
};
use crate::walk::{self, Root};

/// How many rounds of loops go by between two looks at whether to stop.
const ROUNDS: u32 = 1_024;

/// Where a variable is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the frame of a function that is being called.
    Frame { depth: usize, at: usize },
    /// With the invocation.
    Private { at: usize },
    /// With the workgroup.
    Shared { at: usize },
    /// In a buffer.
    Buffer(usize),
}

/// The frame of a call.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) words: Vec<u32>,
    /// What the arguments that are pointers lead to.
    pub(super) places: Vec<Option<Place>>,
}

pub(super) struct Machine<'a> {
    pub(super) module: &'a Module,
    codes: &'a [Code],
    pub(super) lanes: usize,
    /// By global variable; empty for those that are not buffers.
    pub(super) buffers: Vec<Vec<u32>>,
    pub(super) private: Vec<u32>,
    pub(super) shared: Vec<u32>,
    globals: Vec<Place>,
    frames: Vec<Frame>,
    /// Frames of functions that may be called again, constants filled in.
    spare: Vec<Vec<Frame>>,
    breaks: Mask,
    continues: Mask,
    rounds: u32,
    stop: &'a dyn Fn() -> bool,
    pub(super) stopped: bool,
}

impl<'a> Machine<'a> {
    pub(super) fn new(
        module: &'a Module,
        codes: &'a [Code],
        buffers: Vec<Vec<u32>>,
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        let lanes = module.entry_points[0].workgroup_size.iter().map(|&size| size as usize).product();
        let (mut private, mut shared) = (0, 0);
        let globals = module.global_variables.iter().map(|(handle, variable)| {
            let words = || shape::size(module, &module.types[variable.ty].inner, Layout::Packed);
            match variable.space {
                AddressSpace::Private => {
                    private += words();
                    Place::Private { at: private - words() }
                }
                AddressSpace::WorkGroup => {
                    shared += words();
                    Place::Shared { at: shared - words() }
                }
                _ => Place::Buffer(handle.index()),
            }
        });
        let globals = globals.collect();
        Self {
            module,
            codes,
            lanes,
            buffers,
            private: vec![0; private * lanes],
            shared: vec![0; shared],
            globals,
            frames: Vec::new(),
            spare: codes.iter().map(|_| Vec::new()).collect(),
            breaks: Mask::default(),
            continues: Mask::default(),
            rounds: 0,
            stop,
            stopped: false,
        }
    }

    /// Runs one workgroup of a dispatch.
    pub(super) fn workgroup(&mut self, group: [u32; 3], groups: [u32; 3]) {
        self.private.fill(0);
        self.shared.fill(0);
        let lanes = self.lanes;
        for (handle, variable) in self.module.global_variables.iter() {
            let (Some(init), Place::Private { at }) = (variable.init, self.globals[handle.index()]) else {
                continue;
            };
            let words = code::constant(self.module, &self.module.global_expressions[init]);
            for (place, word) in self.private[at * lanes..].chunks_mut(lanes).zip(words) {
                place.fill(word);
            }
        }
        let size = self.module.entry_points[0].workgroup_size;
        let entry = self.codes.len() - 1;
        let code = &self.codes[entry];
        let mut frame = self.frame(entry);
        for &(handle, number) in &code.arguments {
            let built_in = match code.function.arguments[number].binding {
                Some(Binding::BuiltIn(built_in)) => built_in,
                _ => continue,
            };
            let at = code.places[handle.index()] * lanes;
            for lane in 0..lanes {
                let index = lane as u32;
                let local = [index % size[0], index / size[0] % size[1], index / size[0] / size[1]];
                let value: [u32; 3] = match built_in {
                    BuiltIn::GlobalInvocationId => {
                        std::array::from_fn(|axis| group[axis] * size[axis] + local[axis])
                    }
                    BuiltIn::LocalInvocationId => local,
                    BuiltIn::LocalInvocationIndex => [index; 3],
                    BuiltIn::WorkGroupId => group,
                    BuiltIn::NumWorkGroups => groups,
                    _ => size,
                };
                let words = code.shapes[handle.index()].words;
                for (word, value) in value.into_iter().enumerate().take(words) {
                    frame.words[at + word * lanes + lane] = value;
                }
            }
        }
        self.enter(entry, frame, Mask::first(lanes));
    }

    /// A frame for a call, its constants filled in.
    fn frame(&mut self, number: usize) -> Frame {
        if let Some(frame) = self.spare[number].pop() {
            return frame;
        }
        let (code, lanes) = (&self.codes[number], self.lanes);
        let mut frame = Frame { words: vec![0; code.frame * lanes], places: Vec::new() };
        for (at, words) in &code.constants {
            for (place, word) in frame.words[at * lanes..].chunks_mut(lanes).zip(words) {
                place.fill(*word);
            }
        }
        for handle in &code.composed {
            eval::compute(self, code, &mut frame, *handle, Mask::first(lanes));
        }
        frame
    }

    /// Runs a function whose arguments are in the frame. Afterwards the frame, with the result, is the last of the spare.
    fn enter(&mut self, number: usize, mut frame: Frame, mask: Mask) {
        let (code, lanes) = (&self.codes[number], self.lanes);
        for (&(at, words), (_, variable)) in code.locals.iter().zip(code.function.local_variables.iter()) {
            let place = at * lanes..(at + words) * lanes;
            match variable.init {
                Some(init) => {
                    let from = code.places[init.index()] * lanes;
                    frame.words.copy_within(from..from + words * lanes, place.start);
                }
                None => frame.words[place].fill(0),
            }
        }
        frame.words[code.result * lanes..(code.result + code.result_words) * lanes].fill(0);
        self.frames.push(frame);
        let outer = (std::mem::take(&mut self.breaks), std::mem::take(&mut self.continues));
        self.block(code, &code.function.body, mask);
        (self.breaks, self.continues) = outer;
        let frame = self.frames.pop().expect("it was pushed");
        self.spare[number].push(frame);
    }

    /// Gives those that come to the end of the block.
    fn block(&mut self, code: &'a Code, block: &'a Block, mut mask: Mask) -> Mask {
        for statement in block {
            if mask.is_empty() {
                break;
            }
            mask = self.statement(code, statement, mask);
        }
        mask
    }

    fn statement(&mut self, code: &'a Code, statement: &'a Statement, mask: Mask) -> Mask {
        match statement {
            Statement::Emit(range) => {
                let depth = self.frames.len() - 1;
                let mut frame = std::mem::take(&mut self.frames[depth]);
                for handle in range.clone() {
                    eval::compute(self, code, &mut frame, handle, mask);
                }
                self.frames[depth] = frame;
                mask
            }
            Statement::Block(block) => self.block(code, block, mask),
            Statement::If { condition, accept, reject } => {
                let accepted = mask & self.truth(code, *condition);
                let rejected = mask & !accepted;
                self.block(code, accept, accepted) | self.block(code, reject, rejected)
            }
            Statement::Switch { selector, cases } => {
                let outer = std::mem::take(&mut self.breaks);
                let selected = self.value(code, *selector).to_vec();
                let mut left = mask;
                let mut falling = Mask::default();
                let mut through = Mask::default();
                let chosen: Vec<Mask> = cases
                    .iter()
                    .map(|case| {
                        let value = match case.value {
                            SwitchValue::I32(value) => value.cast_unsigned(),
                            SwitchValue::U32(value) => value,
                            SwitchValue::Default => return Mask::default(),
                        };
                        let chosen = left & Mask::of(self.lanes, |lane| selected[lane] == value);
                        left = left & !chosen;
                        chosen
                    })
                    .collect();
                for (case, chosen) in cases.iter().zip(chosen) {
                    let chosen = if case.value == SwitchValue::Default { left } else { chosen };
                    let ended = self.block(code, &case.body, chosen | falling);
                    if case.fall_through {
                        falling = ended;
                    } else {
                        falling = Mask::default();
                        through |= ended;
                    }
                }
                through | falling | std::mem::replace(&mut self.breaks, outer)
            }
            Statement::Loop { body, continuing, break_if } => {
                let outer = (std::mem::take(&mut self.breaks), std::mem::take(&mut self.continues));
                let mut inside = mask;
                let mut left = Mask::default();
                while !inside.is_empty() && !self.is_stopped() {
                    let ended = self.block(code, body, inside);
                    inside = ended | std::mem::take(&mut self.continues);
                    inside = self.block(code, continuing, inside);
                    if let Some(condition) = break_if {
                        let leave = inside & self.truth(code, *condition);
                        left |= leave;
                        inside = inside & !leave;
                    }
                    left |= std::mem::take(&mut self.breaks);
                }
                (self.breaks, self.continues) = outer;
                left
            }
            Statement::Break => {
                self.breaks |= mask;
                Mask::default()
            }
            Statement::Continue => {
                self.continues |= mask;
                Mask::default()
            }
            Statement::Return { value } => {
                if let Some(value) = value {
                    let lanes = self.lanes;
                    let from = code.places[value.index()];
                    let frame = self.frames.last_mut().expect("a function is being called");
                    for word in 0..code.result_words {
                        for lane in mask.lanes() {
                            let value = frame.words[(from + word) * lanes + lane];
                            frame.words[(code.result + word) * lanes + lane] = value;
                        }
                    }
                }
                Mask::default()
            }
            Statement::Store { pointer, value } => {
                self.store(code, *pointer, *value, mask);
                mask
            }
            Statement::Atomic { pointer, fun, value, result } => {
                self.atomic(code, *pointer, fun, *value, *result, mask);
                mask
            }
            Statement::WorkGroupUniformLoad { pointer, result } => {
                let depth = self.frames.len() - 1;
                let mut frame = std::mem::take(&mut self.frames[depth]);
                eval::load(self, code, &mut frame, *pointer, *result, mask);
                self.frames[depth] = frame;
                mask
            }
            Statement::Call { function, arguments, result } => {
                self.call(code, function.index(), arguments, *result, mask);
                mask
            }
            // All are at the same place, and see what the others wrote.
            _ => mask,
        }
    }

    fn call(
        &mut self,
        code: &'a Code,
        callee: usize,
        arguments: &[Handle<Expression>],
        result: Option<Handle<Expression>>,
        mask: Mask,
    ) {
        let lanes = self.lanes;
        let mut frame = self.frame(callee);
        let called = &self.codes[callee];
        frame.places.clear();
        for argument in arguments {
            let place = code.shapes[argument.index()]
                .pointer
                .is_some()
                .then(|| self.place(code, *argument))
                .flatten();
            frame.places.push(place);
        }
        for &(handle, number) in &called.arguments {
            let (from, to) = (code.places[arguments[number].index()], called.places[handle.index()]);
            let length = called.shapes[handle.index()].words * lanes;
            let mine = &self.frames.last().expect("a function is being called").words;
            frame.words[to * lanes..][..length].copy_from_slice(&mine[from * lanes..][..length]);
        }
        self.enter(callee, frame, mask);
        if let Some(result) = result {
            let to = code.places[result.index()] * lanes;
            let length = called.result_words * lanes;
            let theirs = &self.spare[callee].last().expect("it was called").words;
            let mine = &mut self.frames.last_mut().expect("a function is being called").words;
            mine[to..to + length].copy_from_slice(&theirs[called.result * lanes..][..length]);
        }
    }

    /// Where the variable is that a pointer leads to.
    fn place(&self, code: &Code, pointer: Handle<Expression>) -> Option<Place> {
        let depth = self.frames.len() - 1;
        let frame = self.frames.last()?;
        self.place_in(code, frame, depth, pointer)
    }

    pub(super) fn place_in(
        &self,
        code: &Code,
        frame: &Frame,
        depth: usize,
        pointer: Handle<Expression>,
    ) -> Option<Place> {
        match walk::root(&code.function.expressions, pointer)? {
            Root::Local(variable) => Some(Place::Frame { depth, at: code.locals[variable.index()].0 }),
            Root::Global(variable) => Some(self.globals[variable.index()]),
            Root::Argument(number) => frame.places.get(number as usize).copied().flatten(),
        }
    }

    /// How many frames there are, the one that is being computed in among them.
    pub(super) fn depth(&self) -> usize {
        self.frames.len().saturating_sub(1)
    }

    pub(super) fn frame_below(&self, depth: usize) -> &[u32] {
        &self.frames[depth].words
    }

    fn value(&self, code: &Code, handle: Handle<Expression>) -> &[u32] {
        let at = code.places[handle.index()] * self.lanes;
        let words = code.shapes[handle.index()].words * self.lanes;
        &self.frames.last().expect("a function is being called").words[at..at + words]
    }

    fn truth(&self, code: &Code, condition: Handle<Expression>) -> Mask {
        let words = self.value(code, condition);
        Mask::of(self.lanes, |lane| words[lane] != 0)
    }

    fn store(&mut self, code: &Code, pointer: Handle<Expression>, value: Handle<Expression>, mask: Mask) {
        let Some(place) = self.place(code, pointer) else { return };
        let lanes = self.lanes;
        let scalars = &code.scalars[pointer.index()];
        let (offsets, from) = (code.places[pointer.index()] * lanes, code.places[value.index()] * lanes);
        if let (Place::Frame { depth, at }, Some(fixed)) = (place, code.fixed[pointer.index()])
            && depth == self.depth()
            && mask.len() == lanes
        {
            let words = &mut self.frames.last_mut().expect("a function is being called").words;
            for (word, scalar) in scalars.iter().enumerate() {
                let from = from + word * lanes;
                words.copy_within(from..from + lanes, (at + fixed + scalar) * lanes);
            }
            return;
        }
        for (word, scalar) in scalars.iter().enumerate() {
            for lane in mask.lanes() {
                let words = &self.frames.last().expect("a function is being called").words;
                let offset = words[offsets + lane] as usize + scalar;
                let value = words[from + word * lanes + lane];
                if let Some(word) = self.word(place, offset, lane) {
                    *word = value;
                }
            }
        }
    }

    /// A word of a variable.
    fn word(&mut self, place: Place, offset: usize, lane: usize) -> Option<&mut u32> {
        let lanes = self.lanes;
        match place {
            Place::Frame { depth, at } => self.frames[depth].words.get_mut((at + offset) * lanes + lane),
            Place::Private { at } => self.private.get_mut((at + offset) * lanes + lane),
            Place::Shared { at } => self.shared.get_mut(at + offset),
            Place::Buffer(number) => self.buffers[number].get_mut(offset),
        }
    }

    fn atomic(
        &mut self,
        code: &Code,
        pointer: Handle<Expression>,
        fun: &AtomicFunction,
        value: Handle<Expression>,
        result: Option<Handle<Expression>>,
        mask: Mask,
    ) {
        let Some(place) = self.place(code, pointer) else { return };
        let lanes = self.lanes;
        let signed = code.shapes[value.index()].kind == Some(ScalarKind::Sint);
        for lane in mask.lanes() {
            let offset = self.value(code, pointer)[lane] as usize;
            let value = self.value(code, value)[lane];
            let compare = match fun {
                AtomicFunction::Exchange { compare: Some(compare) } => Some(self.value(code, *compare)[lane]),
                _ => None,
            };
            let Some(word) = self.word(place, offset, lane) else { continue };
            let old = *word;
            let exchanges = compare.is_none_or(|compare| compare == old);
            *word = match fun {
                AtomicFunction::Add => old.wrapping_add(value),
                AtomicFunction::Subtract => old.wrapping_sub(value),
                AtomicFunction::And => old & value,
                AtomicFunction::ExclusiveOr => old ^ value,
                AtomicFunction::InclusiveOr => old | value,
                AtomicFunction::Min if signed => old.cast_signed().min(value.cast_signed()).cast_unsigned(),
                AtomicFunction::Max if signed => old.cast_signed().max(value.cast_signed()).cast_unsigned(),
                AtomicFunction::Min => old.min(value),
                AtomicFunction::Max => old.max(value),
                AtomicFunction::Exchange { .. } if exchanges => value,
                AtomicFunction::Exchange { .. } => old,
            };
            if let Some(result) = result {
                let at = code.places[result.index()] * lanes + lane;
                let words = &mut self.frames.last_mut().expect("a function is being called").words;
                words[at] = old;
                if compare.is_some() {
                    words[at + lanes] = u32::from(exchanges);
                }
            }
        }
    }

    fn is_stopped(&mut self) -> bool {
        self.rounds += 1;
        if self.rounds >= ROUNDS {
            self.rounds = 0;
            self.stopped |= (self.stop)();
        }
        self.stopped
    }
}

/// The elements of an array without a length in a buffer of so many words.
pub(super) fn elements(module: &Module, inner: &TypeInner, words: usize, before: usize) -> u32 {
    let stride = shape::stride(module, inner, Layout::Shared).max(1);
    (words.saturating_sub(before) / stride) as u32
}
