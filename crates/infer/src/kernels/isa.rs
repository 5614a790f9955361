//! What an instruction set has to offer for the kernels: exact integer dot products, and floats whose lanes are rows.
//!
//! The kernels are written once over this trait. An implementation may choose how it computes an operation, never what:
//! integers are exact and every float operation rounds once, so all implementations have the same bits.

/// Operations of an instruction set, with their bodies.
macro_rules! operations {
    ($(fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {
        $(
            // SAFETY: the trait's contract is that the processor has the instruction set and that pointers are valid.
            #[inline(always)]
            #[allow(unused_unsafe)] // Plain Rust needs it only for pointers.
            unsafe fn $name($($arg: $kind),*) $(-> $result)? {
                // SAFETY: as above.
                unsafe { $body }
            }
        )*
    };
}
pub(super) use operations;

/// The same without bodies, as the trait declares them.
macro_rules! declared {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Safety
            ///
            /// The trait's contract.
            unsafe fn $name($($arg: $kind),*) $(-> $result)?;
        )*
    };
}

/// Vectors of one width.
///
/// # Safety
///
/// Every function may be called only where the processor has the instruction set, and pointers must be valid for the
/// stated number of elements; no alignment is needed.
pub trait Isa: Copy {
    /// Rows in a vector: 16, 8 or 4.
    const ROWS: usize;
    /// Tokens for which there are registers when floats are multiplied: two sums of a vector each.
    const TOKENS: usize;
    /// Codes of `ROWS` rows and 4 columns.
    type Bytes: Copy;
    /// An integer of each row.
    type Ints: Copy;
    /// A float of each row.
    type Floats: Copy;

    /// Says that memory is going to be read. Any address will do.
    fn prefetch(from: *const u8);
    declared! {
        /// `4 * ROWS` bytes.
        fn bytes(from: *const u8) -> Self::Bytes;
        /// The low four bits of each byte.
        fn low(bytes: Self::Bytes) -> Self::Bytes;
        /// The high four bits of each byte.
        fn high(bytes: Self::Bytes) -> Self::Bytes;
        /// `low | (plane >> shift & mask) << 4` in each byte.
        fn with_plane(low: Self::Bytes, plane: Self::Bytes, shift: i32, mask: i8) -> Self::Bytes;

        /// The dot products of 4 vectors of codes of at most 63 with 16 activations, plus `init`.
        fn dot16(codes: [Self::Bytes; 4], x: *const i8, init: i32) -> Self::Ints;
        /// The dot products of 8 vectors of codes of at most 31 with 32 activations, plus `init`.
        fn dot32(codes: [Self::Bytes; 8], x: *const i8, bits: u32, init: i32) -> Self::Ints;
        /// The dot products of 8 vectors of codes, less 128, with 32 activations whose sum is `sum`.
        fn dot32_signed(codes: [Self::Bytes; 8], x: *const i8, sum: i32) -> Self::Ints;

        /// `ROWS` signed bytes.
        fn signed(from: *const u8) -> Self::Ints;
        /// `ROWS` bytes without sign.
        fn unsigned(from: *const u8) -> Self::Ints;
        /// `a * b + c * d`, exact.
        fn products(a: Self::Ints, b: Self::Ints, c: Self::Ints, d: Self::Ints) -> Self::Ints;
        /// To the nearest floats.
        fn to_floats(ints: Self::Ints) -> Self::Floats;

        /// The same in each row.
        fn splat(x: f32) -> Self::Floats;
        /// `ROWS` floats.
        fn load(from: *const f32) -> Self::Floats;
        /// Writes `ROWS` floats.
        fn store(to: *mut f32, floats: Self::Floats);
        /// `ROWS` halves, exactly.
        fn halves(from: *const u16) -> Self::Floats;
        /// `ROWS` floats of 16 bits, which are the high bits of floats.
        fn brains(from: *const u16) -> Self::Floats;
        /// Product.
        fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
        /// Sum.
        fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
        /// `a * b + c`, rounded once.
        fn fma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    }
}
