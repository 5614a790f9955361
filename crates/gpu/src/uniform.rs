//! What is the same for a whole workgroup, and what is the same whenever a program runs again.
//!
//! naga checks neither, so a barrier that only some invocations reach would get through it, and on a GPU hang or corrupt
//! what follows. The analysis does not follow the order of statements: a variable is either uniform wherever it is used,
//! or nowhere. It begins with everything uniform and demotes until nothing changes, which gives the largest set.

mod exits;
mod values;
mod walker;

use std::collections::BTreeSet;

use naga::{AtomicFunction, Binding, BuiltIn, Function, Module, Span, Statement, valid::ModuleInfo};

use crate::walk;
use walker::Walker;

/// What makes a value differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seed {
    /// That another invocation of the workgroup computes it.
    Invocation,
    /// That invocations meet at atomics in another order.
    Order,
    /// That another device rounds floats differently.
    Floats,
}

/// What is known of a module with one entry point.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Uniformity {
    /// For each function, the entry point last: the loops, by their order in the function, that all invocations of a
    /// workgroup enter together and leave together.
    pub(crate) loops: Vec<BTreeSet<usize>>,
    /// Whether there is a barrier at all.
    pub(crate) barriers: bool,
    /// Barriers that only some invocations may reach.
    pub(crate) divergent: Vec<(&'static str, Span)>,
    /// Whether fuel can depend on the order in which invocations meet at atomics.
    pub(crate) fuel_meets_order: bool,
    /// Whether outputs can.
    pub(crate) output_meets_order: bool,
    /// Whether fuel can depend on how floats are rounded.
    pub(crate) fuel_meets_floats: bool,
}

/// What is believed of a function until something demotes it.
#[derive(Debug)]
struct Facts {
    /// Local variables that are uniform.
    locals: Vec<bool>,
    /// Arguments that are; for a pointer: what it points to.
    arguments: Vec<bool>,
    /// Pointers among the arguments through which something that is not uniform may be written.
    dirty: Vec<bool>,
    /// Whether all calls are in uniform flow.
    called_uniformly: bool,
    /// Whether what it returns is.
    result: bool,
    loops: BTreeSet<usize>,
}

struct Found {
    facts: Vec<Facts>,
    globals: Vec<bool>,
    divergent: Vec<(&'static str, Span)>,
}

/// Analyses a module with one entry point.
pub(crate) fn analyse(module: &Module, info: &ModuleInfo) -> Uniformity {
    let functions = walk::functions(module);
    let mut barriers = false;
    for function in &functions {
        walk::each(&function.body, &mut |statement| {
            barriers |=
                matches!(statement, Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. });
        });
    }
    let invocation = fixpoint(module, info, &functions, Seed::Invocation);
    let order = fixpoint(module, info, &functions, Seed::Order);
    let floats = fixpoint(module, info, &functions, Seed::Floats);
    let all_loops = |found: &Found| {
        functions.iter().zip(&found.facts).all(|(function, facts)| count_loops(function) == facts.loops.len())
    };
    let writable = |found: &Found| {
        module.global_variables.iter().zip(&found.globals).any(|((_, variable), &same)| {
            !same && matches!(variable.space, naga::AddressSpace::Storage { .. })
        })
    };
    Uniformity {
        barriers,
        fuel_meets_order: !all_loops(&order),
        output_meets_order: writable(&order) || mixes_atomics(module, &functions),
        fuel_meets_floats: !all_loops(&floats),
        divergent: invocation.divergent,
        loops: invocation.facts.into_iter().map(|facts| facts.loops).collect(),
    }
}

fn fixpoint(module: &Module, info: &ModuleInfo, functions: &[&Function], seed: Seed) -> Found {
    let facts = functions.iter().map(|function| Facts {
        locals: vec![true; function.local_variables.len()],
        arguments: vec![true; function.arguments.len()],
        dirty: vec![false; function.arguments.len()],
        called_uniformly: true,
        result: true,
        loops: BTreeSet::new(),
    });
    let mut found = Found {
        facts: facts.collect(),
        globals: vec![true; module.global_variables.len()],
        divergent: Vec::new(),
    };
    if let (Seed::Invocation, Some(entry)) = (seed, found.facts.last_mut()) {
        let arguments = &functions[functions.len() - 1].arguments;
        for (fact, argument) in entry.arguments.iter_mut().zip(arguments) {
            *fact = is_uniform(argument.binding.as_ref());
        }
    }
    // Callers stand after their callees, and their arguments decide what is known of those.
    loop {
        let mut changed = false;
        for (number, function) in functions.iter().enumerate().rev() {
            changed |= Walker::new(module, info, function, number, &mut found, seed, false).run();
        }
        if !changed {
            break;
        }
    }
    for (number, function) in functions.iter().enumerate() {
        Walker::new(module, info, function, number, &mut found, seed, true).run();
    }
    found
}

fn is_uniform(binding: Option<&Binding>) -> bool {
    matches!(
        binding,
        Some(Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups | BuiltIn::WorkGroupSize))
    )
}

fn count_loops(function: &Function) -> usize {
    let mut loops = 0;
    walk::each(&function.body, &mut |statement| {
        loops += usize::from(matches!(statement, Statement::Loop { .. }))
    });
    loops
}

/// Whether a variable's atomics are changed in ways of which the last, or the order of two, decides.
fn mixes_atomics(module: &Module, functions: &[&Function]) -> bool {
    let mut kinds: Vec<Option<std::mem::Discriminant<AtomicFunction>>> =
        vec![None; module.global_variables.len()];
    let mut mixed = false;
    for function in functions {
        walk::each(&function.body, &mut |statement| match statement {
            Statement::Atomic { fun: AtomicFunction::Exchange { .. }, .. } => mixed = true,
            Statement::Atomic { pointer, fun, .. } => {
                // Subtracting is adding.
                let fun = if *fun == AtomicFunction::Subtract { AtomicFunction::Add } else { *fun };
                let kind = std::mem::discriminant(&fun);
                match walk::root(&function.expressions, *pointer) {
                    Some(walk::Root::Global(variable)) => {
                        mixed |= kinds[variable.index()].replace(kind).is_some_and(|other| other != kind);
                    }
                    _ => mixed = true,
                }
            }
            Statement::Store { pointer, .. } => {
                let Some(walk::Root::Global(variable)) = walk::root(&function.expressions, *pointer) else {
                    return;
                };
                mixed |= values::has_atomic(module, module.global_variables[variable].ty);
            }
            _ => {}
        });
    }
    mixed
}

#[cfg(test)]
mod tests;
