//! The contracts' integers: every quotient names its rounding.

use alloy_primitives::U256;

/// Wei of TIDE, or shares: fewer than 2^128 of either exist.
pub(super) type Wei = u128;

/// One whole, in parts per million.
pub(super) const WHOLE_PPM: u128 = 1_000_000;

/// One TIDE.
pub const TIDE: u128 = 1_000_000_000_000_000_000;

/// `a · b / c`, rounded down.
pub(super) fn mul_div_down(a: u128, b: u128, c: u128) -> u128 {
    narrow(U256::from(a) * U256::from(b) / U256::from(c))
}

/// `a · b / c`, rounded up.
pub(super) fn mul_div_up(a: u128, b: u128, c: u128) -> u128 {
    narrow((U256::from(a) * U256::from(b)).div_ceil(U256::from(c)))
}

/// A part of an amount, in parts per million, rounded down.
pub(super) fn part_down(amount: u128, ppm: u128) -> u128 {
    mul_div_down(amount, ppm, WHOLE_PPM)
}

fn narrow(wide: U256) -> u128 {
    u128::try_from(wide).expect("what is divided by is no smaller than one of the factors, to within 2^30")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_wider_than_the_parts_are_exact() {
        let big = u128::MAX / 3;
        assert_eq!(mul_div_down(big, big, big), big);
        assert_eq!(mul_div_down(10, 10, 3), 33);
        assert_eq!(mul_div_up(10, 10, 3), 34);
        assert_eq!(mul_div_up(9, 10, 3), 30);
        assert_eq!(part_down(1_000_001, 1), 1);
    }
}
