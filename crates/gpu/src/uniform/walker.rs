//! One walk through a function, which demotes what it finds not to be uniform.

use naga::{Block, Expression, Function, Handle, Module, Span, Statement, valid::ModuleInfo};

use super::{
    Found, Seed,
    exits::{self, Exits},
    values,
};
use crate::walk::{self, Root};

pub(super) struct Walker<'a> {
    function: &'a Function,
    number: usize,
    found: &'a mut Found,
    /// Whether each expression is uniform, by what is known at the start of the walk.
    values: Vec<bool>,
    changed: bool,
    loops: usize,
    /// Whether what stands in the wrong place is told: not before all is known.
    tells: bool,
    module: &'a Module,
}

impl<'a> Walker<'a> {
    pub(super) fn new(
        module: &'a Module,
        info: &'a ModuleInfo,
        function: &'a Function,
        number: usize,
        found: &'a mut Found,
        seed: Seed,
        tells: bool,
    ) -> Self {
        let values = values::evaluate(module, info, function, number, &found.facts, &found.globals, seed);
        Self { module, function, number, found, values, changed: false, loops: 0, tells }
    }

    /// Gives whether something was demoted.
    pub(super) fn run(mut self) -> bool {
        self.found.facts[self.number].loops.clear();
        let together = self.found.facts[self.number].called_uniformly;
        let function = self.function;
        self.block(&function.body, together);
        self.changed
    }

    fn block(&mut self, block: &Block, mut together: bool) -> Exits {
        let mut left = Exits::default();
        for (statement, span) in block.span_iter() {
            let exits = self.statement(statement, *span, together);
            left.breaks |= exits.breaks;
            left.continues |= exits.continues;
            left.returns |= exits.returns;
            together &= !exits.any();
        }
        left
    }

    /// Gives the exits of the statement: after any of them, invocations go on apart.
    fn statement(&mut self, statement: &Statement, span: Span, together: bool) -> Exits {
        let none = Exits::default();
        match statement {
            Statement::Block(block) => self.block(block, together),
            Statement::If { condition, accept, reject } => {
                let together = together && self.is(*condition);
                let (accepted, rejected) = (self.block(accept, together), self.block(reject, together));
                Exits {
                    breaks: accepted.breaks || rejected.breaks,
                    continues: accepted.continues || rejected.continues,
                    returns: accepted.returns || rejected.returns,
                }
            }
            Statement::Switch { selector, cases } => {
                let together = together && self.is(*selector);
                let mut all = none;
                for case in cases {
                    let exits = self.block(&case.body, together);
                    all.continues |= exits.continues;
                    all.returns |= exits.returns;
                }
                exits::of_switch(all)
            }
            Statement::Loop { body, continuing, break_if } => {
                let number = self.loops;
                self.loops += 1;
                let (stays, exits) =
                    exits::of_loop(body, continuing, *break_if, together, &|condition| self.is(condition));
                if stays {
                    self.found.facts[self.number].loops.insert(number);
                }
                self.block(body, stays);
                self.block(continuing, stays);
                Exits { returns: exits.returns, ..none }
            }
            Statement::Break => Exits { breaks: !together, ..none },
            Statement::Continue => Exits { continues: !together, ..none },
            Statement::Return { value } => {
                let uniform = together && value.is_none_or(|value| self.is(value));
                let result = &mut self.found.facts[self.number].result;
                self.changed |= *result && !uniform;
                *result &= uniform;
                Exits { returns: !together, ..none }
            }
            Statement::Store { pointer, value } => {
                if !together || !self.is(*value) || !self.has_uniform_indices(*pointer) {
                    self.demote(*pointer);
                }
                none
            }
            // What an atomic holds in the end does not depend on the order; which invocation takes part, and with what,
            // can.
            Statement::Atomic { pointer, value, .. } => {
                if !together || !self.is(*value) || !self.has_uniform_indices(*pointer) {
                    self.demote(*pointer);
                }
                none
            }
            Statement::ControlBarrier(_) => self.barrier("a barrier", span, together),
            Statement::WorkGroupUniformLoad { .. } => self.barrier("workgroupUniformLoad", span, together),
            Statement::Call { function, arguments, .. } => {
                self.call(*function, arguments, together);
                none
            }
            _ => none,
        }
    }

    fn barrier(&mut self, what: &'static str, span: Span, together: bool) -> Exits {
        if self.tells && !together {
            self.found.divergent.push((what, span));
        }
        Exits::default()
    }

    fn call(&mut self, callee: Handle<Function>, arguments: &[Handle<Expression>], together: bool) {
        debug_assert!(callee.index() < self.module.functions.len());
        for (number, argument) in arguments.iter().enumerate() {
            let written = self.found.facts[callee.index()].dirty[number];
            if written || (self.is_pointer(*argument) && !self.has_uniform_indices(*argument)) {
                self.demote(*argument);
            }
            if !self.is(*argument) {
                let known = &mut self.found.facts[callee.index()].arguments[number];
                self.changed |= *known;
                *known = false;
            }
        }
        if !together {
            let known = &mut self.found.facts[callee.index()].called_uniformly;
            self.changed |= *known;
            *known = false;
        }
    }

    fn is(&self, expression: Handle<Expression>) -> bool {
        self.values[expression.index()]
    }

    fn is_pointer(&self, expression: Handle<Expression>) -> bool {
        walk::root(&self.function.expressions, expression).is_some()
    }

    fn demote(&mut self, pointer: Handle<Expression>) {
        let mine = &mut self.found.facts[self.number];
        let (known, worst) = match walk::root(&self.function.expressions, pointer) {
            Some(Root::Local(variable)) => (&mut mine.locals[variable.index()], false),
            Some(Root::Global(variable)) => (&mut self.found.globals[variable.index()], false),
            Some(Root::Argument(number)) => (&mut mine.dirty[number as usize], true),
            None => return,
        };
        self.changed |= *known != worst;
        *known = worst;
    }

    /// Whether all invocations write to the same place.
    fn has_uniform_indices(&self, mut pointer: Handle<Expression>) -> bool {
        loop {
            match self.function.expressions[pointer] {
                Expression::Access { index, .. } if !self.is(index) => return false,
                Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => pointer = base,
                _ => return true,
            }
        }
    }
}
