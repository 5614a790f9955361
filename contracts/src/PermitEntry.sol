// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ITide} from "./interfaces/ITide.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";

/// @title Entries by signed permit in one transaction
/// @notice `multicall([permit(...), bond(...)])` approves and enters at once. A permit is public once it is sent, so
/// anybody may use it up first; the call here then changes nothing and fails nothing, since the allowance is already
/// there. Nor can a permit that failed authorise anybody: entries take from the caller, by the caller's allowance
/// alone.
abstract contract PermitEntry is Multicall {
    /// @notice The token that entries pay in.
    ITide public immutable tide;

    constructor(ITide tide_) {
        tide = tide_;
    }

    /// @notice Asks the token to let this contract take `value` from the caller, by the caller's signature. Never
    /// reverts for a signature that is used, expired or wrong: the entry that follows finds out whether it may take.
    function permit(uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        try tide.permit(msg.sender, address(this), value, deadline, v, r, s) {} catch {}
    }
}
