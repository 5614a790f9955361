//! Which expressions are uniform, as far as is known of variables.

use naga::{
    AddressSpace, Expression, Function, Handle, Module, ScalarKind, StorageAccess, Type, TypeInner,
    valid::ModuleInfo,
};

use super::{Facts, Seed, is_uniform};

/// For each expression of a function: whether it is uniform.
pub(super) fn evaluate(
    module: &Module,
    info: &ModuleInfo,
    function: &Function,
    number: usize,
    facts: &[Facts],
    globals: &[bool],
    seed: Seed,
) -> Vec<bool> {
    let mine = &facts[number];
    let types = match module.functions.iter().nth(number) {
        Some((handle, _)) => &info[handle],
        None => info.get_entry_point(0),
    };
    let is_entry = number == module.functions.len();
    let mut known: Vec<bool> = Vec::with_capacity(function.expressions.len());
    for (handle, expression) in function.expressions.iter() {
        let is = |other: Handle<Expression>| known[other.index()];
        let uniform = match expression {
            Expression::Literal(_)
            | Expression::Constant(_)
            | Expression::Override(_)
            | Expression::ZeroValue(_)
            | Expression::ArrayLength(_)
            | Expression::WorkGroupUniformLoadResult { .. } => true,
            Expression::Compose { components, .. } => components.iter().all(|component| is(*component)),
            Expression::Access { base, index } => is(*base) && is(*index),
            Expression::AccessIndex { base, index } => {
                is(*base) || (is_entry && is_uniform_member(module, function, *base, *index))
            }
            Expression::Splat { value, .. } => is(*value),
            Expression::Swizzle { vector, .. } => is(*vector),
            Expression::FunctionArgument(argument) => mine.arguments[*argument as usize],
            Expression::LocalVariable(variable) => mine.locals[variable.index()],
            Expression::GlobalVariable(variable) => {
                let declared = &module.global_variables[*variable];
                let unchanged = globals[variable.index()];
                match (seed, declared.space) {
                    (Seed::Order, _) => unchanged && !has_atomic(module, declared.ty),
                    (Seed::Floats, _) => unchanged,
                    (Seed::Invocation, AddressSpace::Uniform) => true,
                    (Seed::Invocation, AddressSpace::Storage { access }) => {
                        !access.contains(StorageAccess::STORE)
                    }
                    (Seed::Invocation, AddressSpace::Private) => unchanged,
                    // Another invocation may have written workgroup memory meanwhile.
                    (Seed::Invocation, _) => false,
                }
            }
            Expression::Load { pointer } => is(*pointer),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => is(*expr),
            Expression::Binary { left, right, .. } => is(*left) && is(*right),
            Expression::Select { condition, accept, reject } => is(*condition) && is(*accept) && is(*reject),
            Expression::Relational { argument, .. } => is(*argument),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                is(*arg) && [arg1, arg2, arg3].into_iter().flatten().all(|argument| is(*argument))
            }
            Expression::CallResult(callee) => facts[callee.index()].result,
            Expression::AtomicResult { .. } => seed == Seed::Floats,
            // Rules refuse the rest before.
            _ => false,
        };
        // What is cast from a float is of it. What is loaded from memory that was written with one is caught by its root.
        let is_float = seed == Seed::Floats
            && types[handle].ty.inner_with(&module.types).scalar_kind() == Some(ScalarKind::Float)
            && !matches!(
                expression,
                Expression::Literal(_) | Expression::ZeroValue(_) | Expression::Constant(_)
            );
        known.push(uniform && !is_float);
    }
    known
}

/// Whether this is a member, of an entry point's argument, that holds a built-in value of the workgroup.
fn is_uniform_member(module: &Module, function: &Function, base: Handle<Expression>, index: u32) -> bool {
    let Expression::FunctionArgument(argument) = function.expressions[base] else { return false };
    let TypeInner::Struct { members, .. } = &module.types[function.arguments[argument as usize].ty].inner
    else {
        return false;
    };
    members.get(index as usize).is_some_and(|member| is_uniform(member.binding.as_ref()))
}

pub(super) fn has_atomic(module: &Module, ty: Handle<Type>) -> bool {
    match &module.types[ty].inner {
        TypeInner::Atomic(_) => true,
        TypeInner::Array { base, .. } => has_atomic(module, *base),
        TypeInner::Struct { members, .. } => members.iter().any(|member| has_atomic(module, member.ty)),
        _ => false,
    }
}
