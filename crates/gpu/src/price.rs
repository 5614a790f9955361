//! What expressions and statements cost, in fuel.
//!
//! A price is an upper bound of the work of a device to within a factor that stays the same over programs: words that
//! are moved count, and so do cases that are compared. One unit for each expression was wrong by three orders of
//! magnitude for copies of arrays and for large switches. The prices are part of the execution version: changing one
//! changes what every program is billed.

use naga::{BinaryOperator, Expression, Handle, MathFunction as Fun, Statement};

/// An atomic operation, or a barrier.
pub(crate) const MEETING: u64 = 16;

/// What an expression costs, where `words` tells how many words a value fills.
pub(crate) fn expression(
    expressions: &naga::Arena<Expression>,
    handle: Handle<Expression>,
    words: &dyn Fn(Handle<Expression>) -> u64,
) -> u64 {
    let expression = &expressions[handle];
    let moved = moved(expression, handle, words);
    let words = words(handle);
    match expression {
        Expression::Access { .. } => moved,
        Expression::Load { .. } => 1 + words,
        Expression::Binary { op: BinaryOperator::Divide | BinaryOperator::Modulo, .. } => 8 * words,
        Expression::Binary { op: BinaryOperator::Multiply, .. } if words > 4 => 4 * words,
        Expression::Math { fun, .. } => function(*fun) * words,
        _ => words,
    }
}

/// The words that a device copies for an expression, whatever it computes. To index a value that is not in memory it copies
/// the whole of it to a variable first.
pub(crate) fn moved(
    expression: &Expression,
    handle: Handle<Expression>,
    words: &dyn Fn(Handle<Expression>) -> u64,
) -> u64 {
    match expression {
        Expression::Access { base, .. } => words(*base).max(words(handle)),
        Expression::Load { .. } | Expression::Compose { .. } | Expression::ZeroValue(_) => words(handle),
        // They are where they are, whoever uses them.
        Expression::Literal(_)
        | Expression::Constant(_)
        | Expression::FunctionArgument(_)
        | Expression::GlobalVariable(_)
        | Expression::LocalVariable(_)
        | Expression::CallResult(_)
        | Expression::AtomicResult { .. } => 0,
        _ => 1,
    }
}

fn function(fun: Fun) -> u64 {
    match fun {
        Fun::Sin
        | Fun::Cos
        | Fun::Tan
        | Fun::Exp
        | Fun::Exp2
        | Fun::Log
        | Fun::Log2
        | Fun::Sqrt
        | Fun::InverseSqrt => 8,
        Fun::Pow
        | Fun::Atan
        | Fun::Atan2
        | Fun::Acos
        | Fun::Asin
        | Fun::Sinh
        | Fun::Cosh
        | Fun::Tanh
        | Fun::Asinh
        | Fun::Acosh
        | Fun::Atanh
        | Fun::Normalize
        | Fun::Length
        | Fun::Distance => 16,
        Fun::Determinant => 64,
        Fun::Dot | Fun::Cross | Fun::Reflect | Fun::SmoothStep => 8,
        _ => 2,
    }
}

/// What a statement costs that holds no blocks and calls nothing, where `words` tells how many words a value fills.
pub(crate) fn statement(statement: &Statement, words: &dyn Fn(Handle<Expression>) -> u64) -> u64 {
    match statement {
        Statement::Store { value, .. } => 1 + words(*value),
        Statement::Atomic { .. } | Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => MEETING,
        Statement::WorkGroupUniformLoad { result, .. } => 2 * MEETING + words(*result),
        _ => 1,
    }
}

/// A call, besides what the function costs.
pub(crate) fn call(words_of_arguments: u64) -> u64 {
    2 + words_of_arguments
}

/// A switch, besides its dearest case: some devices compare one after the other.
pub(crate) fn switch(cases: usize) -> u64 {
    4 + cases as u64
}

/// A round of a loop, besides its body.
pub(crate) const ROUND: u64 = 2;
