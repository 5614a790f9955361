// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice Names one escrow: keccak256(abi.encode(requester, terms, salt)), so it is known before the escrow is opened,
/// and what is signed about it is signed about its terms.
type EscrowId is bytes32;

using {differs as !=} for EscrowId global;

function differs(EscrowId a, EscrowId b) pure returns (bool) {
    return EscrowId.unwrap(a) != EscrowId.unwrap(b);
}
