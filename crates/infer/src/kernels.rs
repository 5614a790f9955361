//! Kernels, chosen at run time by what the processor has.
//!
//! The kernels are written once ([`matmul`], [`attention`], [`rows`]) and compiled for each instruction set. [`plain`] is
//! their definition: the others must have its bits, which the tests of this module and the golden hashes demand.

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod isa;
mod matmul;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod rows;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::fmt;

use crate::activations::{Activations, Row};
use crate::config::Pairs;
use crate::packing::Matrix;
pub use attention::Pages;
pub use rows::{Activation, Gate};

/// What the kernels run on. A value says that this processor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionSet(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl InstructionSet {
    /// What every machine has: the definition, and slow.
    pub const PLAIN: Self = Self(Kind::Plain);

    /// All that this processor has, the fastest last.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::PLAIN];
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if has_avx2 {
                all.push(Self(Kind::Avx2));
            }
            let has_vnni = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if has_avx2 && has_vnni {
                all.push(Self(Kind::Vnni));
            }
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Self(Kind::Neon));
        all
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::PLAIN)
    }

    /// One of those that this processor has, by its name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.to_string() == name)
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Plain => "plain",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => "avx512-vnni",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
        })
    }
}

/// Functions of which a copy is compiled for each instruction set; `$isa` is its type in the body.
macro_rules! compiled_for_each {
    ($(
        $(#[$doc:meta])*
        fn $name:ident $(<$generic:ident: $bound:path>)? ($($arg:ident: $kind:ty),* $(,)?) $(-> $result:ty)? {
            |$isa:ident| $body:expr
        }
    )*) => {
        impl InstructionSet {
            $(
                $(#[$doc])*
                #[allow(unused_unsafe)] // Only some of the bodies call unsafe functions.
                pub(crate) fn $name $(<$generic: $bound>)? (self, $($arg: $kind),*) $(-> $result)? {
                    match self.0 {
                        Kind::Plain => {
                            type $isa = plain::Plain;
                            // SAFETY: plain Rust runs everywhere.
                            unsafe { $body }
                        }
                        #[cfg(target_arch = "x86_64")]
                        Kind::Avx2 => {
                            type $isa = avx2::Avx2;
                            #[target_feature(enable = "avx2,fma,f16c")]
                            unsafe fn compiled $(<$generic: $bound>)? ($($arg: $kind),*) $(-> $result)? {
                                // SAFETY: this function has the features.
                                unsafe { $body }
                            }
                            // SAFETY: a value of this kind is made only where the processor has these.
                            unsafe { compiled($($arg),*) }
                        }
                        #[cfg(target_arch = "x86_64")]
                        Kind::Vnni => {
                            type $isa = vnni::Vnni;
                            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
                            unsafe fn compiled $(<$generic: $bound>)? ($($arg: $kind),*) $(-> $result)? {
                                // SAFETY: this function has the features.
                                unsafe { $body }
                            }
                            // SAFETY: a value of this kind is made only where the processor has these.
                            unsafe { compiled($($arg),*) }
                        }
                        #[cfg(target_arch = "aarch64")]
                        Kind::Neon => {
                            type $isa = neon::Neon;
                            #[target_feature(enable = "neon")]
                            unsafe fn compiled $(<$generic: $bound>)? ($($arg: $kind),*) $(-> $result)? {
                                // SAFETY: this function has the features.
                                unsafe { $body }
                            }
                            // SAFETY: a value of this kind is made only where the processor has these.
                            unsafe { compiled($($arg),*) }
                        }
                    }
                }
            )*
        }
    };
}

compiled_for_each! {
    /// A tile of 16 rows of a matrix times tokens' activations; `out` has 16 floats for each token.
    fn multiply(matrix: &Matrix, tile: usize, x: &Activations, out: &mut [f32]) {
        |I| if matrix.format().is_dense() {
            matmul::dense::<I>(matrix, tile, x.floats(), out)
        } else {
            matmul::quantised::<I>(matrix, tile, x.quantised(), out)
        }
    }

    /// Attends from some query heads, already scaled, to the positions `range.0..range.1` of one head's pages.
    fn attend<P: Pages>(
        queries: &[f32],
        head_len: usize,
        pages: &P,
        range: (usize, usize),
        scores: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        |I| attention::attend::<I, P>(queries, head_len, pages, range, scores, out)
    }

    /// Divides a row by its root mean square and multiplies it by weights, in place.
    fn rms_norm(x: &mut [f32], weights: &[f32], epsilon: f32) {
        |_Isa| rows::rms_norm(x, weights, epsilon)
    }

    /// Moves a row's mean to 0 and its variance to 1, then multiplies by weights and adds a bias, in place.
    fn layer_norm(x: &mut [f32], weights: &[f32], bias: &[f32], epsilon: f32) {
        |_Isa| rows::layer_norm(x, weights, bias, epsilon)
    }

    /// Scales a row to length 1, in place.
    fn normalise(x: &mut [f32]) {
        |_Isa| rows::normalise(x)
    }

    /// Applies the function of a feed-forward layer, in place.
    fn activate(kind: Activation, x: &mut [f32]) {
        |_Isa| rows::activate(kind, x)
    }

    /// Fills in a row's eight-bit form from its floats.
    fn quantise(row: &mut Row<'_>) {
        |_Isa| rows::quantise(row)
    }

    /// Multiplies gated values by others, in place.
    fn gate(kind: Gate, x: &mut [f32], by: &[f32]) {
        |_Isa| rows::gate(kind, x, by)
    }

    /// Turns the pairs of a head by its position's angles.
    fn turn(pairs: Pairs, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
        |_Isa| rows::turn(pairs, head, cosines, sines)
    }
}
