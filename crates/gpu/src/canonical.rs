//! Floats with the same bits on every device, by functions of our own in the place of the device's operations.
//!
//! A device may fuse `a * b + c`, reorder sums, flush subnormal numbers, take NaN and infinity for absent, and be off by
//! some units in all but `+`, `-` and `*`. The functions are WGSL themselves (`floats.wgsl`), and what is put into a program
//! is metered like the rest of it.

mod import;

use naga::{
    BinaryOperator as Op, Expression, Function, GlobalVariable, Handle, Literal, MathFunction as Fun, Module,
    Scalar, ScalarKind, TypeInner, UnaryOperator, VectorSize, valid::ModuleInfo,
};

use crate::{
    mistake::{Mistake, Refusal},
    rebuild::Builder,
    source,
};

/// The functions, put into a module before its own.
pub(crate) struct Canonical {
    functions: Vec<(String, Handle<Function>)>,
}

type Value = Handle<Expression>;
type Rewritten = Result<Option<Value>, Refusal>;

impl Canonical {
    /// Puts the functions into a module.
    pub(crate) fn put(module: &mut Module, zero: Handle<GlobalVariable>) -> Self {
        Self { functions: import::functions(module, zero) }
    }

    /// The new expression for one that devices compute differently.
    pub(crate) fn rewrite(&self, module: &Module, builder: &mut Builder<'_>, handle: Value) -> Rewritten {
        let mut rewrite = Rewrite { canonical: self, module, builder };
        rewrite.expression(handle)
    }

    fn function(&self, name: &str) -> Handle<Function> {
        let found = self.functions.iter().find(|(known, _)| known == name);
        found.expect("floats.wgsl has each function that is named here").1
    }
}

/// The same float in canonical form.
fn fixed(value: f32) -> f32 {
    if value.is_nan() {
        f32::from_bits(0x7fc0_0000)
    } else if value.abs() <= f32::MIN_POSITIVE {
        0.0
    } else {
        value
    }
}

struct Rewrite<'a, 'b> {
    canonical: &'a Canonical,
    module: &'a Module,
    builder: &'a mut Builder<'b>,
}

impl Rewrite<'_, '_> {
    fn expression(&mut self, handle: Value) -> Rewritten {
        let old = self.builder.old;
        if matches!(self.inner(handle), TypeInner::Matrix { .. }) {
            return Err(Refusal::Canonical("matrices as values".into()));
        }
        let is_float = |this: &Self, handle| this.inner(handle).scalar_kind() == Some(ScalarKind::Float);
        match old.expressions[handle] {
            Expression::Binary { op, left, right } if is_float(self, left) => {
                self.binary(handle, op, left, right)
            }
            Expression::Unary { op: UnaryOperator::Negate, expr } if is_float(self, expr) => {
                self.each(handle, "negate", &[expr])
            }
            Expression::Math { fun, arg, arg1, arg2, .. } if is_float(self, arg) => {
                let arguments: Vec<Value> = [Some(arg), arg1, arg2].into_iter().flatten().collect();
                self.math(handle, fun, &arguments)
            }
            Expression::As { expr, kind: ScalarKind::Float, convert } => {
                match (convert, self.inner(expr).scalar_kind()) {
                    (Some(_), Some(ScalarKind::Uint)) => self.each(handle, "from_u32", &[expr]),
                    (Some(_), Some(ScalarKind::Sint)) => self.each(handle, "from_i32", &[expr]),
                    (None, Some(ScalarKind::Uint | ScalarKind::Sint)) => {
                        let value = self.builder.to(expr);
                        let cast = Expression::As { expr: value, kind: ScalarKind::Float, convert: None };
                        let cast = self.builder.emit(cast);
                        self.admit(handle, cast)
                    }
                    _ => Ok(None),
                }
            }
            Expression::As { expr, kind, convert: Some(_) } if is_float(self, expr) => match kind {
                ScalarKind::Uint => self.each(handle, "to_u32", &[expr]),
                ScalarKind::Sint => self.each(handle, "to_i32", &[expr]),
                ScalarKind::Bool => {
                    let zero = self.builder.literal(Literal::F32(0.0));
                    let parts = self.size(handle).map_or(1, |size| size as usize);
                    let mut truths = Vec::new();
                    for part in 0..parts {
                        let part = self.part(expr, part);
                        truths.push(self.call("not_equal", &[part, zero]));
                    }
                    Ok(Some(self.join(handle, truths)))
                }
                _ => Ok(None),
            },
            Expression::Load { pointer } if is_float(self, handle) && !self.is_own(pointer) => {
                let pointer = self.builder.to(pointer);
                let value = self.builder.emit(Expression::Load { pointer });
                self.admit(handle, value)
            }
            // What a whole array or structure was read with is not looked at before.
            Expression::AccessIndex { base, index } if is_float(self, handle) && self.is_composite(base) => {
                let base = self.builder.to(base);
                let value = self.builder.emit(Expression::AccessIndex { base, index });
                self.admit(handle, value)
            }
            Expression::Access { base, .. } if is_float(self, handle) && self.is_composite(base) => {
                let value = crate::normal::rewrite(self.module, self.builder, handle);
                let value = value.expect("each index is clamped");
                self.admit(handle, value)
            }
            _ => Ok(None),
        }
    }

    fn inner(&self, handle: Value) -> &TypeInner {
        self.builder.info[handle].ty.inner_with(&self.module.types)
    }

    fn size(&self, handle: Value) -> Option<VectorSize> {
        match self.inner(handle) {
            TypeInner::Vector { size, .. } => Some(*size),
            _ => None,
        }
    }

    /// Whether a pointer leads to a whole variable of an invocation or of its workgroup, or to a component of one: what is
    /// stored there has been canonical before.
    fn is_own(&self, mut pointer: Value) -> bool {
        let expressions = &self.builder.old.expressions;
        if let Expression::Access { base, .. } | Expression::AccessIndex { base, .. } = expressions[pointer] {
            let is_vector = matches!(self.inner(base), TypeInner::ValuePointer { size: Some(_), .. })
                || matches!(self.inner(base), TypeInner::Pointer { base, .. }
                if matches!(self.module.types[*base].inner, TypeInner::Vector { .. }));
            if !is_vector {
                return false;
            }
            pointer = base;
        }
        match expressions[pointer] {
            Expression::LocalVariable(_) => true,
            Expression::GlobalVariable(variable) => matches!(
                self.module.global_variables[variable].space,
                naga::AddressSpace::Private | naga::AddressSpace::WorkGroup
            ),
            _ => false,
        }
    }

    fn is_composite(&self, base: Value) -> bool {
        matches!(self.inner(base), TypeInner::Array { .. } | TypeInner::Struct { .. })
    }

    fn binary(&mut self, handle: Value, op: Op, left: Value, right: Value) -> Rewritten {
        let is_matrix = |this: &Self, value| matches!(this.inner(value), TypeInner::Matrix { .. });
        if is_matrix(self, left) || is_matrix(self, right) {
            return Err(Refusal::Canonical("matrices as values".into()));
        }
        let name = match op {
            Op::Add => "add",
            Op::Subtract => "subtract",
            Op::Multiply => "multiply",
            Op::Divide => "divide",
            Op::Modulo => "remainder",
            Op::Equal => "equal",
            Op::NotEqual => "not_equal",
            Op::Less => "less",
            Op::LessEqual => "less_equal",
            Op::Greater => "greater",
            Op::GreaterEqual => "greater_equal",
            _ => return Ok(None),
        };
        self.each(handle, name, &[left, right])
    }

    fn math(&mut self, handle: Value, fun: Fun, arguments: &[Value]) -> Rewritten {
        let name = match fun {
            Fun::Abs => "abs_of",
            Fun::Min => "min_of",
            Fun::Max => "max_of",
            Fun::Clamp => "clamp_of",
            Fun::Saturate => "saturate_of",
            Fun::Cos => "cos_of",
            Fun::Cosh => "cosh_of",
            Fun::Sin => "sin_of",
            Fun::Sinh => "sinh_of",
            Fun::Tan => "tan_of",
            Fun::Tanh => "tanh_of",
            Fun::Acos => "acos_of",
            Fun::Asin => "asin_of",
            Fun::Atan => "atan_of",
            Fun::Atan2 => "atan2_of",
            Fun::Radians => "radians_of",
            Fun::Degrees => "degrees_of",
            Fun::Ceil => "ceil_of",
            Fun::Floor => "floor_of",
            Fun::Round => "round_of",
            Fun::Fract => "fract_of",
            Fun::Trunc => "trunc_of",
            Fun::Exp => "exp_of",
            Fun::Exp2 => "exp2_of",
            Fun::Log => "log_of",
            Fun::Log2 => "log2_of",
            Fun::Pow => "pow_of",
            Fun::Sign => "sign_of",
            Fun::Fma => "fma_of",
            Fun::Mix => "mix_of",
            Fun::Step => "step_of",
            Fun::SmoothStep => "smoothstep_of",
            Fun::Sqrt => "sqrt_of",
            Fun::InverseSqrt => "inverse_sqrt",
            Fun::Dot | Fun::Length | Fun::Distance | Fun::Normalize | Fun::Cross | Fun::Reflect => {
                return Ok(Some(self.geometry(handle, fun, arguments)));
            }
            other => return Err(Refusal::Canonical(format!("the function {other:?}"))),
        };
        self.each(handle, name, arguments)
    }

    fn geometry(&mut self, handle: Value, fun: Fun, arguments: &[Value]) -> Value {
        let parts = |this: &mut Self, value: Value| -> Vec<Value> {
            let size = this.size(value).map_or(1, |size| size as usize);
            (0..size).map(|part| this.part(value, part)).collect()
        };
        let a = parts(self, arguments[0]);
        let b = arguments.get(1).map(|b| parts(self, *b)).unwrap_or_default();
        let values = match fun {
            Fun::Dot => vec![self.dot(&a, &b)],
            Fun::Length => vec![self.length(&a)],
            Fun::Distance => {
                let apart: Vec<Value> =
                    a.iter().zip(&b).map(|(a, b)| self.call("subtract", &[*a, *b])).collect();
                vec![self.length(&apart)]
            }
            Fun::Normalize => {
                let length = self.length(&a);
                a.iter().map(|a| self.call("divide", &[*a, length])).collect()
            }
            Fun::Reflect => {
                let dot = self.dot(&b, &a);
                let twice = self.call("add", &[dot, dot]);
                let along: Vec<Value> = b.iter().map(|b| self.call("multiply", &[twice, *b])).collect();
                a.iter().zip(along).map(|(a, along)| self.call("subtract", &[*a, along])).collect()
            }
            _ => (0..3)
                .map(|at| {
                    let (next, last) = ((at + 1) % 3, (at + 2) % 3);
                    let one = self.call("multiply", &[a[next], b[last]]);
                    let other = self.call("multiply", &[a[last], b[next]]);
                    self.call("subtract", &[one, other])
                })
                .collect(),
        };
        self.join(handle, values)
    }

    fn dot(&mut self, a: &[Value], b: &[Value]) -> Value {
        let terms: Vec<Value> = a.iter().zip(b).map(|(a, b)| self.call("multiply", &[*a, *b])).collect();
        terms.into_iter().reduce(|sum, term| self.call("add", &[sum, term])).expect("a vector has parts")
    }

    fn length(&mut self, a: &[Value]) -> Value {
        let square = self.dot(a, a);
        self.call("sqrt_of", &[square])
    }

    /// A function on each part of a vector, or on a scalar; what is scalar among the arguments goes with each part.
    fn each(&mut self, handle: Value, name: &str, arguments: &[Value]) -> Rewritten {
        let parts = self.size(handle).map_or(1, |size| size as usize);
        let mut values = Vec::new();
        for part in 0..parts {
            let arguments: Vec<Value> = arguments.iter().map(|argument| self.part(*argument, part)).collect();
            values.push(self.call(name, &arguments));
        }
        Ok(Some(self.join(handle, values)))
    }

    /// A new float, or vector of them, made canonical.
    fn admit(&mut self, handle: Value, value: Value) -> Rewritten {
        let Some(size) = self.size(handle) else { return Ok(Some(self.call("admit", &[value]))) };
        let mut values = Vec::new();
        for index in 0..size as u32 {
            let part = self.builder.emit(Expression::AccessIndex { base: value, index });
            values.push(self.call("admit", &[part]));
        }
        Ok(Some(self.join(handle, values)))
    }

    /// A part of an old value, or all of it if it is a scalar.
    fn part(&mut self, value: Value, part: usize) -> Value {
        let is_vector = self.size(value).is_some();
        let base = self.builder.to(value);
        if is_vector { self.builder.emit(Expression::AccessIndex { base, index: part as u32 }) } else { base }
    }

    fn join(&mut self, handle: Value, values: Vec<Value>) -> Value {
        if self.size(handle).is_none() {
            return values[0];
        }
        let resolution = &self.builder.info[handle].ty;
        let ty = match resolution {
            naga::proc::TypeResolution::Handle(ty) => Some(*ty),
            naga::proc::TypeResolution::Value(inner) => self
                .module
                .types
                .iter()
                .find(|(_, ty)| ty.name.is_none() && ty.inner == *inner)
                .map(|(ty, _)| ty),
        };
        let ty = ty.expect("vector types were put into the module");
        self.builder.emit(Expression::Compose { ty, components: values })
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Value {
        self.builder.call(self.canonical.function(name), arguments.to_vec())
    }
}

/// The module with canonical literals, and with the vector types that results may have: naga keeps only those that a text
/// names.
pub(crate) fn prepared(mut module: Module, text: &str) -> Result<(Module, ModuleInfo), Mistake> {
    for size in [VectorSize::Bi, VectorSize::Tri, VectorSize::Quad] {
        for scalar in [Scalar::F32, Scalar::I32, Scalar::U32, Scalar::BOOL] {
            let inner = TypeInner::Vector { size, scalar };
            module.types.insert(naga::Type { name: None, inner }, naga::Span::UNDEFINED);
        }
    }
    let fix = |(_, expression): (_, &mut Expression)| {
        if let Expression::Literal(Literal::F32(value)) = expression {
            *value = fixed(*value);
        }
    };
    module.global_expressions.iter_mut().for_each(fix);
    module.functions.iter_mut().for_each(|(_, function)| function.expressions.iter_mut().for_each(fix));
    module.entry_points.iter_mut().for_each(|entry| entry.function.expressions.iter_mut().for_each(fix));
    let info = source::validate(&module, text)?;
    Ok((module, info))
}
