//! How much of what a program holds.

use naga::{AddressSpace, Function, Module, ScalarKind, Statement, TypeInner, valid::ModuleInfo};

use crate::{
    mistake::{Mistake, Refusal},
    price, walk,
};

/// What an entry point may be once all calls are inlined, as drivers do, in words: code that is copied word by word
/// counts so. Drivers take longer than linear: with four times as much, a compiler took over a minute.
pub const MOST_CODE: u64 = 8_192;

/// What the variables of one invocation may fill, in bytes. GPUs keep them in registers as long as they can.
pub const MOST_VARIABLES: u64 = 16 << 10;

/// What may be copied at once, in words. Drivers unroll such copies.
pub const MOST_COPY: u64 = 256;

/// How deep blocks may nest, all calls inlined.
pub const MOST_NESTING: u64 = 64;

/// WebGPU's default for workgroup memory, in bytes.
pub const MOST_SHARED: u64 = 16 << 10;

/// WebGPU's default for the invocations of a workgroup.
pub const MOST_LANES: u64 = 256;

/// WebGPU's default for the last dimension of a workgroup.
pub const MOST_DEEP: u64 = 64;

/// The words that values and variables of a module fill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Words {
    /// By function, the entry point last, and by expression.
    pub(crate) expressions: Vec<Vec<u64>>,
    /// By function, the entry point last: its variables.
    pub(crate) locals: Vec<u64>,
    /// What each invocation has in common for its functions, and its share of zeroing workgroup memory.
    pub(crate) start: u64,
}

impl Words {
    pub(crate) fn of(module: &Module, info: &ModuleInfo) -> Self {
        let expressions = |function: &Function, info: &naga::valid::FunctionInfo| {
            let words = function
                .expressions
                .iter()
                .map(|(handle, _)| words(module, info[handle].ty.inner_with(&module.types)));
            words.collect()
        };
        let mut of_expressions: Vec<Vec<u64>> =
            module.functions.iter().map(|(handle, function)| expressions(function, &info[handle])).collect();
        let entries = module.entry_points.iter().enumerate();
        of_expressions.extend(
            entries.map(|(number, entry)| expressions(&entry.function, info.get_entry_point(number))),
        );
        let locals = walk::functions(module).into_iter().map(|function| {
            let words = function
                .local_variables
                .iter()
                .map(|(_, variable)| words(module, &module.types[variable.ty].inner));
            words.sum()
        });
        let lanes: u64 = module.entry_points.iter().map(lanes).sum();
        let shared = in_space(module, AddressSpace::WorkGroup);
        let start = in_space(module, AddressSpace::Private) + shared.div_ceil(lanes.max(1));
        Self { expressions: of_expressions, locals: locals.collect(), start }
    }
}

pub(crate) fn lanes(entry: &naga::EntryPoint) -> u64 {
    entry.workgroup_size.iter().map(|&size| u64::from(size)).product()
}

fn in_space(module: &Module, space: AddressSpace) -> u64 {
    let variables = module.global_variables.iter().filter(|(_, variable)| variable.space == space);
    variables.map(|(_, variable)| words(module, &module.types[variable.ty].inner)).sum()
}

/// The words that a value of this type fills, by its layout in memory; a pointer is one.
pub(crate) fn words(module: &Module, ty: &TypeInner) -> u64 {
    match ty {
        TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. } => 1,
        TypeInner::Scalar(scalar) if scalar.kind == ScalarKind::Bool => 1,
        ty => u64::from(ty.size(module.to_ctx())).div_ceil(4).max(1),
    }
}

/// What an entry point is once all calls are inlined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Inlined {
    code: u64,
    variables: u64,
    nesting: u64,
}

/// Refuses what would make a driver compile for long, or fill registers and memory. Gives the code in words.
pub(crate) fn check(module: &Module, words: &Words) -> Result<u64, Mistake> {
    let too_much = |what, found, most| Err(Mistake::refused(Refusal::Size { what, found, most }));
    let mut inlined: Vec<Inlined> = Vec::new();
    for (number, function) in walk::functions(module).into_iter().enumerate() {
        let sizes = &words.expressions[number];
        let mut copy = 0;
        let mut this = Inlined { code: 0, variables: 0, nesting: walk::depth(&function.body) };
        for (handle, expression) in function.expressions.iter() {
            let size = sizes[handle.index()];
            copy = copy.max(size);
            let moved = price::moved(expression, handle, &|handle| sizes[handle.index()]);
            this.code = this.code.saturating_add(moved);
        }
        let mut deepest_call = Inlined::default();
        walk::each(&function.body, &mut |statement| {
            let code = match statement {
                Statement::Store { value, .. } => sizes[value.index()],
                Statement::Switch { cases, .. } => cases.len() as u64,
                Statement::Call { function, .. } => {
                    let callee = inlined[function.index()];
                    deepest_call.variables = deepest_call.variables.max(callee.variables);
                    deepest_call.nesting = deepest_call.nesting.max(callee.nesting);
                    callee.code.saturating_add(1)
                }
                _ => 1,
            };
            this.code = this.code.saturating_add(code);
        });
        this.variables = words.locals[number].saturating_add(deepest_call.variables);
        this.nesting += deepest_call.nesting;
        if copy > MOST_COPY {
            return too_much("the largest value that is copied at once, in words,", copy, MOST_COPY);
        }
        inlined.push(this);
    }
    let whole = inlined.pop().unwrap_or_default();
    let entry = &module.entry_points[0];
    let variables = whole.variables.saturating_add(in_space(module, AddressSpace::Private)).saturating_mul(4);
    let shared = in_space(module, AddressSpace::WorkGroup).saturating_mul(4);
    let deep = u64::from(entry.workgroup_size[2]);
    for (what, found, most) in [
        ("the program, in words of code with all calls inlined,", whole.code, MOST_CODE),
        ("the size of one invocation's variables in bytes", variables, MOST_VARIABLES),
        ("the nesting of blocks, with all calls inlined,", whole.nesting, MOST_NESTING),
        ("the size of workgroup memory in bytes", shared, MOST_SHARED),
        ("the number of invocations in a workgroup", lanes(entry), MOST_LANES),
        ("the number of invocations of a workgroup in the third dimension", deep, MOST_DEEP),
    ] {
        if found > most {
            return too_much(what, found, most);
        }
    }
    Ok(whole.code)
}
