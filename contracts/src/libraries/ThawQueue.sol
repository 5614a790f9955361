// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title Stake on its way out of one pool, in one thaw era
/// @notice Each request waits for a period, fixed for the queue, and every slash of the queue takes the same fraction
/// of each request that is still waiting. Requests are stored scaled up by what slashes before them took, so one
/// factor values them all; what a request is worth is read from the factor's history as of the last second of its
/// wait. So it is slashable for exactly its period, and neither slashing nor withdrawing has a loop.
///
/// The queue is its own history: request i is the i-th step of the cumulative sum, its start the step's key. Nothing
/// ever writes to a request again.
///
/// Take as the worth of all requests what the waiting ones are worth together, by `waitingDown`, and what each of the
/// others is worth. A push raises it by at most the amount, a slash lowers it by at least what is taken, and time only
/// lowers it (a sum rounded once becomes a sum of rounded parts). So whoever sets aside each amount pushed, less each
/// amount taken, can always pay all requests; the rounding, some wei for each slash, stays set aside.
library ThawQueue {
    using Checkpoints for Checkpoints.Trace208;

    /// @notice The factor at the start of an era, 1. Amounts below 2^90 times this, and what waits scaled up, at most
    /// 2^120, times a factor, fit 256 bits.
    uint256 internal constant ONE = 1e36;

    /// @notice A factor below this ends the era, so that amounts are scaled up at most a billionfold.
    uint256 internal constant MIN_FACTOR = 1e27;

    /// @param scaled The cumulative sum of requests, one checkpoint each, by start.
    /// @param lost 1 - factor, by the time of slashes: an empty history then means that nothing was lost.
    struct Queue {
        Checkpoints.Trace208 scaled;
        Checkpoints.Trace208 lost;
    }

    /// @notice Adds a request for `amount` that begins to wait now.
    function push(Queue storage self, uint256 amount) internal returns (uint56 index) {
        uint256 scaled = amount * ONE / (ONE - self.lost.latest());
        index = uint56(self.scaled.length());
        uint208 sum = self.scaled.latest() + uint208(scaled);
        // Not by `Checkpoints.push`, which would join the requests of one second into one.
        self.scaled._checkpoints.push(Checkpoints.Checkpoint208({_key: uint48(block.timestamp), _value: sum}));
    }

    /// @notice What the requests that wait now are worth together: those with start <= now < start + period.
    /// The second itself decides, as it decides in `valueDown`; a block's maker that moves it moves both.
    // slither-disable-next-line timestamp
    function waitingDown(Queue storage self, uint32 period) internal view returns (uint256) {
        (bool any, uint48 newest, uint208 sum) = self.scaled.latestCheckpoint();
        if (!any || block.timestamp >= uint256(newest) + period) return 0;
        uint208 over = 0;
        if (block.timestamp >= period) {
            uint48 lastOver = uint48(block.timestamp - period);
            // Where all wait still there is nothing to search, however many they are.
            if (self.scaled._checkpoints[0]._key <= lastOver) over = self.scaled.upperLookupRecent(lastOver);
        }
        return uint256(sum - over) * (ONE - self.lost.latest()) / ONE;
    }

    /// @notice Takes `taken` of `waiting`, which must be what `waitingDown` says and not be zero.
    /// @return ended Whether what is left is too little to count on: then all waiting requests are worth nothing, and
    /// the queue takes no more requests.
    function slash(Queue storage self, uint256 waiting, uint256 taken) internal returns (bool ended) {
        uint256 factor = ONE - self.lost.latest();
        uint256 next = factor * (waiting - taken) / waiting;
        ended = next < MIN_FACTOR;
        if (ended) next = 0;
        // slither-disable-next-line unused-return
        self.lost.push(uint48(block.timestamp), uint208(ONE - next));
    }

    /// @notice When a request ends to wait, and what it is worth after all slashes before that time.
    function valueDown(Queue storage self, uint56 index, uint32 period)
        internal
        view
        returns (uint48 end, uint256 value)
    {
        Checkpoints.Checkpoint208 memory step = self.scaled._checkpoints[index];
        uint256 before = index == 0 ? 0 : self.scaled._checkpoints[index - 1]._value;
        end = step._key + period;
        value = (step._value - before) * (ONE - self.lost.upperLookupRecent(end - 1)) / ONE;
    }
}
