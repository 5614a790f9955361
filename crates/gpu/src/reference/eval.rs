//! What expressions come to, for all invocations that are there.

use naga::{Expression, Handle, MathFunction as Fun, RelationalFunction, ScalarKind, TypeInner};

use super::{
    code::Code,
    machine::{self, Frame, Machine, Place},
    mask::Mask,
    scalar::{self, Lanes1, Lanes2, Lanes3},
    shape::{self, Layout},
};

type Value = Handle<Expression>;

/// The loop over the lanes of one scalar of a result. Where few are there, only those are computed.
struct Run<'a> {
    to: &'a mut [u32],
    from: [&'a [u32]; 3],
    few: Option<Mask>,
}

impl Lanes1 for Run<'_> {
    fn run(self, operation: impl Fn(u32) -> u32) {
        let [a, ..] = self.from;
        match self.few {
            Some(few) => few.lanes().for_each(|lane| self.to[lane] = operation(a[lane])),
            None => self.to.iter_mut().zip(a).for_each(|(to, a)| *to = operation(*a)),
        }
    }
}

impl Lanes2 for Run<'_> {
    fn run(self, operation: impl Fn(u32, u32) -> u32) {
        let [a, b, _] = self.from;
        match self.few {
            Some(few) => few.lanes().for_each(|lane| self.to[lane] = operation(a[lane], b[lane])),
            None => self.to.iter_mut().zip(a).zip(b).for_each(|((to, a), b)| *to = operation(*a, *b)),
        }
    }
}

impl Lanes3 for Run<'_> {
    fn run(self, operation: impl Fn(u32, u32, u32) -> u32) {
        let [a, b, c] = self.from;
        match self.few {
            Some(few) => few.lanes().for_each(|lane| self.to[lane] = operation(a[lane], b[lane], c[lane])),
            None => {
                let operands = a.iter().zip(b).zip(c);
                self.to.iter_mut().zip(operands).for_each(|(to, ((a, b), c))| *to = operation(*a, *b, *c));
            }
        }
    }
}

/// A result that is being computed, and what was before it in the frame.
struct Result<'a> {
    code: &'a Code,
    lanes: usize,
    before: &'a [u32],
    to: &'a mut [u32],
    few: Option<Mask>,
}

impl<'a> Result<'a> {
    /// One scalar of a value, for all lanes.
    fn scalar(&self, value: Value, word: usize) -> &'a [u32] {
        let at = (self.code.places[value.index()] + word) * self.lanes;
        &self.before[at..at + self.lanes]
    }

    /// The scalar of an operand that goes with this one of the result: a single one goes with all.
    fn with(&self, value: Value, word: usize) -> &'a [u32] {
        self.scalar(value, if self.words(value) == 1 { 0 } else { word })
    }

    fn words(&self, value: Value) -> usize {
        self.code.shapes[value.index()].words
    }

    fn kind(&self, value: Value) -> ScalarKind {
        self.code.shapes[value.index()].kind.unwrap_or(ScalarKind::Uint)
    }

    fn run(&mut self, word: usize, from: [&'a [u32]; 3]) -> Run<'_> {
        Run { to: &mut self.to[word * self.lanes..(word + 1) * self.lanes], from, few: self.few }
    }

    fn own_words(&self) -> usize {
        self.to.len() / self.lanes
    }

    /// Runs something for each scalar of the result.
    fn each(&mut self, operands: [Value; 3], mut run: impl FnMut(Run<'_>) -> bool) {
        for word in 0..self.own_words() {
            let from = operands.map(|operand| self.with(operand, word));
            let known = run(self.run(word, from));
            debug_assert!(known, "the rules let through what the reference knows");
        }
    }

    /// A float of each lane from those of others.
    fn floats(&mut self, word: usize, of_lane: impl Fn(usize) -> f32) {
        let to = &mut self.to[word * self.lanes..(word + 1) * self.lanes];
        to.iter_mut().enumerate().for_each(|(lane, to)| *to = of_lane(lane).to_bits());
    }

    fn copy(&mut self, word: usize, from: &'a [u32]) {
        self.to[word * self.lanes..(word + 1) * self.lanes].copy_from_slice(from);
    }
}

fn float(words: &[u32], lane: usize) -> f32 {
    f32::from_bits(words[lane])
}

/// Computes an expression of a function and puts it in its place in the frame.
pub(super) fn compute(machine: &Machine<'_>, code: &Code, frame: &mut Frame, handle: Value, mask: Mask) {
    let expression = &code.function.expressions[handle];
    if let Expression::Load { pointer } = expression {
        load(machine, code, frame, *pointer, handle, mask);
        return;
    }
    let length = match expression {
        Expression::ArrayLength(array) => array_length(machine, code, frame, *array),
        _ => 0,
    };
    let lanes = machine.lanes;
    let at = code.places[handle.index()] * lanes;
    let words = code.shapes[handle.index()].words * lanes;
    let (before, rest) = frame.words.split_at_mut(at);
    let few = (mask.len() * 4 < lanes).then_some(mask);
    let mut result = Result { code, lanes, before, to: &mut rest[..words], few };
    match *expression {
        Expression::Compose { ref components, .. } => {
            let mut word = 0;
            for component in components {
                for part in 0..result.words(*component) {
                    let from = result.scalar(*component, part);
                    result.copy(word, from);
                    word += 1;
                }
            }
        }
        Expression::Access { base, index } => access(machine, &mut result, base, index),
        Expression::AccessIndex { base, index } => access_index(machine, &mut result, base, index),
        Expression::Splat { value, .. } => {
            for word in 0..result.own_words() {
                let from = result.scalar(value, 0);
                result.copy(word, from);
            }
        }
        Expression::Swizzle { vector, pattern, .. } => {
            for (word, component) in pattern.into_iter().enumerate().take(result.own_words()) {
                let from = result.scalar(vector, component as usize);
                result.copy(word, from);
            }
        }
        Expression::Unary { op, expr } => {
            let kind = result.kind(expr);
            result.each([expr; 3], |run| scalar::unary(op, kind, run));
        }
        Expression::Binary { op: naga::BinaryOperator::Multiply, left, right }
            if is_product(code, left, right) =>
        {
            product(&mut result, left, right);
        }
        Expression::Binary { op, left, right } => {
            let kind = result.kind(left);
            result.each([left, right, left], |run| scalar::binary(op, kind, run));
        }
        Expression::Select { condition, accept, reject } => result.each([condition, accept, reject], |run| {
            Lanes3::run(run, |condition, accept, reject| if condition == 0 { reject } else { accept });
            true
        }),
        Expression::Relational { fun, argument } => {
            let all = fun == RelationalFunction::All;
            let parts: Vec<&[u32]> =
                (0..result.words(argument)).map(|word| result.scalar(argument, word)).collect();
            for (lane, to) in result.to.iter_mut().enumerate() {
                let mut truths = parts.iter().map(|part| part[lane] != 0);
                *to = u32::from(if all { truths.all(|truth| truth) } else { truths.any(|truth| truth) });
            }
        }
        Expression::Math { fun, arg, arg1, arg2, arg3 } => {
            math(&mut result, fun, [Some(arg), arg1, arg2, arg3]);
        }
        Expression::As { expr, kind, convert } => {
            let from = result.kind(expr);
            result.each([expr; 3], |run| match convert {
                Some(_) => scalar::convert(from, kind, run),
                None => {
                    Lanes1::run(run, |bits| bits);
                    true
                }
            });
        }
        Expression::ArrayLength(_) => result.to.fill(length),
        // Variables, constants, arguments and results are where they are.
        _ => {}
    }
}

/// Reads what a pointer leads to.
pub(super) fn load(
    machine: &Machine<'_>,
    code: &Code,
    frame: &mut Frame,
    pointer: Value,
    to: Value,
    mask: Mask,
) {
    let depth = machine.depth();
    let Some(place) = machine.place_in(code, frame, depth, pointer) else { return };
    let lanes = machine.lanes;
    let scalars = &code.scalars[pointer.index()];
    let (before, rest) = frame.words.split_at_mut(code.places[to.index()] * lanes);
    let offsets = &before[code.places[pointer.index()] * lanes..][..lanes];
    let fixed = code.fixed[pointer.index()];
    let few = (mask.len() * 4 < lanes).then_some(mask);
    for (scalar, to) in scalars.iter().zip(rest.chunks_mut(lanes)) {
        // Variables of an invocation lie lane by lane, the others once for all.
        let (memory, at, apart): (&[u32], usize, bool) = match place {
            Place::Frame { depth: own, at } if own == depth => (before, at, true),
            Place::Frame { depth, at } => (machine.frame_below(depth), at, true),
            Place::Private { at } => (&machine.private, at, true),
            Place::Shared { at } => (&machine.shared, at, false),
            Place::Buffer(number) => (&machine.buffers[number], 0, false),
        };
        let read = |lane: usize| {
            let word = at + offsets[lane] as usize + scalar;
            let word = if apart { word * lanes + lane } else { word };
            memory.get(word).copied().unwrap_or(0)
        };
        match (fixed, few) {
            (Some(fixed), _) if apart => {
                let from = (at + fixed + scalar) * lanes;
                to.copy_from_slice(&memory[from..from + lanes]);
            }
            (Some(fixed), _) => to.fill(memory.get(at + fixed + scalar).copied().unwrap_or(0)),
            (None, Some(few)) => few.lanes().for_each(|lane| to[lane] = read(lane)),
            (None, None) => to.iter_mut().enumerate().for_each(|(lane, to)| *to = read(lane)),
        }
    }
}

fn array_length(machine: &Machine<'_>, code: &Code, frame: &Frame, array: Value) -> u32 {
    let place = machine.place_in(code, frame, machine.depth(), array);
    let (Some(Place::Buffer(number)), Some(target)) = (place, &code.shapes[array.index()].pointer) else {
        return 0;
    };
    let before = code.fixed[array.index()].unwrap_or(0);
    machine::elements(machine.module, &target.inner, machine.buffers[number].len(), before)
}

fn access(machine: &Machine<'_>, result: &mut Result<'_>, base: Value, index: Value) {
    let lanes = result.lanes;
    let indices = result.scalar(index, 0);
    if let Some(target) = &result.code.shapes[base.index()].pointer {
        let stride = shape::stride(machine.module, &target.inner, Layout::of(target.space)) as u32;
        let from = [result.scalar(base, 0), indices, indices];
        Lanes2::run(result.run(0, from), |base, index| base.wrapping_add(index.wrapping_mul(stride)));
        return;
    }
    let words = result.own_words();
    let parts = result.words(base) / words;
    for word in 0..words {
        for (lane, index) in indices.iter().enumerate().take(lanes) {
            let part = (*index as usize).min(parts - 1);
            result.to[word * lanes + lane] = result.scalar(base, part * words + word)[lane];
        }
    }
}

fn access_index(machine: &Machine<'_>, result: &mut Result<'_>, base: Value, index: u32) {
    if let Some(target) = &result.code.shapes[base.index()].pointer {
        let offset = shape::offset(machine.module, &target.inner, index, Layout::of(target.space)) as u32;
        let from = [result.scalar(base, 0); 3];
        Lanes1::run(result.run(0, from), |base| base.wrapping_add(offset));
        return;
    }
    let inner: &TypeInner = &result.code.inners[base.index()];
    let offset = shape::offset(machine.module, inner, index, Layout::Packed);
    for word in 0..result.own_words() {
        let from = result.scalar(base, offset + word);
        result.copy(word, from);
    }
}

fn is_product(code: &Code, left: Value, right: Value) -> bool {
    let is_matrix = |value: Value| code.shapes[value.index()].matrix.is_some();
    let is_scalar = |value: Value| code.shapes[value.index()].words == 1;
    (is_matrix(left) || is_matrix(right)) && !is_scalar(left) && !is_scalar(right)
}

/// A product of matrices, or of one and a vector: the left one's rows by the right one's columns.
fn product(result: &mut Result<'_>, left: Value, right: Value) {
    let matrix = |value: Value| result.code.shapes[value.index()].matrix;
    let (inner, rows) = match matrix(left) {
        Some(shape) => shape,
        None => (result.words(left), 1),
    };
    let columns = matrix(right).map_or(1, |(columns, _)| columns);
    for column in 0..columns {
        for row in 0..rows {
            let terms: Vec<_> = (0..inner)
                .map(|at| (result.scalar(left, at * rows + row), result.scalar(right, column * inner + at)))
                .collect();
            result.floats(column * rows + row, |lane| {
                terms
                    .iter()
                    .map(|(a, b)| float(a, lane) * float(b, lane))
                    .reduce(|sum, term| sum + term)
                    .unwrap_or(0.0)
            });
        }
    }
}

fn math(result: &mut Result<'_>, fun: Fun, arguments: [Option<Value>; 4]) {
    let [Some(a), b, c, d] = arguments else { return };
    let kind = result.kind(a);
    match (fun, b, c) {
        (Fun::Dot, Some(b), _) if kind != ScalarKind::Float => {
            for word in 0..result.words(a) {
                let (left, right) = (result.scalar(a, word), result.scalar(b, word));
                for (to, (left, right)) in result.to.iter_mut().zip(left.iter().zip(right)) {
                    let sum = if word == 0 { 0 } else { *to };
                    *to = sum.wrapping_add(left.wrapping_mul(*right));
                }
            }
        }
        (Fun::Dot | Fun::Length | Fun::Distance | Fun::Normalize | Fun::Cross | Fun::Reflect, ..) => {
            geometry(result, fun, a, b)
        }
        (Fun::Transpose, ..) => {
            let Some((columns, rows)) = result.code.shapes[a.index()].matrix else { return };
            for column in 0..columns {
                for row in 0..rows {
                    let from = result.scalar(a, column * rows + row);
                    result.copy(row * columns + column, from);
                }
            }
        }
        (Fun::InsertBits, Some(new), Some(offset)) => {
            let Some(count) = d else { return };
            for word in 0..result.own_words() {
                let [old, new, offset, count] = [a, new, offset, count].map(|value| result.with(value, word));
                for lane in 0..result.lanes {
                    result.to[word * result.lanes + lane] =
                        scalar::insert_bits(old[lane], new[lane], offset[lane], count[lane]);
                }
            }
        }
        (_, Some(b), Some(c)) => result.each([a, b, c], |run| scalar::math3(fun, kind, run)),
        (_, Some(b), None) => result.each([a, b, a], |run| scalar::math2(fun, kind, run)),
        _ => result.each([a; 3], |run| scalar::math1(fun, kind, run)),
    }
}

fn geometry(result: &mut Result<'_>, fun: Fun, a: Value, b: Option<Value>) {
    let size = result.words(a);
    let part = |result: &Result<'_>, value: Value, lane: usize| -> Vec<f32> {
        (0..size).map(|word| float(result.scalar(value, word), lane)).collect()
    };
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| a * b).reduce(|sum, term| sum + term).unwrap_or(0.0)
    };
    for lane in 0..result.lanes {
        let a = part(result, a, lane);
        let b = b.map_or_else(|| a.clone(), |b| part(result, b, lane));
        let values = match fun {
            Fun::Dot => vec![dot(&a, &b)],
            Fun::Length => vec![dot(&a, &a).sqrt()],
            Fun::Distance => {
                let apart: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
                vec![dot(&apart, &apart).sqrt()]
            }
            Fun::Normalize => {
                let length = dot(&a, &a).sqrt();
                a.iter().map(|a| a / length).collect()
            }
            Fun::Reflect => {
                let twice = 2.0 * dot(&b, &a);
                a.iter().zip(&b).map(|(a, b)| a - twice * b).collect()
            }
            _ => (0..3)
                .map(|at| {
                    let (next, last) = ((at + 1) % 3, (at + 2) % 3);
                    a[next] * b[last] - a[last] * b[next]
                })
                .collect(),
        };
        for (word, value) in values.into_iter().enumerate().take(result.own_words()) {
            result.to[word * result.lanes + lane] = value.to_bits();
        }
    }
}
