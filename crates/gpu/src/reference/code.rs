//! A kernel laid out for the reference: where each expression of a function has its place.

use naga::{Expression, Function, Handle, Literal, Module, Statement, valid::FunctionInfo};

use super::shape::{self, Layout, Shape};
use crate::{layout::MOST_COPY, walk};

/// A function, and the layout of its frame. All places are in words of one invocation.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) function: Function,
    pub(super) shapes: Vec<Shape>,
    /// The type of each expression.
    pub(super) inners: Vec<naga::TypeInner>,
    /// Where the value of each expression is.
    pub(super) places: Vec<usize>,
    /// For what is loaded or stored: where its scalars lie in the variable.
    pub(super) scalars: Vec<Vec<usize>>,
    /// For a pointer: how far into its variable it leads, if that is always the same.
    pub(super) fixed: Vec<Option<usize>>,
    /// Which expressions are arguments, and which ones.
    pub(super) arguments: Vec<(Handle<Expression>, usize)>,
    /// Where each local variable is, and how long.
    pub(super) locals: Vec<(usize, usize)>,
    /// Where the value is that the function returns.
    pub(super) result: usize,
    pub(super) result_words: usize,
    /// What is the same in each call.
    pub(super) constants: Vec<(usize, Vec<u32>)>,
    /// Constants that are made of others.
    pub(super) composed: Vec<Handle<Expression>>,
    pub(super) frame: usize,
}

impl Code {
    pub(super) fn new(module: &Module, info: &FunctionInfo, function: &Function) -> Self {
        let mut frame = 0;
        let mut take = |words: usize| {
            let at = frame;
            frame += words;
            at
        };
        // Variables come first: what is computed lies behind what it is computed from.
        let locals: Vec<_> = function
            .local_variables
            .iter()
            .map(|(_, variable)| {
                let words = shape::size(module, &module.types[variable.ty].inner, Layout::Packed);
                (take(words), words)
            })
            .collect();
        let result_words = function
            .result
            .as_ref()
            .map_or(0, |result| shape::size(module, &module.types[result.ty].inner, Layout::Packed));
        let result = take(result_words);
        let shapes: Vec<Shape> =
            function.expressions.iter().map(|(handle, _)| Shape::of(module, info, handle)).collect();
        let inners =
            function.expressions.iter().map(|(handle, _)| info[handle].ty.inner_with(&module.types).clone());
        let places: Vec<usize> = shapes.iter().map(|shape| take(shape.words)).collect();
        let scalars = shapes.iter().map(|shape| match &shape.pointer {
            // Nothing longer is copied at once.
            Some(target) if shape::size(module, &target.inner, Layout::Packed) <= MOST_COPY as usize => {
                shape::scalars(module, &target.inner, Layout::of(target.space))
            }
            _ => Vec::new(),
        });
        let mut fixed: Vec<Option<usize>> = Vec::new();
        let mut arguments = Vec::new();
        for (handle, expression) in function.expressions.iter() {
            fixed.push(match expression {
                Expression::LocalVariable(_) | Expression::GlobalVariable(_) => Some(0),
                Expression::AccessIndex { base, index } => {
                    let target = shapes[base.index()].pointer.as_ref();
                    fixed[base.index()].zip(target).map(|(at, target)| {
                        at + shape::offset(module, &target.inner, *index, Layout::of(target.space))
                    })
                }
                _ => None,
            });
            if let Expression::FunctionArgument(number) = expression {
                arguments.push((handle, *number as usize));
            }
        }
        let mut computed = vec![false; function.expressions.len()];
        walk::each(&function.body, &mut |statement| match statement {
            Statement::Emit(range) => range.clone().for_each(|handle| computed[handle.index()] = true),
            Statement::Call { result, .. } | Statement::Atomic { result, .. } => {
                result.iter().for_each(|handle| computed[handle.index()] = true);
            }
            Statement::WorkGroupUniformLoad { result, .. } => computed[result.index()] = true,
            _ => {}
        });
        // A variable's initial value is constant, and there before anything is emitted.
        for (_, variable) in function.local_variables.iter() {
            variable.init.into_iter().for_each(|init| is_needed(function, init, &mut computed));
        }
        let mut constants = Vec::new();
        let mut composed = Vec::new();
        for (handle, expression) in function.expressions.iter() {
            match expression {
                _ if computed[handle.index()] => {}
                Expression::Literal(_) | Expression::Constant(_) | Expression::ZeroValue(_) => {
                    constants.push((places[handle.index()], constant(module, expression)));
                }
                Expression::Compose { .. }
                | Expression::Splat { .. }
                | Expression::Swizzle { .. }
                | Expression::AccessIndex { .. }
                | Expression::Unary { .. }
                | Expression::Binary { .. }
                | Expression::As { .. }
                | Expression::Select { .. }
                | Expression::Math { .. } => composed.push(handle),
                _ => {}
            }
        }
        Self {
            scalars: scalars.collect(),
            function: function.clone(),
            inners: inners.collect(),
            shapes,
            places,
            fixed,
            arguments,
            locals,
            result,
            result_words,
            constants,
            composed,
            frame,
        }
    }
}

/// Takes a constant expression, and those that it is made of, from what is computed where it is emitted.
fn is_needed(function: &Function, handle: Handle<Expression>, computed: &mut [bool]) {
    computed[handle.index()] = false;
    match &function.expressions[handle] {
        Expression::Compose { components, .. } => {
            components.iter().for_each(|part| is_needed(function, *part, computed));
        }
        Expression::Splat { value, .. } => is_needed(function, *value, computed),
        Expression::Swizzle { vector, .. } => is_needed(function, *vector, computed),
        _ => {}
    }
}

/// The scalars of a constant of the module.
pub(super) fn constant(module: &Module, expression: &Expression) -> Vec<u32> {
    let of = |handle: Handle<Expression>| constant(module, &module.global_expressions[handle]);
    match expression {
        Expression::Literal(literal) => vec![word(*literal)],
        Expression::Constant(constant) => of(module.constants[*constant].init),
        Expression::ZeroValue(ty) => vec![0; shape::size(module, &module.types[*ty].inner, Layout::Packed)],
        Expression::Compose { components, .. } => {
            components.iter().flat_map(|component| of(*component)).collect()
        }
        Expression::Splat { size, value } => of(*value).repeat(*size as usize),
        // naga has folded all others.
        _ => Vec::new(),
    }
}

fn word(literal: Literal) -> u32 {
    match literal {
        Literal::U32(value) => value,
        Literal::I32(value) => value.cast_unsigned(),
        Literal::F32(value) => value.to_bits(),
        Literal::Bool(value) => u32::from(value),
        // Rules and the validator let no other through.
        _ => 0,
    }
}
