// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice What an operator does for the network, and so which bond answers for it. A slasher is scoped to one role.
enum Role {
    Provider,
    Coordinator
}
