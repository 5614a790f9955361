//! What a program may use: what every device knows, and gives the same result for.

use naga::{AddressSpace, Expression, Function, MathFunction as Fun, Module, Statement, TypeInner};

use crate::{
    mistake::{Mistake, Refusal},
    walk,
    wrap::GROUP,
};

/// Refuses what a program may not use.
pub(crate) fn check(module: &Module, text: &str) -> Result<(), Mistake> {
    for (handle, variable) in module.global_variables.iter() {
        let span = module.global_variables.get_span(handle);
        let refuse = |refusal| Mistake::refused_at(refusal, span, text);
        match variable.space {
            AddressSpace::Function
            | AddressSpace::Private
            | AddressSpace::WorkGroup
            | AddressSpace::Uniform
            | AddressSpace::Storage { .. } => {}
            AddressSpace::Handle => return Err(refuse(Refusal::Feature("a texture or a sampler".into()))),
            _ => return Err(refuse(Refusal::Feature("this kind of variable".into()))),
        }
        if variable.binding.is_some_and(|binding| binding.group >= GROUP) {
            return Err(refuse(Refusal::Group { group: GROUP }));
        }
    }
    for (handle, ty) in module.types.iter() {
        let known = matches!(
            &ty.inner,
            TypeInner::Scalar(_)
                | TypeInner::Vector { .. }
                | TypeInner::Matrix { .. }
                | TypeInner::Atomic(_)
                | TypeInner::Pointer { .. }
                | TypeInner::ValuePointer { .. }
                | TypeInner::Array { .. }
                | TypeInner::Struct { .. }
        );
        if !known {
            let span = module.types.get_span(handle);
            return Err(Mistake::refused_at(Refusal::Feature("a type of graphics".into()), span, text));
        }
    }
    walk::functions(module).into_iter().try_for_each(|function| in_function(function, text))
}

fn in_function(function: &Function, text: &str) -> Result<(), Mistake> {
    for (handle, expression) in function.expressions.iter() {
        if let Some(what) = unknown_expression(expression) {
            let span = function.expressions.get_span(handle);
            return Err(Mistake::refused_at(Refusal::Feature(what), span, text));
        }
    }
    in_block(&function.body, text)
}

fn in_block(block: &naga::Block, text: &str) -> Result<(), Mistake> {
    for (statement, span) in block.span_iter() {
        if let Some(what) = unknown_statement(statement) {
            return Err(Mistake::refused_at(Refusal::Feature(what.into()), *span, text));
        }
        walk::blocks(statement).into_iter().try_for_each(|inner| in_block(inner, text))?;
    }
    Ok(())
}

fn unknown_expression(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Literal(_)
        | Expression::Constant(_)
        | Expression::ZeroValue(_)
        | Expression::Compose { .. }
        | Expression::Access { .. }
        | Expression::AccessIndex { .. }
        | Expression::Splat { .. }
        | Expression::Swizzle { .. }
        | Expression::FunctionArgument(_)
        | Expression::GlobalVariable(_)
        | Expression::LocalVariable(_)
        | Expression::Load { .. }
        | Expression::Unary { .. }
        | Expression::Binary { .. }
        | Expression::Select { .. }
        | Expression::Relational { .. }
        | Expression::As { .. }
        | Expression::CallResult(_)
        | Expression::AtomicResult { .. }
        | Expression::WorkGroupUniformLoadResult { .. }
        | Expression::ArrayLength(_) => None,
        Expression::Math { fun, .. } => (!is_known(*fun)).then(|| format!("the function {fun:?}")),
        _ => Some("this expression".into()),
    }
}

/// The functions whose meaning is the same everywhere, or within the tolerances of WGSL. Left out: those that give
/// structures, those on halves, and packed ones whose rounding is a device's own.
fn is_known(fun: Fun) -> bool {
    !matches!(
        fun,
        Fun::Modf
            | Fun::Frexp
            | Fun::Ldexp
            | Fun::QuantizeToF16
            | Fun::Inverse
            | Fun::Determinant
            | Fun::Outer
            | Fun::FaceForward
            | Fun::Refract
            | Fun::Dot4I8Packed
            | Fun::Dot4U8Packed
            | Fun::Pack4x8snorm
            | Fun::Pack4x8unorm
            | Fun::Pack2x16snorm
            | Fun::Pack2x16unorm
            | Fun::Pack2x16float
            | Fun::Pack4xI8
            | Fun::Pack4xU8
            | Fun::Pack4xI8Clamp
            | Fun::Pack4xU8Clamp
            | Fun::Unpack4x8snorm
            | Fun::Unpack4x8unorm
            | Fun::Unpack2x16snorm
            | Fun::Unpack2x16unorm
            | Fun::Unpack2x16float
            | Fun::Unpack4xI8
            | Fun::Unpack4xU8
    )
}

fn unknown_statement(statement: &Statement) -> Option<&'static str> {
    match statement {
        Statement::Emit(_)
        | Statement::Block(_)
        | Statement::If { .. }
        | Statement::Switch { .. }
        | Statement::Loop { .. }
        | Statement::Break
        | Statement::Continue
        | Statement::Return { .. }
        | Statement::ControlBarrier(_)
        | Statement::MemoryBarrier(_)
        | Statement::Store { .. }
        | Statement::Atomic { .. }
        | Statement::WorkGroupUniformLoad { .. }
        | Statement::Call { .. } => None,
        Statement::SubgroupBallot { .. }
        | Statement::SubgroupGather { .. }
        | Statement::SubgroupCollectiveOperation { .. } => Some("a subgroup operation"),
        _ => Some("this statement"),
    }
}
