//! What operations do to scalars, all of them held as 32 bits.

use naga::{BinaryOperator as Op, MathFunction as Fun, ScalarKind as Kind, UnaryOperator};

fn float(bits: u32) -> f32 {
    f32::from_bits(bits)
}

fn signed(bits: u32) -> i32 {
    bits.cast_signed()
}

/// Runs a loop over lanes with the operation; false if there is no such operation on such scalars.
pub(super) fn binary<R: Lanes2>(op: Op, kind: Kind, run: R) -> bool {
    match (kind, op) {
        (Kind::Uint | Kind::Sint, Op::Add) => run.run(|a, b| a.wrapping_add(b)),
        (Kind::Uint | Kind::Sint, Op::Subtract) => run.run(|a, b| a.wrapping_sub(b)),
        (Kind::Uint | Kind::Sint, Op::Multiply) => run.run(|a, b| a.wrapping_mul(b)),
        (Kind::Uint, Op::Divide) => run.run(|a, b| a.checked_div(b).unwrap_or(a)),
        (Kind::Uint, Op::Modulo) => run.run(|a, b| a.checked_rem(b).unwrap_or(0)),
        (Kind::Sint, Op::Divide) => {
            run.run(|a, b| signed(a).checked_div(signed(b)).unwrap_or(signed(a)).cast_unsigned())
        }
        (Kind::Sint, Op::Modulo) => {
            run.run(|a, b| signed(a).checked_rem(signed(b)).unwrap_or(0).cast_unsigned())
        }
        (Kind::Uint | Kind::Sint | Kind::Bool, Op::And) | (Kind::Bool, Op::LogicalAnd) => {
            run.run(|a, b| a & b)
        }
        (Kind::Uint | Kind::Sint | Kind::Bool, Op::InclusiveOr) | (Kind::Bool, Op::LogicalOr) => {
            run.run(|a, b| a | b)
        }
        (Kind::Uint | Kind::Sint | Kind::Bool, Op::ExclusiveOr) => run.run(|a, b| a ^ b),
        (Kind::Uint | Kind::Sint, Op::ShiftLeft) => run.run(|a, b| a << (b & 31)),
        (Kind::Uint, Op::ShiftRight) => run.run(|a, b| a >> (b & 31)),
        (Kind::Sint, Op::ShiftRight) => run.run(|a, b| (signed(a) >> (b & 31)).cast_unsigned()),
        (Kind::Uint | Kind::Sint | Kind::Bool, Op::Equal) => run.run(|a, b| u32::from(a == b)),
        (Kind::Uint | Kind::Sint | Kind::Bool, Op::NotEqual) => run.run(|a, b| u32::from(a != b)),
        (Kind::Uint, Op::Less) => run.run(|a, b| u32::from(a < b)),
        (Kind::Uint, Op::LessEqual) => run.run(|a, b| u32::from(a <= b)),
        (Kind::Uint, Op::Greater) => run.run(|a, b| u32::from(a > b)),
        (Kind::Uint, Op::GreaterEqual) => run.run(|a, b| u32::from(a >= b)),
        (Kind::Sint, Op::Less) => run.run(|a, b| u32::from(signed(a) < signed(b))),
        (Kind::Sint, Op::LessEqual) => run.run(|a, b| u32::from(signed(a) <= signed(b))),
        (Kind::Sint, Op::Greater) => run.run(|a, b| u32::from(signed(a) > signed(b))),
        (Kind::Sint, Op::GreaterEqual) => run.run(|a, b| u32::from(signed(a) >= signed(b))),
        (Kind::Float, Op::Add) => run.run(|a, b| (float(a) + float(b)).to_bits()),
        (Kind::Float, Op::Subtract) => run.run(|a, b| (float(a) - float(b)).to_bits()),
        (Kind::Float, Op::Multiply) => run.run(|a, b| (float(a) * float(b)).to_bits()),
        (Kind::Float, Op::Divide) => run.run(|a, b| (float(a) / float(b)).to_bits()),
        (Kind::Float, Op::Modulo) => {
            run.run(|a, b| (float(a) - float(b) * (float(a) / float(b)).trunc()).to_bits())
        }
        (Kind::Float, Op::Equal) => run.run(|a, b| u32::from(float(a) == float(b))),
        (Kind::Float, Op::NotEqual) => run.run(|a, b| u32::from(float(a) != float(b))),
        (Kind::Float, Op::Less) => run.run(|a, b| u32::from(float(a) < float(b))),
        (Kind::Float, Op::LessEqual) => run.run(|a, b| u32::from(float(a) <= float(b))),
        (Kind::Float, Op::Greater) => run.run(|a, b| u32::from(float(a) > float(b))),
        (Kind::Float, Op::GreaterEqual) => run.run(|a, b| u32::from(float(a) >= float(b))),
        _ => return false,
    }
    true
}

/// A loop over lanes, compiled for each operation that it is run with.
pub(super) trait Lanes2 {
    fn run(self, operation: impl Fn(u32, u32) -> u32);
}

/// The same with one operand.
pub(super) trait Lanes1 {
    fn run(self, operation: impl Fn(u32) -> u32);
}

/// The same with three.
pub(super) trait Lanes3 {
    fn run(self, operation: impl Fn(u32, u32, u32) -> u32);
}

pub(super) fn unary<R: Lanes1>(op: UnaryOperator, kind: Kind, run: R) -> bool {
    match (kind, op) {
        (Kind::Sint, UnaryOperator::Negate) => run.run(u32::wrapping_neg),
        (Kind::Float, UnaryOperator::Negate) => run.run(|a| (-float(a)).to_bits()),
        (Kind::Bool, UnaryOperator::LogicalNot) => run.run(|a| a ^ 1),
        (Kind::Uint | Kind::Sint, UnaryOperator::BitwiseNot) => run.run(|a| !a),
        _ => return false,
    }
    true
}

/// Conversions of values; casts of bits change nothing.
pub(super) fn convert<R: Lanes1>(from: Kind, to: Kind, run: R) -> bool {
    match (from, to) {
        (Kind::Uint | Kind::Sint, Kind::Uint | Kind::Sint)
        | (Kind::Float, Kind::Float)
        | (Kind::Bool, Kind::Bool | Kind::Uint | Kind::Sint) => run.run(|a| a),
        (Kind::Uint | Kind::Sint, Kind::Bool) => run.run(|a| u32::from(a != 0)),
        (Kind::Float, Kind::Bool) => run.run(|a| u32::from(float(a) != 0.0)),
        (Kind::Bool, Kind::Float) => run.run(|a| if a == 0 { 0 } else { 1.0_f32.to_bits() }),
        (Kind::Uint, Kind::Float) => run.run(|a| (a as f32).to_bits()),
        (Kind::Sint, Kind::Float) => run.run(|a| (signed(a) as f32).to_bits()),
        // What lies outside becomes the largest float that is inside, as naga writes it for devices.
        (Kind::Float, Kind::Uint) => run.run(|a| float(a).clamp(0.0, 4_294_967_040.0) as u32),
        // The greatest float below 2^31 is what devices clamp to.
        (Kind::Float, Kind::Sint) => {
            run.run(|a| (float(a).clamp(-2_147_483_648.0, 2_147_483_520.0) as i32).cast_unsigned())
        }
        _ => return false,
    }
    true
}

/// Functions of one scalar.
pub(super) fn math1<R: Lanes1>(fun: Fun, kind: Kind, run: R) -> bool {
    match (kind, fun) {
        (Kind::Uint, Fun::Abs) => run.run(|a| a),
        (Kind::Sint, Fun::Abs) => run.run(|a| signed(a).wrapping_abs().cast_unsigned()),
        (Kind::Sint, Fun::Sign) => run.run(|a| signed(a).signum().cast_unsigned()),
        (Kind::Uint | Kind::Sint, Fun::CountTrailingZeros) => run.run(u32::trailing_zeros),
        (Kind::Uint | Kind::Sint, Fun::CountLeadingZeros) => run.run(u32::leading_zeros),
        (Kind::Uint | Kind::Sint, Fun::CountOneBits) => run.run(u32::count_ones),
        (Kind::Uint | Kind::Sint, Fun::ReverseBits) => run.run(u32::reverse_bits),
        (Kind::Uint | Kind::Sint, Fun::FirstTrailingBit) => {
            run.run(|a| if a == 0 { u32::MAX } else { a.trailing_zeros() });
        }
        (Kind::Uint, Fun::FirstLeadingBit) => run.run(|a| 31_u32.wrapping_sub(a.leading_zeros())),
        (Kind::Sint, Fun::FirstLeadingBit) => {
            run.run(|a| {
                31_u32.wrapping_sub(if signed(a) < 0 { a.leading_ones() } else { a.leading_zeros() })
            });
        }
        (Kind::Float, fun) => {
            let Some(function) = of_float(fun) else { return false };
            run.run(|a| function(float(a)).to_bits());
        }
        _ => return false,
    }
    true
}

/// Between 0 and 1. Other than `clamp` it makes 0 of what is no number, as the two operations that WGSL defines it by.
#[expect(clippy::manual_clamp, reason = "`clamp` keeps what is no number")]
fn saturate(a: f32) -> f32 {
    a.max(0.0).min(1.0)
}

fn of_float(fun: Fun) -> Option<fn(f32) -> f32> {
    Some(match fun {
        Fun::Abs => f32::abs,
        Fun::Sign => |a| {
            if a > 0.0 {
                1.0
            } else if a < 0.0 {
                -1.0
            } else {
                0.0
            }
        },
        Fun::Saturate => saturate,
        Fun::Floor => f32::floor,
        Fun::Ceil => f32::ceil,
        Fun::Trunc => f32::trunc,
        Fun::Round => f32::round_ties_even,
        Fun::Fract => |a| a - a.floor(),
        Fun::Sqrt => f32::sqrt,
        Fun::InverseSqrt => |a| 1.0 / a.sqrt(),
        Fun::Radians => |a| a * 0.017_453_292,
        Fun::Degrees => |a| a * 57.295_78,
        Fun::Cos => libm::cosf,
        Fun::Cosh => libm::coshf,
        Fun::Sin => libm::sinf,
        Fun::Sinh => libm::sinhf,
        Fun::Tan => libm::tanf,
        Fun::Tanh => libm::tanhf,
        Fun::Acos => libm::acosf,
        Fun::Asin => libm::asinf,
        Fun::Atan => libm::atanf,
        Fun::Asinh => libm::asinhf,
        Fun::Acosh => libm::acoshf,
        Fun::Atanh => libm::atanhf,
        Fun::Exp => libm::expf,
        Fun::Exp2 => libm::exp2f,
        Fun::Log => libm::logf,
        Fun::Log2 => libm::log2f,
        _ => return None,
    })
}

/// Functions of two scalars.
pub(super) fn math2<R: Lanes2>(fun: Fun, kind: Kind, run: R) -> bool {
    match (kind, fun) {
        (Kind::Uint, Fun::Min) => run.run(u32::min),
        (Kind::Uint, Fun::Max) => run.run(u32::max),
        (Kind::Sint, Fun::Min) => run.run(|a, b| signed(a).min(signed(b)).cast_unsigned()),
        (Kind::Sint, Fun::Max) => run.run(|a, b| signed(a).max(signed(b)).cast_unsigned()),
        (Kind::Float, Fun::Min) => run.run(|a, b| float(a).min(float(b)).to_bits()),
        (Kind::Float, Fun::Max) => run.run(|a, b| float(a).max(float(b)).to_bits()),
        (Kind::Float, Fun::Pow) => run.run(|a, b| libm::powf(float(a), float(b)).to_bits()),
        (Kind::Float, Fun::Atan2) => run.run(|a, b| libm::atan2f(float(a), float(b)).to_bits()),
        (Kind::Float, Fun::Step) => {
            run.run(|edge, a| if float(a) >= float(edge) { 1.0_f32.to_bits() } else { 0 })
        }
        _ => return false,
    }
    true
}

/// Functions of three scalars.
pub(super) fn math3<R: Lanes3>(fun: Fun, kind: Kind, run: R) -> bool {
    match (kind, fun) {
        (Kind::Uint, Fun::Clamp) => run.run(|a, low, high| a.max(low).min(high)),
        (Kind::Sint, Fun::Clamp) => {
            run.run(|a, low, high| signed(a).max(signed(low)).min(signed(high)).cast_unsigned());
        }
        (Kind::Float, Fun::Clamp) => {
            run.run(|a, low, high| float(a).max(float(low)).min(float(high)).to_bits())
        }
        (Kind::Float, Fun::Fma) => run.run(|a, b, c| (float(a) * float(b) + float(c)).to_bits()),
        (Kind::Float, Fun::Mix) => {
            run.run(|a, b, t| (float(a) * (1.0 - float(t)) + float(b) * float(t)).to_bits());
        }
        (Kind::Float, Fun::SmoothStep) => run.run(|low, high, a| {
            let t = saturate((float(a) - float(low)) / (float(high) - float(low)));
            (t * t * (3.0 - 2.0 * t)).to_bits()
        }),
        (Kind::Uint, Fun::ExtractBits) => run.run(|a, offset, count| {
            let (offset, count) = field(offset, count);
            if count == 0 { 0 } else { a << (32 - offset - count) >> (32 - count) }
        }),
        (Kind::Sint, Fun::ExtractBits) => run.run(|a, offset, count| {
            let (offset, count) = field(offset, count);
            if count == 0 { 0 } else { (signed(a << (32 - offset - count)) >> (32 - count)).cast_unsigned() }
        }),
        _ => return false,
    }
    true
}

/// The bits of `new` put into `old`.
pub(super) fn insert_bits(old: u32, new: u32, offset: u32, count: u32) -> u32 {
    let (offset, count) = field(offset, count);
    if count == 0 {
        return old;
    }
    let mask = (u32::MAX >> (32 - count)) << offset;
    (old & !mask) | ((new << offset) & mask)
}

fn field(offset: u32, count: u32) -> (u32, u32) {
    let offset = offset.min(32);
    (offset, count.min(32 - offset))
}
