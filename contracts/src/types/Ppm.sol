// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice A fraction in parts per million. ABI decoding admits any uint32, so a `Ppm` that comes from outside passes
/// `checked` once, where it enters.
type Ppm is uint32;

using {checked, mulDown, mulUp, isZero} for Ppm global;

/// @notice More than the whole.
error PpmOverOne(Ppm given);

/// @dev One whole, as Solidity has no constants inside a value type.
uint32 constant PPM_ONE = 1_000_000;

/// @dev The fraction itself, once it is known to be at most the whole.
function checked(Ppm self) pure returns (Ppm) {
    if (Ppm.unwrap(self) > PPM_ONE) revert PpmOverOne(self);
    return self;
}

/// @dev floor(amount * fraction). `amount` below 2^236 cannot overflow; money here fits 96 bits.
function mulDown(Ppm self, uint256 amount) pure returns (uint256) {
    return amount * Ppm.unwrap(self) / PPM_ONE;
}

/// @dev ceil(amount * fraction), under the same bound.
function mulUp(Ppm self, uint256 amount) pure returns (uint256) {
    return (amount * Ppm.unwrap(self) + (PPM_ONE - 1)) / PPM_ONE;
}

/// @dev Whether it is nothing at all.
function isZero(Ppm self) pure returns (bool) {
    return Ppm.unwrap(self) == 0;
}
