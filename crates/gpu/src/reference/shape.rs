//! How values and variables lie in the reference's memory, in words.
//!
//! A value is its scalars one after the other. A buffer lies as WGSL says, with gaps. A variable of an invocation or of a
//! workgroup lies like a value: nobody else sees it, and truth values have no place in a buffer.

use naga::{
    AddressSpace, ArraySize, Handle, Module, ScalarKind, Type, TypeInner, VectorSize, valid::FunctionInfo,
};

/// What is needed of an expression's type to compute it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// The scalars of a value; for a pointer one, its offset.
    pub(super) words: usize,
    /// What a scalar of it is, for scalars, vectors and matrices.
    pub(super) kind: Option<ScalarKind>,
    /// For a matrix: its columns and rows.
    pub(super) matrix: Option<(usize, usize)>,
    /// For a pointer: where it leads.
    pub(super) pointer: Option<Target>,
}

/// What a pointer leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) space: AddressSpace,
    pub(super) inner: TypeInner,
}

impl Shape {
    pub(super) fn of(module: &Module, info: &FunctionInfo, handle: Handle<naga::Expression>) -> Self {
        let inner = info[handle].ty.inner_with(&module.types);
        let pointer = match inner {
            TypeInner::Pointer { base, space } => {
                Some(Target { space: *space, inner: module.types[*base].inner.clone() })
            }
            TypeInner::ValuePointer { size, scalar, space } => {
                let inner = size
                    .map_or(TypeInner::Scalar(*scalar), |size| TypeInner::Vector { size, scalar: *scalar });
                Some(Target { space: *space, inner })
            }
            _ => None,
        };
        let words = if pointer.is_some() { 1 } else { size(module, inner, Layout::Packed) };
        let matrix = match inner {
            TypeInner::Matrix { columns, rows, .. } => Some((*columns as usize, *rows as usize)),
            _ => None,
        };
        Self { words, kind: inner.scalar_kind(), matrix, pointer }
    }
}

/// One of the two ways to lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// Scalar after scalar.
    Packed,
    /// As WGSL says.
    Shared,
}

impl Layout {
    pub(super) fn of(space: AddressSpace) -> Self {
        match space {
            AddressSpace::Storage { .. } | AddressSpace::Uniform => Self::Shared,
            _ => Self::Packed,
        }
    }
}

/// The words that a value fills; of an array without a length, one element.
pub(super) fn size(module: &Module, inner: &TypeInner, layout: Layout) -> usize {
    if layout == Layout::Shared {
        return inner.size(module.to_ctx()) as usize / 4;
    }
    match inner {
        TypeInner::Vector { size, .. } => *size as usize,
        TypeInner::Matrix { columns, rows, .. } => *columns as usize * *rows as usize,
        TypeInner::Array { base, size: length, .. } => {
            let length = match length {
                ArraySize::Constant(length) => length.get() as usize,
                _ => 1,
            };
            length * size(module, &module.types[*base].inner, layout)
        }
        TypeInner::Struct { members, .. } => {
            members.iter().map(|member| size(module, &module.types[member.ty].inner, layout)).sum()
        }
        _ => 1,
    }
}

/// How far the parts of an array, vector or matrix lie apart.
pub(super) fn stride(module: &Module, inner: &TypeInner, layout: Layout) -> usize {
    match (inner, layout) {
        (TypeInner::Array { stride, .. }, Layout::Shared) => *stride as usize / 4,
        (TypeInner::Array { base, .. }, Layout::Packed) => size(module, &module.types[*base].inner, layout),
        (TypeInner::Matrix { rows, .. }, _) => column_stride(*rows, layout),
        _ => 1,
    }
}

fn column_stride(rows: VectorSize, layout: Layout) -> usize {
    match (rows, layout) {
        (VectorSize::Tri, Layout::Shared) => 4,
        _ => rows as usize,
    }
}

/// Where a part with a known number lies.
pub(super) fn offset(module: &Module, inner: &TypeInner, index: u32, layout: Layout) -> usize {
    match (inner, layout) {
        (TypeInner::Struct { members, .. }, Layout::Shared) => members[index as usize].offset as usize / 4,
        (TypeInner::Struct { members, .. }, Layout::Packed) => {
            let before = &members[..index as usize];
            before.iter().map(|member| size(module, &module.types[member.ty].inner, layout)).sum()
        }
        _ => index as usize * stride(module, inner, layout),
    }
}

/// Where each scalar of a value lies in a variable.
pub(super) fn scalars(module: &Module, inner: &TypeInner, layout: Layout) -> Vec<usize> {
    if layout == Layout::Packed {
        return (0..size(module, inner, layout)).collect();
    }
    let mut all = Vec::new();
    push_scalars(module, inner, 0, &mut all);
    all
}

fn push_scalars(module: &Module, inner: &TypeInner, at: usize, all: &mut Vec<usize>) {
    let layout = Layout::Shared;
    let mut part = |ty: Handle<Type>, at| push_scalars(module, &module.types[ty].inner, at, all);
    match inner {
        TypeInner::Struct { members, .. } => {
            members.iter().for_each(|member| part(member.ty, at + member.offset as usize / 4));
        }
        TypeInner::Array { base, size: ArraySize::Constant(length), .. } => {
            let stride = stride(module, inner, layout);
            (0..length.get() as usize).for_each(|index| part(*base, at + index * stride));
        }
        TypeInner::Matrix { columns, rows, .. } => {
            for column in 0..*columns as usize {
                all.extend((0..*rows as usize).map(|row| at + column * column_stride(*rows, layout) + row));
            }
        }
        TypeInner::Vector { size, .. } => all.extend((0..*size as usize).map(|index| at + index)),
        _ => all.push(at),
    }
}
