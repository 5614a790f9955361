// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Role} from "./Role.sol";

/// @notice The three pools that an operator may have, and what left its delegations for another provider: that is no pool
/// of tokens but a queue of what can still be slashed.
enum PoolKind {
    ProviderBond,
    CoordinatorBond,
    Delegation,
    Moved
}

/// @notice Names a pool: its kind and its operator in one word. Packed rather than hashed, so that it can be read
/// backwards and costs no hash.
type PoolId is bytes32;

using {kindOf, operatorOf} for PoolId global;

function toPoolId(PoolKind kind, address operator) pure returns (PoolId) {
    return PoolId.wrap(bytes32(uint256(kind) << 160 | uint160(operator)));
}

/// @dev The pool in which an operator's own stake for `role` lies.
function bondPool(Role role, address operator) pure returns (PoolId) {
    return toPoolId(role == Role.Provider ? PoolKind.ProviderBond : PoolKind.CoordinatorBond, operator);
}

/// @dev The pool in which others' stake behind a provider lies.
function delegationPool(address provider) pure returns (PoolId) {
    return toPoolId(PoolKind.Delegation, provider);
}

/// @dev What left a provider's delegations for others.
function movedFrom(address provider) pure returns (PoolId) {
    return toPoolId(PoolKind.Moved, provider);
}

function kindOf(PoolId self) pure returns (PoolKind) {
    return PoolKind(uint8(uint256(PoolId.unwrap(self)) >> 160));
}

function operatorOf(PoolId self) pure returns (address) {
    return address(uint160(uint256(PoolId.unwrap(self))));
}
