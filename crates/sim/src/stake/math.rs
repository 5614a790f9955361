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

/// What taking `net` out of a buffer costs: contracts/src/libraries/ExitFee.sol. The marginal fee is `least` where the buffer
/// has `target`, rises in a line to `most` where it is empty, and the fee is its integral: in pieces it costs the same.
pub(super) fn exit_fee_up(least: u128, most: u128, target: Wei, buffer: Wei, net: Wei) -> Wei {
    if net == 0 {
        return 0;
    }
    let wide = U256::from::<u128>;
    let mut twice = wide(2) * wide(least) * wide(net) * wide(target);
    let after = buffer - net;
    if after < target {
        let (low, high) = (wide(target - after), wide(target - buffer.min(target)));
        twice += wide(most - least) * (low - high) * (low + high);
    }
    narrow(twice.div_ceil(wide(2) * wide(WHOLE_PPM) * wide(target)))
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

    #[test]
    fn the_fee_of_an_exit_is_an_integral() {
        // A full buffer emptied: the mean of both ends.
        assert_eq!(
            exit_fee_up(1_500, 50_000, 100 * TIDE, 100 * TIDE, 100 * TIDE),
            100 * TIDE * 25_750 / 1_000_000
        );
        // Above the target it is flat.
        assert_eq!(
            exit_fee_up(1_500, 50_000, 100 * TIDE, 300 * TIDE, 200 * TIDE),
            200 * TIDE * 1_500 / 1_000_000
        );
        let (target, buffer) = (777 * TIDE + 13, 700 * TIDE + 5);
        let whole = exit_fee_up(1_500, 50_000, target, buffer, 600 * TIDE);
        let parts: u128 =
            (0..600).map(|part| exit_fee_up(1_500, 50_000, target, buffer - part * TIDE, TIDE)).sum();
        assert!(whole <= parts && parts <= whole + 600, "{whole} {parts}");
    }
}
