//! Takes out what WGSL leaves to the device, or naga to the driver, in integers: shifts past the width, indices past the
//! end, clamps between bounds in the wrong order.

use naga::{
    ArraySize, BinaryOperator, Expression, Handle, Literal, MathFunction, Module, ScalarKind, TypeInner,
};

use crate::rebuild::Builder;

/// The new expression for one that is not the same everywhere; none for one that is.
pub(crate) fn rewrite(
    module: &Module,
    builder: &mut Builder<'_>,
    handle: Handle<Expression>,
) -> Option<Handle<Expression>> {
    let (old, info) = (builder.old, builder.info);
    let inner = |handle: Handle<Expression>| info[handle].ty.inner_with(&module.types);
    match old.expressions[handle] {
        Expression::Binary {
            op: op @ (BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight),
            left,
            right,
        } => {
            let mask = builder.literal(Literal::U32(31));
            let mask = match inner(right) {
                TypeInner::Vector { size, .. } => {
                    builder.emit(Expression::Splat { size: *size, value: mask })
                }
                _ => mask,
            };
            let (left, right) = (builder.to(left), builder.to(right));
            let right =
                builder.emit(Expression::Binary { op: BinaryOperator::And, left: right, right: mask });
            Some(builder.emit(Expression::Binary { op, left, right }))
        }
        Expression::Access { base, index } => {
            let signed = inner(index).scalar_kind() == Some(ScalarKind::Sint);
            let (base_type, index) = (inner(base), builder.to(index));
            let index = if signed {
                // A negative index is past the end then.
                builder.emit(Expression::As { expr: index, kind: ScalarKind::Uint, convert: None })
            } else {
                index
            };
            let last = last(module, builder, base, base_type);
            Some(clamped(builder, base, index, last))
        }
        // A constant index into an array whose length is known only when it runs.
        Expression::AccessIndex { base, index } if length(module, inner(base)) == Some(Length::Runtime) => {
            let index = builder.literal(Literal::U32(index));
            let last = last(module, builder, base, inner(base));
            Some(clamped(builder, base, index, last))
        }
        // SPIR-V leaves it open what becomes of bounds in the wrong order; WGSL says this, of integers.
        Expression::Math { fun: MathFunction::Clamp, arg, arg1: Some(low), arg2: Some(high), .. } => {
            let (value, low, high) = (builder.to(arg), builder.to(low), builder.to(high));
            let raised = builder.emit(math(MathFunction::Max, value, low));
            Some(builder.emit(math(MathFunction::Min, raised, high)))
        }
        _ => None,
    }
}

pub(crate) fn math(fun: MathFunction, arg: Handle<Expression>, other: Handle<Expression>) -> Expression {
    Expression::Math { fun, arg, arg1: Some(other), arg2: None, arg3: None }
}

fn clamped(
    builder: &mut Builder<'_>,
    base: Handle<Expression>,
    index: Handle<Expression>,
    last: Handle<Expression>,
) -> Handle<Expression> {
    let index = builder.emit(math(MathFunction::Min, index, last));
    let base = builder.to(base);
    builder.emit(Expression::Access { base, index })
}

/// The last index of what is indexed.
fn last(
    module: &Module,
    builder: &mut Builder<'_>,
    base: Handle<Expression>,
    ty: &TypeInner,
) -> Handle<Expression> {
    match length(module, ty) {
        Some(Length::Fixed(length)) => builder.literal(Literal::U32(length - 1)),
        _ => {
            let one = builder.literal(Literal::U32(1));
            let base = builder.to(base);
            let length = builder.emit(Expression::ArrayLength(base));
            builder.emit(Expression::Binary { op: BinaryOperator::Subtract, left: length, right: one })
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Length {
    Fixed(u32),
    Runtime,
}

/// How many parts a value, or what a pointer leads to, has; none for a structure.
fn length(module: &Module, ty: &TypeInner) -> Option<Length> {
    match ty {
        TypeInner::Pointer { base, .. } => length(module, &module.types[*base].inner),
        TypeInner::ValuePointer { size: Some(size), .. }
        | TypeInner::Vector { size, .. }
        | TypeInner::Matrix { columns: size, .. } => Some(Length::Fixed(*size as u32)),
        TypeInner::Array { size: ArraySize::Constant(length), .. } => Some(Length::Fixed(length.get())),
        TypeInner::Array { .. } => Some(Length::Runtime),
        _ => None,
    }
}
