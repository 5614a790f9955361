//! Puts the functions of `floats.wgsl` into a module.

use naga::{Arena, Expression, Function, GlobalVariable, Handle, Module, Span, Statement, Type};

/// Puts the functions before the module's own, and gives their names. The module's own stay in their order behind them.
pub(super) fn functions(
    module: &mut Module,
    zero: Handle<GlobalVariable>,
) -> Vec<(String, Handle<Function>)> {
    let library = naga::front::wgsl::parse_str(include_str!("floats.wgsl")).expect("floats.wgsl is WGSL");
    let own = std::mem::take(&mut module.functions);
    let mut types = |ty: Handle<Type>| module.types.insert(library.types[ty].clone(), Span::UNDEFINED);
    let mut functions = Arena::new();
    let mut names: Vec<(String, Handle<Function>)> = Vec::new();
    for (_, function) in library.functions.iter() {
        let mut function = function.clone();
        function.arguments.iter_mut().for_each(|argument| argument.ty = types(argument.ty));
        function.result.iter_mut().for_each(|result| result.ty = types(result.ty));
        function.local_variables.iter_mut().for_each(|(_, variable)| variable.ty = types(variable.ty));
        for (_, expression) in function.expressions.iter_mut() {
            match expression {
                Expression::GlobalVariable(variable) => *variable = zero,
                Expression::CallResult(callee) => *callee = names[callee.index()].1,
                // It has one global variable and scalars; constants of it would be of another arena.
                Expression::Constant(constant) => {
                    *expression = library.global_expressions[library.constants[*constant].init].clone();
                }
                _ => {}
            }
        }
        // Nothing in it branches.
        for statement in function.body.iter_mut() {
            if let Statement::Call { function, .. } = statement {
                *function = names[function.index()].1;
            }
        }
        let name = function.name.clone().unwrap_or_default();
        function.name = Some(format!("tidemill_{name}"));
        let handle = functions.append(function, Span::UNDEFINED);
        names.push((name, handle));
    }
    for (_, function) in own.iter() {
        functions.append(function.clone(), Span::UNDEFINED);
    }
    module.functions = functions;
    names
}
