// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PoolId} from "./PoolId.sol";

/// @notice Names a thaw request by where it lies: the pool, the pool's thaw era, and the place in that era.
/// The id carries what a request would else have to store. No request has the id zero, since no pool has the
/// operator zero: an exit that was worth nothing gets that instead.
type ThawId is bytes32;

using {poolOf, eraOf, indexOf} for ThawId global;

/// @dev From the left: 56 bits of index, 32 of era, 168 of pool. 2^56 requests in one era are out of reach.
function toThawId(PoolId pool, uint32 era, uint56 index) pure returns (ThawId) {
    return ThawId.wrap(bytes32(uint256(index) << 200 | uint256(era) << 168 | uint256(PoolId.unwrap(pool))));
}

function poolOf(ThawId self) pure returns (PoolId) {
    return PoolId.wrap(bytes32(uint256(uint168(uint256(ThawId.unwrap(self))))));
}

function eraOf(ThawId self) pure returns (uint32) {
    return uint32(uint256(ThawId.unwrap(self)) >> 168);
}

function indexOf(ThawId self) pure returns (uint56) {
    return uint56(uint256(ThawId.unwrap(self)) >> 200);
}
