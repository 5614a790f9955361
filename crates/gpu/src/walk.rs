//! Ways through naga's IR that several passes take.

use naga::{Arena, Block, Expression, Function, GlobalVariable, Handle, LocalVariable, Module, Statement};

/// The variable that a pointer leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Root {
    Local(Handle<LocalVariable>),
    Global(Handle<GlobalVariable>),
    /// The pointer is an argument of the function.
    Argument(u32),
}

/// The variable that a pointer leads to; none for what is not a pointer.
pub(crate) fn root(expressions: &Arena<Expression>, mut at: Handle<Expression>) -> Option<Root> {
    loop {
        match expressions[at] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => at = base,
            Expression::LocalVariable(variable) => return Some(Root::Local(variable)),
            Expression::GlobalVariable(variable) => return Some(Root::Global(variable)),
            Expression::FunctionArgument(number) => return Some(Root::Argument(number)),
            _ => return None,
        }
    }
}

/// The blocks that stand in a statement.
pub(crate) fn blocks(statement: &Statement) -> Vec<&Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        _ => Vec::new(),
    }
}

/// Visits the statements of a block and of the blocks in it, outer ones first.
pub(crate) fn each<'a>(block: &'a Block, visit: &mut impl FnMut(&'a Statement)) {
    for statement in block {
        visit(statement);
        for inner in blocks(statement) {
            each(inner, visit);
        }
    }
}

/// How deep the blocks of a block nest.
pub(crate) fn depth(block: &Block) -> u64 {
    let inner = |statement| blocks(statement).into_iter().map(depth).max();
    block.iter().filter_map(inner).max().map_or(1, |inner| inner + 1)
}

/// The functions of a module in its order, callees before callers, and its entry point as the last.
pub(crate) fn functions(module: &Module) -> Vec<&Function> {
    let functions = module.functions.iter().map(|(_, function)| function);
    functions.chain(module.entry_points.iter().map(|entry| &entry.function)).collect()
}
