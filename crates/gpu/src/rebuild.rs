//! Writes a function anew, expression by expression, so that a pass can put something in the place of any of them.
//!
//! naga's expressions are computed where a range of them is emitted, so what comes before an expression cannot be added
//! at the end of its arena; and a call or a literal may not stand inside such a range. The builder takes care of both.

use naga::{
    Arena, AtomicFunction, Block, Expression, Function, Handle, Literal, Span, Statement, SwitchCase,
    valid::FunctionInfo,
};

use crate::walk;

/// A function that is being written anew.
pub(crate) struct Builder<'a> {
    /// What it was.
    pub(crate) old: &'a Function,
    /// What is known of the old expressions.
    pub(crate) info: &'a FunctionInfo,
    expressions: Arena<Expression>,
    /// The new expression for each old one that has been met.
    new: Vec<Option<Handle<Expression>>>,
    block: Block,
    /// Where the expressions begin that no statement emits yet.
    pending: usize,
    literals: Vec<(Literal, Handle<Expression>)>,
    /// Where the next function handles point: how many functions were put before those of the old module.
    shift: &'a dyn Fn(Handle<Function>) -> Handle<Function>,
    span: Span,
}

/// Puts something in the place of an old expression: gives the new one, or none to copy the old one.
pub(crate) type Rewrite<'a> =
    dyn FnMut(&mut Builder<'_>, Handle<Expression>) -> Option<Handle<Expression>> + 'a;

/// Writes a function anew; `shift` tells where functions went.
pub(crate) fn rebuild(
    old: &Function,
    info: &FunctionInfo,
    shift: &dyn Fn(Handle<Function>) -> Handle<Function>,
    rewrite: &mut Rewrite<'_>,
) -> Function {
    let mut builder = Builder {
        old,
        info,
        expressions: Arena::new(),
        new: vec![None; old.expressions.len()],
        block: Block::new(),
        pending: 0,
        literals: Vec::new(),
        shift,
        span: Span::UNDEFINED,
    };
    let mut computed = vec![false; old.expressions.len()];
    walk::each(&old.body, &mut |statement| match statement {
        Statement::Emit(range) => range.clone().for_each(|handle| computed[handle.index()] = true),
        Statement::Call { result, .. } | Statement::Atomic { result, .. } => {
            result.iter().for_each(|handle| computed[handle.index()] = true);
        }
        Statement::WorkGroupUniformLoad { result, .. } => computed[result.index()] = true,
        _ => {}
    });
    for (handle, expression) in old.expressions.iter() {
        if !computed[handle.index()] {
            builder.span = old.expressions.get_span(handle);
            // What is constant and never emitted depends only on what is so too.
            if let Some(copy) = builder.try_copy(expression) {
                let new = builder.append(copy);
                builder.new[handle.index()] = Some(new);
            }
        }
    }
    builder.pending = builder.expressions.len();
    let body = builder.rebuild_block(&old.body, rewrite);
    let mut local_variables = old.local_variables.clone();
    for (_, variable) in local_variables.iter_mut() {
        variable.init = variable.init.map(|init| builder.to(init));
    }
    let named = old.named_expressions.iter();
    let named_expressions =
        named.filter_map(|(handle, name)| Some((builder.new[handle.index()]?, name.clone()))).collect();
    Function {
        name: old.name.clone(),
        arguments: old.arguments.clone(),
        result: old.result.clone(),
        local_variables,
        expressions: builder.expressions,
        named_expressions,
        body,
        diagnostic_filter_leaf: old.diagnostic_filter_leaf,
    }
}

impl Builder<'_> {
    /// The new expression for an old one.
    pub(crate) fn to(&self, old: Handle<Expression>) -> Handle<Expression> {
        self.new[old.index()].expect("an expression comes after those that it uses")
    }

    /// An expression that is computed here.
    pub(crate) fn emit(&mut self, expression: Expression) -> Handle<Expression> {
        self.append(expression)
    }

    /// A literal, which needs not be computed.
    pub(crate) fn literal(&mut self, literal: Literal) -> Handle<Expression> {
        if let Some((_, handle)) = self.literals.iter().find(|(known, _)| *known == literal) {
            return *handle;
        }
        let handle = self.unemitted(Expression::Literal(literal));
        self.literals.push((literal, handle));
        handle
    }

    /// An expression that may not be emitted: a variable, a literal, a result.
    pub(crate) fn unemitted(&mut self, expression: Expression) -> Handle<Expression> {
        self.flush();
        let handle = self.append(expression);
        self.pending = self.expressions.len();
        handle
    }

    /// Calls a function of the new module.
    pub(crate) fn call(
        &mut self,
        function: Handle<Function>,
        arguments: Vec<Handle<Expression>>,
    ) -> Handle<Expression> {
        let result = self.unemitted(Expression::CallResult(function));
        self.block.push(Statement::Call { function, arguments, result: Some(result) }, self.span);
        result
    }

    fn append(&mut self, expression: Expression) -> Handle<Expression> {
        self.expressions.append(expression, self.span)
    }

    fn flush(&mut self) {
        if self.expressions.len() > self.pending {
            let range = self.expressions.range_from(self.pending);
            self.block.push(Statement::Emit(range), Span::UNDEFINED);
            self.pending = self.expressions.len();
        }
    }

    fn rebuild_block(&mut self, old: &Block, rewrite: &mut Rewrite<'_>) -> Block {
        let outer = std::mem::take(&mut self.block);
        for (statement, span) in old.span_iter() {
            self.span = *span;
            self.statement(statement, *span, rewrite);
        }
        self.flush();
        std::mem::replace(&mut self.block, outer)
    }

    fn statement(&mut self, statement: &Statement, span: Span, rewrite: &mut Rewrite<'_>) {
        if let Statement::Emit(range) = statement {
            for handle in range.clone() {
                self.span = self.old.expressions.get_span(handle);
                let new = rewrite(self, handle).unwrap_or_else(|| {
                    let copy = self.try_copy(&self.old.expressions[handle]);
                    self.append(copy.expect("an expression comes after those that it uses"))
                });
                self.new[handle.index()] = Some(new);
            }
            // Ranges stay apart as they were, so that lowering stays as close as it can to the text's.
            self.flush();
            return;
        }
        let new = match statement {
            Statement::Block(block) => Statement::Block(self.rebuild_block(block, rewrite)),
            Statement::If { condition, accept, reject } => Statement::If {
                condition: self.to(*condition),
                accept: self.rebuild_block(accept, rewrite),
                reject: self.rebuild_block(reject, rewrite),
            },
            Statement::Switch { selector, cases } => Statement::Switch {
                selector: self.to(*selector),
                cases: cases
                    .iter()
                    .map(|case| SwitchCase { body: self.rebuild_block(&case.body, rewrite), ..case.clone() })
                    .collect(),
            },
            Statement::Loop { body, continuing, break_if } => Statement::Loop {
                body: self.rebuild_block(body, rewrite),
                continuing: self.rebuild_block(continuing, rewrite),
                break_if: break_if.map(|condition| self.to(condition)),
            },
            Statement::Return { value } => Statement::Return { value: value.map(|value| self.to(value)) },
            Statement::Store { pointer, value } => {
                Statement::Store { pointer: self.to(*pointer), value: self.to(*value) }
            }
            Statement::Atomic { pointer, fun, value, result } => {
                let fun = match fun {
                    AtomicFunction::Exchange { compare } => {
                        AtomicFunction::Exchange { compare: compare.map(|compare| self.to(compare)) }
                    }
                    other => *other,
                };
                let (pointer, value) = (self.to(*pointer), self.to(*value));
                let result = result.map(|result| self.result(result));
                Statement::Atomic { pointer, fun, value, result }
            }
            Statement::WorkGroupUniformLoad { pointer, result } => {
                Statement::WorkGroupUniformLoad { pointer: self.to(*pointer), result: self.result(*result) }
            }
            Statement::Call { function, arguments, result } => {
                let arguments = arguments.iter().map(|argument| self.to(*argument)).collect();
                let result = result.map(|result| self.result(result));
                Statement::Call { function: (self.shift)(*function), arguments, result }
            }
            other => other.clone(),
        };
        self.block.push(new, span);
    }

    /// The new expression for the result of a statement.
    fn result(&mut self, old: Handle<Expression>) -> Handle<Expression> {
        let copy = self.try_copy(&self.old.expressions[old]).expect("a result uses nothing");
        let new = self.unemitted(copy);
        self.new[old.index()] = Some(new);
        new
    }

    /// The expression with its parts replaced by the new ones; none if one of them has not been met.
    fn try_copy(&self, expression: &Expression) -> Option<Expression> {
        let mut copy = expression.clone();
        let mut missing = false;
        let mut replace = |part: &mut Handle<Expression>| match self.new[part.index()] {
            Some(new) => *part = new,
            None => missing = true,
        };
        match &mut copy {
            Expression::Compose { components, .. } => components.iter_mut().for_each(replace),
            Expression::Access { base, index } => {
                replace(base);
                replace(index);
            }
            Expression::AccessIndex { base, .. } => replace(base),
            Expression::Splat { value, .. } => replace(value),
            Expression::Swizzle { vector, .. } => replace(vector),
            Expression::Load { pointer } => replace(pointer),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => replace(expr),
            Expression::Binary { left, right, .. } => {
                replace(left);
                replace(right);
            }
            Expression::Select { condition, accept, reject } => {
                [condition, accept, reject].into_iter().for_each(replace)
            }
            Expression::Relational { argument, .. } => replace(argument),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                replace(arg);
                [arg1, arg2, arg3].into_iter().flatten().for_each(replace);
            }
            Expression::ArrayLength(array) => replace(array),
            Expression::CallResult(function) => *function = (self.shift)(*function),
            // The rules have let through nothing else that has parts.
            _ => {}
        }
        (!missing).then_some(copy)
    }
}
