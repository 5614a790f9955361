// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Arrays} from "@openzeppelin/contracts/utils/Arrays.sol";

/// Those whose releases closed an escrow early, in rising order. The escrow keeps the list as one word, whatever its
/// length; who has to know shows the list again.
library ReleasedList {
    /// keccak256 over the addresses, each in a word of 32 bytes; 0 for an empty list, which so costs no slot.
    function hash(address[] memory list) internal pure returns (bytes32 word) {
        if (list.length == 0) return 0;
        // The list lies in memory as it is hashed.
        // slither-disable-next-line assembly
        assembly ("memory-safe") {
            word := keccak256(add(list, 0x20), shl(5, mload(list)))
        }
    }

    /// Whether `who` is in a list that is known to rise.
    function includes(address[] memory list, address who) internal pure returns (bool) {
        uint256[] memory words;
        // An address in memory is a word of its own.
        // slither-disable-next-line assembly
        assembly ("memory-safe") {
            words := list
        }
        uint256 place = Arrays.lowerBoundMemory(words, uint160(who));
        return place < list.length && list[place] == who;
    }
}
