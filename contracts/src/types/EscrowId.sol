// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice Names one escrow: keccak256(abi.encode(requester, terms, salt)), so it is known before the escrow is opened,
/// and what is signed about it is signed about its terms.
type EscrowId is bytes32;

using {equals as ==, differs as !=} for EscrowId global;

// Equality without its opposite would be half an operator; so far those who build on this ask for it.
// slither-disable-next-line dead-code
function equals(EscrowId a, EscrowId b) pure returns (bool) {
    return EscrowId.unwrap(a) == EscrowId.unwrap(b);
}

function differs(EscrowId a, EscrowId b) pure returns (bool) {
    return EscrowId.unwrap(a) != EscrowId.unwrap(b);
}
