//! The entry point of a metered program: it calls the author's, and settles what was used however that ended.
//!
//! It also makes room for slices. A large dispatch is cut into several, so that no device's watchdog sees one that is long;
//! what the program sees of its place is what it would see in the whole.

use naga::{
    AddressSpace, AtomicFunction, BinaryOperator, Binding, Block, BuiltIn, Expression, Function,
    FunctionArgument, GlobalVariable, Handle, Literal, MemoryDecorations, Module, ResourceBinding, Scalar,
    Span, Statement, StorageAccess, StructMember, Type, TypeInner, VectorSize,
};

use crate::meter::Counters;

/// The bind group of the meter's buffer; its binding is 0.
pub const GROUP: u32 = 3;

/// Over how many places the totals are spread by workgroup, so that not all add to one.
pub(crate) const SLOTS: u32 = 64;

/// The meter's buffer in words: the limit of an invocation, a zero that no compiler knows, whether fuel ran out; then the
/// first workgroup of the slice, and the workgroups of the whole dispatch, in four words each; then the slots, two words of
/// a 64-bit total each.
pub(crate) const WORDS: usize = 12 + 2 * SLOTS as usize;

/// Where in the buffer what is.
pub(crate) mod word {
    pub(crate) const LIMIT: usize = 0;
    pub(crate) const ZERO: usize = 1;
    pub(crate) const OUT: usize = 2;
    pub(crate) const FIRST: usize = 4;
    pub(crate) const GROUPS: usize = 8;
    pub(crate) const SLOTS: usize = 12;
}

/// The variables that metering needs, put into a module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prelude {
    pub(crate) counters: Counters,
    /// A zero that no compiler knows, for the fences between floats.
    pub(crate) zero: Handle<GlobalVariable>,
    buffer: Handle<GlobalVariable>,
    word: Handle<Type>,
    triple: Handle<Type>,
}

const SPAN: Span = Span::UNDEFINED;

/// Adds the variables of the meter to a module.
pub(crate) fn prelude(module: &mut Module) -> Prelude {
    let mut insert =
        |name: Option<&str>, inner| module.types.insert(Type { name: name.map(Into::into), inner }, SPAN);
    let word = insert(None, TypeInner::Scalar(Scalar::U32));
    let atomic = insert(None, TypeInner::Atomic(Scalar::U32));
    let triple = insert(None, TypeInner::Vector { size: VectorSize::Tri, scalar: Scalar::U32 });
    let length = naga::ArraySize::Constant((2 * SLOTS).try_into().expect("it is not zero"));
    let slots = insert(None, TypeInner::Array { base: atomic, size: length, stride: 4 });
    let member = |name: &str, ty, at: usize| StructMember {
        name: Some(name.into()),
        ty,
        binding: None,
        offset: 4 * at as u32,
    };
    let members = vec![
        member("limit", word, word::LIMIT),
        member("zero", word, word::ZERO),
        member("out", atomic, word::OUT),
        member("first", triple, word::FIRST),
        member("groups", triple, word::GROUPS),
        member("slots", slots, word::SLOTS),
    ];
    let buffer = insert(Some("TidemillMeter"), TypeInner::Struct { members, span: 4 * WORDS as u32 });
    let mut add = |name: &str, space, ty, binding| {
        let variable = GlobalVariable {
            name: Some(name.into()),
            space,
            binding,
            ty,
            init: None,
            memory_decorations: MemoryDecorations::empty(),
        };
        module.global_variables.append(variable, SPAN)
    };
    let access = StorageAccess::LOAD | StorageAccess::STORE;
    let binding = ResourceBinding { group: GROUP, binding: 0 };
    Prelude {
        counters: Counters {
            apart: add("tidemill_apart", AddressSpace::Private, word, None),
            together: add("tidemill_together", AddressSpace::Private, word, None),
            limit: add("tidemill_limit", AddressSpace::Private, word, None),
        },
        zero: add("tidemill_zero", AddressSpace::Private, word, None),
        buffer: add("tidemill_meter", AddressSpace::Storage { access }, buffer, Some(binding)),
        word,
        triple,
    }
}

/// Makes the metered entry point a function, and puts one in its place that calls it and settles.
pub(crate) fn wrap(module: &mut Module, prelude: Prelude, flat: u32) {
    let mut inner = std::mem::take(&mut module.entry_points[0].function);
    let arguments = std::mem::take(&mut inner.arguments);
    inner.name = Some("tidemill_program".into());
    let mut taken = Vec::new();
    for argument in &arguments {
        match (&argument.binding, &module.types[argument.ty].inner) {
            (None, TypeInner::Struct { members, .. }) => taken.extend(members.iter().map(|member| {
                FunctionArgument { name: member.name.clone(), ty: member.ty, binding: member.binding.clone() }
            })),
            _ => taken.push(argument.clone()),
        }
    }
    let own = taken.iter().position(|argument| is(argument, BuiltIn::WorkGroupId)).unwrap_or_else(|| {
        let binding = Some(Binding::BuiltIn(BuiltIn::WorkGroupId));
        taken.push(FunctionArgument { name: Some("tidemill_group".into()), ty: prelude.triple, binding });
        taken.len() - 1
    });
    let mut plain = arguments.clone();
    for argument in &mut plain {
        argument.binding = None;
    }
    inner.arguments = plain;
    let sizes = module.entry_points[0].workgroup_size;
    let inner = module.functions.append(inner, SPAN);
    let function = Function { name: Some("main".into()), arguments: taken, ..Function::default() };
    let mut wrapper = Wrapper { function, prelude, pending: 0 };
    wrapper.write(module, &arguments, inner, own, sizes, flat);
    module.entry_points[0].function = wrapper.function;
}

fn is(argument: &FunctionArgument, wanted: BuiltIn) -> bool {
    matches!(&argument.binding, Some(Binding::BuiltIn(found)) if *found == wanted)
}

struct Wrapper {
    function: Function,
    prelude: Prelude,
    pending: usize,
}

type Value = Handle<Expression>;

impl Wrapper {
    fn write(
        &mut self,
        module: &Module,
        arguments: &[FunctionArgument],
        inner: Handle<Function>,
        own: usize,
        sizes: [u32; 3],
        flat: u32,
    ) {
        let raw: Vec<Value> = (0..self.function.arguments.len())
            .map(|number| self.still(Expression::FunctionArgument(number as u32)))
            .collect();
        let sizes: Vec<Value> = sizes.map(|size| self.literal(size)).to_vec();
        let (flat, one, mask) = (self.literal(flat), self.literal(1), self.literal(SLOTS - 1));
        let buffer = self.still(Expression::GlobalVariable(self.prelude.buffer));
        let Counters { apart, together, limit } = self.prelude.counters;
        let [apart, together, limit, zero] = [apart, together, limit, self.prelude.zero]
            .map(|variable| self.still(Expression::GlobalVariable(variable)));

        let [most, unknown_zero, first, groups] = [0, 1, 3, 4].map(|member| self.member(buffer, member));
        let size = self.emit(Expression::Compose { ty: self.prelude.triple, components: sizes });
        let before = self.binary(BinaryOperator::Multiply, first, size);
        let mut seen = Vec::new();
        for (number, argument) in self.function.arguments.clone().iter().enumerate() {
            seen.push(if is(argument, BuiltIn::GlobalInvocationId) {
                self.binary(BinaryOperator::Add, raw[number], before)
            } else if is(argument, BuiltIn::WorkGroupId) {
                self.binary(BinaryOperator::Add, raw[number], first)
            } else if is(argument, BuiltIn::NumWorkGroups) {
                groups
            } else {
                raw[number]
            });
        }
        let group = seen[own];
        let mut seen = seen.into_iter();
        let mut passed = Vec::new();
        for argument in arguments {
            passed.push(match (&argument.binding, &module.types[argument.ty].inner) {
                (None, TypeInner::Struct { members, .. }) => {
                    let components = seen.by_ref().take(members.len()).collect();
                    self.emit(Expression::Compose { ty: argument.ty, components })
                }
                _ => seen.next().expect("each argument was taken"),
            });
        }
        self.flush();
        self.put(Statement::Store { pointer: limit, value: most });
        self.put(Statement::Store { pointer: zero, value: unknown_zero });
        self.put(Statement::Call { function: inner, arguments: passed, result: None });
        self.settle(buffer, group, [apart, together], most, flat, one, mask);
        self.put(Statement::Return { value: None });
    }

    /// Adds what was used to the slot of the workgroup, with a carry, and tells if a counter passed its limit.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are expressions of one function, made before the first is emitted"
    )]
    fn settle(
        &mut self,
        buffer: Value,
        group: Value,
        counters: [Value; 2],
        most: Value,
        flat: Value,
        one: Value,
        mask: Value,
    ) {
        let [apart, together] = counters.map(|pointer| self.emit(Expression::Load { pointer }));
        let loops = self.binary(BinaryOperator::Add, apart, together);
        let total = self.binary(BinaryOperator::Add, loops, flat);
        let over_apart = self.binary(BinaryOperator::Greater, apart, most);
        let over_together = self.binary(BinaryOperator::Greater, together, most);
        let over = self.binary(BinaryOperator::LogicalOr, over_apart, over_together);
        let [x, y, z] = [0, 1, 2].map(|index| self.emit(Expression::AccessIndex { base: group, index }));
        let plane = self.binary(BinaryOperator::ExclusiveOr, x, y);
        let mixed = self.binary(BinaryOperator::ExclusiveOr, plane, z);
        let slot = self.binary(BinaryOperator::And, mixed, mask);
        let low_at = self.binary(BinaryOperator::Add, slot, slot);
        let high_at = self.binary(BinaryOperator::Add, low_at, one);
        let slots = self.emit(Expression::AccessIndex { base: buffer, index: 5 });
        let [low, high] = [low_at, high_at].map(|index| self.emit(Expression::Access { base: slots, index }));
        let out = self.emit(Expression::AccessIndex { base: buffer, index: 2 });
        self.flush();
        let old = self.still(Expression::AtomicResult { ty: self.prelude.word, comparison: false });
        self.put(Statement::Atomic {
            pointer: low,
            fun: AtomicFunction::Add,
            value: total,
            result: Some(old),
        });
        let sum = self.binary(BinaryOperator::Add, old, total);
        let carries = self.binary(BinaryOperator::Less, sum, old);
        self.flush();
        let add = |pointer, fun| {
            Block::from_vec(vec![Statement::Atomic { pointer, fun, value: one, result: None }])
        };
        let carry = add(high, AtomicFunction::Add);
        self.put(Statement::If { condition: carries, accept: carry, reject: Block::new() });
        let tell = add(out, AtomicFunction::InclusiveOr);
        self.put(Statement::If { condition: over, accept: tell, reject: Block::new() });
    }

    fn member(&mut self, buffer: Value, index: u32) -> Value {
        let pointer = self.emit(Expression::AccessIndex { base: buffer, index });
        self.emit(Expression::Load { pointer })
    }

    fn binary(&mut self, op: BinaryOperator, left: Value, right: Value) -> Value {
        self.emit(Expression::Binary { op, left, right })
    }

    fn literal(&mut self, value: u32) -> Value {
        self.still(Expression::Literal(Literal::U32(value)))
    }

    /// An expression that is not computed where a statement emits it.
    fn still(&mut self, expression: Expression) -> Value {
        debug_assert_eq!(self.pending, self.function.expressions.len());
        let handle = self.function.expressions.append(expression, SPAN);
        self.pending = self.function.expressions.len();
        handle
    }

    fn emit(&mut self, expression: Expression) -> Value {
        self.function.expressions.append(expression, SPAN)
    }

    fn flush(&mut self) {
        if self.function.expressions.len() > self.pending {
            let range = self.function.expressions.range_from(self.pending);
            self.function.body.push(Statement::Emit(range), SPAN);
            self.pending = self.function.expressions.len();
        }
    }

    fn put(&mut self, statement: Statement) {
        self.flush();
        self.function.body.push(statement, SPAN);
    }
}
