//! How close two right results are where floats are native: what each device may round in its own way, by WGSL's table of
//! accuracies.
//!
//! These are bounds of single operations with room for a few hundred of them one after another. No bound of an operation
//! bounds a recurrence: a program whose numbers diverge needs a comparison of its own.

use naga::{
    BinaryOperator, Expression, Function, Handle, MathFunction as Fun, Module, ScalarKind, valid::ModuleInfo,
};
use tidemill_types::{Comparison, Numbers, Tolerance};

/// How far right results with native floats may be apart, by the least exact operation that a program contains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Closeness {
    /// Nothing is computed with floats: the bytes are equal.
    #[default]
    Equal,
    /// Sums and products, which devices fuse and round in either direction.
    Sums,
    /// Divisions, roots, exponentials and logarithms.
    Roots,
    /// Functions whose accuracy is absolute: sines, powers, arcs.
    Waves,
    /// An operation without any accuracy. Only a program can compare the results.
    Unknown,
}

impl Closeness {
    /// When two results of native floats count as the same unless a job says otherwise; none where nothing general can be
    /// said.
    pub fn comparison(self) -> Option<Comparison> {
        let (absolute, relative) = match self {
            Self::Equal => return Some(Comparison::Exact),
            // Sums of terms that cancel have no relative bound.
            Self::Sums => (1e-6, 1e-5),
            Self::Roots => (1e-5, 1e-4),
            Self::Waves => (1e-3, 1e-3),
            Self::Unknown => return None,
        };
        Tolerance::new(Numbers::F32, absolute, relative).ok().map(Comparison::Numbers)
    }
}

/// That of a module.
pub(crate) fn of(module: &Module, info: &ModuleInfo) -> Closeness {
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entry = (&module.entry_points[0].function, info.get_entry_point(0));
    let each = functions.chain([entry]).map(|(function, info)| {
        of_function(function, |handle| {
            info[handle].ty.inner_with(&module.types).scalar_kind() == Some(ScalarKind::Float)
        })
    });
    each.max().unwrap_or_default()
}

fn of_function(function: &Function, is_float: impl Fn(Handle<Expression>) -> bool) -> Closeness {
    let of = |(handle, expression): (_, &Expression)| match expression {
        Expression::Math { fun, arg, .. } if is_float(handle) || is_float(*arg) => of_math(*fun),
        Expression::Binary { op: BinaryOperator::Divide | BinaryOperator::Modulo, left, .. }
            if is_float(*left) =>
        {
            Closeness::Roots
        }
        Expression::Binary { left, .. } if is_float(*left) => Closeness::Sums,
        Expression::Unary { .. } if is_float(handle) => Closeness::Sums,
        Expression::As { expr, convert: Some(_), .. } if is_float(handle) || is_float(*expr) => {
            Closeness::Sums
        }
        _ => Closeness::Equal,
    };
    function.expressions.iter().map(of).max().unwrap_or_default()
}

fn of_math(fun: Fun) -> Closeness {
    match fun {
        Fun::Sqrt
        | Fun::InverseSqrt
        | Fun::Exp
        | Fun::Exp2
        | Fun::Log
        | Fun::Log2
        | Fun::Length
        | Fun::Distance
        | Fun::Normalize
        | Fun::SmoothStep => Closeness::Roots,
        Fun::Sin
        | Fun::Cos
        | Fun::Tan
        | Fun::Asin
        | Fun::Acos
        | Fun::Atan
        | Fun::Atan2
        | Fun::Sinh
        | Fun::Cosh
        | Fun::Tanh
        | Fun::Asinh
        | Fun::Acosh
        | Fun::Atanh
        | Fun::Pow => Closeness::Waves,
        Fun::Determinant | Fun::Inverse => Closeness::Unknown,
        _ => Closeness::Sums,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::Floats, kernel::Kernel, source::Source};

    fn of_body(body: &str) -> Closeness {
        let text = format!(
            "@group(0) @binding(0) var<storage, read_write> a: array<f32>;
            @group(0) @binding(1) var<storage, read_write> n: array<u32>;
            @compute @workgroup_size(1) fn main() {{ _ = n[0]; {body} }}"
        );
        let source = Source::parse(&text).expect("it is WGSL");
        let kernel = Kernel::new(&source, "main", &[], Floats::Native).expect("it can be metered");
        assert_eq!(kernel.traits().floats, kernel.traits().closeness != Closeness::Equal);
        kernel.traits().closeness
    }

    #[test]
    fn the_least_exact_operation_decides() {
        for (body, closeness) in [
            ("n[1] = n[0] / 3u; a[0] = a[1];", Closeness::Equal),
            ("a[0] = a[1] * 2.0 + a[2];", Closeness::Sums),
            ("n[1] = u32(a[0]);", Closeness::Sums),
            ("a[0] = max(a[1], a[2]);", Closeness::Sums),
            ("a[0] = a[1] + a[2] / a[3];", Closeness::Roots),
            ("a[0] = length(vec2<f32>(a[1], a[2]));", Closeness::Roots),
            ("a[0] = sqrt(a[1]) * sin(a[2]);", Closeness::Waves),
            ("a[0] = pow(a[1], 2.5);", Closeness::Waves),
        ] {
            assert_eq!(of_body(body), closeness, "{body}");
        }
    }

    #[test]
    fn closer_results_have_narrower_tolerances() {
        assert_eq!(Closeness::Equal.comparison(), Some(Comparison::Exact));
        assert_eq!(Closeness::Unknown.comparison(), None);
        let tolerance = |closeness: Closeness| match closeness.comparison() {
            Some(Comparison::Numbers(tolerance)) => tolerance,
            other => panic!("{other:?}"),
        };
        let [sums, roots, waves] = [Closeness::Sums, Closeness::Roots, Closeness::Waves].map(tolerance);
        assert!(sums.relative() < roots.relative() && roots.relative() < waves.relative());
        assert!(sums.absolute() < roots.absolute() && roots.absolute() < waves.absolute());
    }
}
