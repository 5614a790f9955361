//! Puts fuel into a module: each loop counts what its rounds cost, and ends once that is more than the limit.
//!
//! WGSL knows no recursion, so loops alone can make a program long: what stands outside of them is a fixed price. Two
//! counters keep an end by fuel from breaking a barrier. A loop that the invocations of a workgroup run together counts by
//! one that is the same in all of them, so they leave it together; any other counts by its own, and what it leaves
//! unfinished was not the same for all before either. Branches cost as much as the dearest of them, so that a total does not
//! depend on which was taken.

use naga::{
    BinaryOperator, Block, Expression, Function, GlobalVariable, Handle, Literal, Module, Span, Statement,
};

use crate::{
    layout::Words,
    mistake::{Mistake, Refusal},
    price,
    uniform::Uniformity,
};

/// The most that what stands outside of loops may cost, and one round of each loop together, all calls inlined. Past its
/// limit an invocation still runs a round of each loop that it comes to, so with this bound no counter passes 32 bits.
pub(crate) const MOST_FLAT: u64 = 1 << 24;

/// The variables of an invocation that metering needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// Fuel used in loops that invocations may run apart.
    pub(crate) apart: Handle<GlobalVariable>,
    /// Fuel used in loops that the whole workgroup runs together.
    pub(crate) together: Handle<GlobalVariable>,
    /// What each of the two may reach.
    pub(crate) limit: Handle<GlobalVariable>,
}

/// What metering found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Metered {
    /// What the entry point costs besides the rounds of its loops.
    pub(crate) flat: u32,
    /// How many loops there are.
    pub(crate) loops: usize,
    /// How many of them the whole workgroup runs together.
    pub(crate) together: usize,
}

/// Puts fuel into all functions of a module and into its entry point.
pub(crate) fn meter(
    module: &mut Module,
    words: &Words,
    uniformity: &Uniformity,
    counters: Counters,
) -> Result<Metered, Mistake> {
    let mut prices: Vec<Price> = Vec::new();
    let mut metered = Metered { flat: 0, loops: 0, together: 0 };
    let handles: Vec<_> = module.functions.iter().map(|(handle, _)| handle).collect();
    for number in 0..=handles.len() {
        let function = match handles.get(number) {
            Some(handle) => module.functions.get_mut(*handle),
            None => &mut module.entry_points[0].function,
        };
        let body = std::mem::take(&mut function.body);
        let mut meter = Meter {
            function,
            words: &words.expressions[number],
            prices: &prices,
            together: &uniformity.loops[number],
            barriers: uniformity.barriers,
            counters,
            loops: 0,
            metered: &mut metered,
            rounds: 0,
        };
        let (body, cost) = meter.block(body);
        let rounds = meter.rounds;
        function.body = body;
        // Its variables are set to zero when it is entered.
        let flat = words.locals[number].saturating_add(cost);
        let start = if number == handles.len() { words.start } else { 0 };
        let flat = flat.saturating_add(start);
        if rounds.max(flat) > MOST_FLAT {
            let what = "the price of one round of each loop, or of what stands outside of loops,";
            let refusal = Refusal::Size { what, found: rounds.max(flat), most: MOST_FLAT };
            return Err(Mistake::refused(refusal));
        }
        prices.push(Price { flat, rounds });
        metered.flat = u32::try_from(flat).expect("it is at most MOST_FLAT");
    }
    Ok(metered)
}

struct Meter<'a> {
    function: &'a mut Function,
    words: &'a [u64],
    /// What each function before this one costs.
    prices: &'a [Price],
    together: &'a std::collections::BTreeSet<usize>,
    barriers: bool,
    counters: Counters,
    loops: usize,
    metered: &'a mut Metered,
    /// What one round of each loop so far costs, with those of the functions that are called.
    rounds: u64,
}

#[derive(Clone, Copy, Debug)]
struct Price {
    flat: u64,
    rounds: u64,
}

impl Meter<'_> {
    fn words(&self, handle: Handle<Expression>) -> u64 {
        self.words[handle.index()]
    }

    /// The block with its loops counted, and what running through it costs besides their rounds.
    fn block(&mut self, old: Block) -> (Block, u64) {
        let mut block = Block::with_capacity(old.len());
        let mut cost = 0_u64;
        for (statement, span) in old.span_into_iter() {
            let (statement, price) = self.statement(statement);
            cost = cost.saturating_add(price);
            block.push(statement, span);
        }
        (block, cost)
    }

    fn statement(&mut self, statement: Statement) -> (Statement, u64) {
        match statement {
            Statement::Block(block) => {
                let (block, cost) = self.block(block);
                (Statement::Block(block), cost)
            }
            Statement::If { condition, accept, reject } => {
                let (accept, accepted) = self.block(accept);
                let (reject, rejected) = self.block(reject);
                (Statement::If { condition, accept, reject }, accepted.max(rejected).saturating_add(1))
            }
            Statement::Switch { selector, mut cases } => {
                let mut dearest = 0;
                let mut falling = 0_u64;
                for case in &mut cases {
                    let (body, cost) = self.block(std::mem::take(&mut case.body));
                    case.body = body;
                    let through = falling.saturating_add(cost);
                    falling = if case.fall_through { through } else { 0 };
                    dearest = dearest.max(through);
                }
                let cost = price::switch(cases.len()).saturating_add(dearest);
                (Statement::Switch { selector, cases }, cost)
            }
            Statement::Loop { body, continuing, break_if } => {
                (self.count_rounds(body, continuing, break_if), 0)
            }
            Statement::Emit(range) => {
                let handles = range.clone();
                let each = |handle| {
                    price::expression(&self.function.expressions, handle, &|handle| self.words(handle))
                };
                let cost = handles.map(each).fold(0, u64::saturating_add);
                (Statement::Emit(range), cost)
            }
            Statement::Call { function, arguments, result } => {
                let values = arguments.iter().chain(&result);
                let passed = values.map(|value| self.words(*value)).fold(0, u64::saturating_add);
                let callee = self.prices[function.index()];
                self.rounds = self.rounds.saturating_add(callee.rounds);
                let cost = price::call(passed).saturating_add(callee.flat);
                (Statement::Call { function, arguments, result }, cost)
            }
            other => {
                let cost = price::statement(&other, &|handle| self.words(handle));
                (other, cost)
            }
        }
    }

    fn count_rounds(
        &mut self,
        body: Block,
        continuing: Block,
        break_if: Option<Handle<Expression>>,
    ) -> Statement {
        // Without a barrier nobody minds who leaves when, and one counter is less to keep.
        let together = self.barriers && self.together.contains(&self.loops);
        self.loops += 1;
        self.metered.loops += 1;
        self.metered.together += usize::from(together);
        let (mut body, in_body) = self.block(body);
        let (continuing, in_continuing) = self.block(continuing);
        let round = price::ROUND.saturating_add(in_body).saturating_add(in_continuing);
        self.rounds = self.rounds.saturating_add(round);
        let at = guard(&body);
        // A price past the bound is refused later.
        let head = self.charge(round.min(MOST_FLAT) as u32, together);
        body.splice(at..at, head);
        Statement::Loop { body, continuing, break_if }
    }

    /// Counts a price, and leaves the loop once the limit is passed.
    fn charge(&mut self, price: u32, together: bool) -> Block {
        let expressions = &mut self.function.expressions;
        let counter = if together { self.counters.together } else { self.counters.apart };
        let span = Span::UNDEFINED;
        let counter = expressions.append(Expression::GlobalVariable(counter), span);
        let limit = expressions.append(Expression::GlobalVariable(self.counters.limit), span);
        let price = expressions.append(Expression::Literal(Literal::U32(price)), span);
        let from = expressions.len();
        let before = expressions.append(Expression::Load { pointer: counter }, span);
        let after = expressions
            .append(Expression::Binary { op: BinaryOperator::Add, left: before, right: price }, span);
        let limit = expressions.append(Expression::Load { pointer: limit }, span);
        let over = expressions
            .append(Expression::Binary { op: BinaryOperator::Greater, left: after, right: limit }, span);
        let leave = Block::from_vec(vec![Statement::Break]);
        Block::from_vec(vec![
            Statement::Emit(expressions.range_from(from)),
            Statement::Store { pointer: counter, value: after },
            Statement::If { condition: over, accept: leave, reject: Block::new() },
        ])
    }
}

/// Where a loop counts: after a leading `if !condition { break; }`, so that the look after the last round costs nothing.
fn guard(body: &Block) -> usize {
    let leaves = |block: &Block| matches!(block[..], [Statement::Break]);
    for (at, statement) in body.iter().enumerate() {
        match statement {
            Statement::Emit(_) => {}
            Statement::If { accept, reject, .. } => {
                let is_guard = (accept.is_empty() && leaves(reject)) || (reject.is_empty() && leaves(accept));
                return if is_guard { at + 1 } else { 0 };
            }
            _ => return 0,
        }
    }
    0
}
