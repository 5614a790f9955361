// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IJobEscrow} from "../interfaces/IJobEscrow.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title What was withdrawn of the protocol's fees, and burned of them, by time
/// @notice Deployed once and linked into JobEscrow, in whose name its functions run: they are called seldom.
library FeeLog {
    using Checkpoints for Checkpoints.Trace208;

    /// @dev There are fewer than 2^90 wei at any time, so a sum over all times of as many fees fits.
    uint256 private constant BITS = 104;

    /// @param sums What was withdrawn so far, above what of it was burned.
    struct Log {
        Checkpoints.Trace208 sums;
    }

    /// @notice Adds what is withdrawn now, and what of it is burned.
    function add(Log storage self, uint256 withdrawn, uint256 burned) external {
        uint256 sum = self.sums.latest() + (withdrawn << BITS | burned);
        // slither-disable-next-line unused-return
        self.sums.push(uint48(block.timestamp), uint208(sum));
    }

    /// @notice Both sums at a time before this second.
    function until(Log storage self, uint48 time) external view returns (uint256 withdrawn, uint256 burned) {
        // slither-disable-next-line timestamp -- within the present second it may change still
        if (time >= block.timestamp) revert IJobEscrow.NotYetPast(time);
        uint256 sum = self.sums.upperLookupRecent(time);
        return (sum >> BITS, sum & ((1 << BITS) - 1));
    }
}
