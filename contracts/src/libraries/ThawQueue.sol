// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title Stake on its way out of one pool
/// @notice Each request waits for a period, fixed for the queue, and every slash of the queue takes the same fraction
/// of each request that is still waiting. Requests are stored scaled up by what slashes before them took, so one
/// factor values them all; what a request is worth is read from the factor's history as of the last second of its
/// wait. So it is slashable for exactly its period, and neither slashing nor withdrawing has a loop over requests.
///
/// Where the factor would become too small to scale by, an era ends: from then on factor and requests count in units
/// that are a billionfold, and those of earlier eras are divided as often. So what is lost before a request begins,
/// however much, costs it nothing.
///
/// The queue is its own history: request i of an era is the i-th step of the era's cumulative sum, its start the step's
/// key. Nothing ever writes to a request again.
///
/// Take as the worth of all requests what the waiting ones are worth together, before rounding, and what each of the
/// others is worth. A push raises it by at most the amount, a slash lowers it by at least what is taken (as what is
/// said to wait is rounded down), and time only lowers it (a sum rounded once becomes a sum of rounded parts). So
/// whoever sets aside each amount pushed, less each amount taken, can always pay all requests; the rounding, some wei
/// for each slash, stays set aside.
library ThawQueue {
    using Checkpoints for Checkpoints.Trace208;

    /// @notice The factor 1. Amounts below 2^90 times this, and what waits scaled up, at most 2^120, times a factor, fit
    /// 256 bits.
    uint256 internal constant ONE = 1e36;

    /// @notice A factor below this ends the era, so that amounts are scaled up at most a billionfold.
    uint256 internal constant MIN_FACTOR = 1e27;

    /// @notice By what the end of an era divides what the requests before it are worth in its units.
    uint256 internal constant ERA_DIVISOR = 1e9;

    /// @notice As many eras end at once where nothing is left: nothing scaled, at most 1e36, outlives them.
    uint32 internal constant ERAS_OF_DEATH = 5;

    /// @param lost The era (from bit 128 on) and 1 - factor, by the time of slashes: an empty history then means that
    /// nothing was lost.
    /// @param scaled For each era the cumulative sum of requests, one checkpoint each, by start.
    struct Queue {
        Checkpoints.Trace208 lost;
        mapping(uint32 era => Checkpoints.Trace208) scaled;
    }

    /// @notice The era in which a request would begin now.
    function latestEra(Queue storage self) internal view returns (uint32 era) {
        (era,) = unpack(self.lost.latest());
    }

    /// @notice Adds a request for `amount` that begins to wait now.
    function push(Queue storage self, uint256 amount) internal returns (uint32 era, uint56 index) {
        uint256 factor;
        (era, factor) = unpack(self.lost.latest());
        Checkpoints.Trace208 storage requests = self.scaled[era];
        index = uint56(requests.length());
        uint208 sum = requests.latest() + uint208(amount * ONE / factor);
        // Not by `Checkpoints.push`, which would join the requests of one second into one.
        requests._checkpoints.push(Checkpoints.Checkpoint208({_key: uint48(block.timestamp), _value: sum}));
    }

    /// @notice What the requests that wait now are worth together: those with start <= now < start + period.
    /// The second itself decides, as it decides in `valueDown`; a block's maker that moves it moves both.
    // slither-disable-next-line timestamp
    function waitingDown(Queue storage self, uint32 period) internal view returns (uint256 amount) {
        (uint32 latest, uint256 factor) = unpack(self.lost.latest());
        for (uint32 ended = 0; ended < ERAS_OF_DEATH && ended <= latest; ++ended) {
            Checkpoints.Trace208 storage requests = self.scaled[latest - ended];
            (bool any, uint48 newest, uint208 sum) = requests.latestCheckpoint();
            if (!any) continue;
            if (block.timestamp >= uint256(newest) + period) break;
            uint208 over = 0;
            bool last = false;
            if (block.timestamp >= period) {
                uint48 lastOver = uint48(block.timestamp - period);
                // Where all wait still there is nothing to search, however many they are.
                last = requests._checkpoints[0]._key <= lastOver;
                if (last) over = requests.upperLookupRecent(lastOver);
            }
            amount += worthDown(sum - over, factor, ended);
            // Earlier eras have earlier requests.
            if (last) break;
        }
    }

    /// @notice Takes `taken` of `waiting`, which must be what `waitingDown` says and not be zero.
    /// @return erasEnded How many eras ended by it.
    function slash(Queue storage self, uint256 waiting, uint256 taken) internal returns (uint32 erasEnded) {
        (uint32 era, uint256 factor) = unpack(self.lost.latest());
        uint256 kept = factor * (waiting - taken);
        if (kept == 0) {
            erasEnded = ERAS_OF_DEATH;
            factor = ONE;
        } else {
            // At most three times: of at most 2^90 that waited, a wei is left.
            while (kept / waiting < MIN_FACTOR) {
                kept *= ERA_DIVISOR;
                erasEnded += 1;
            }
            factor = kept / waiting;
        }
        // slither-disable-next-line unused-return
        self.lost.push(uint48(block.timestamp), uint208(uint256(era + erasEnded) << 128 | (ONE - factor)));
    }

    /// @notice When a request ends to wait, and what it is worth after all slashes before that time.
    function valueDown(Queue storage self, uint32 era, uint56 index, uint32 period)
        internal
        view
        returns (uint48 end, uint256 value)
    {
        Checkpoints.Trace208 storage requests = self.scaled[era];
        Checkpoints.Checkpoint208 memory step = requests._checkpoints[index];
        uint256 before = index == 0 ? 0 : requests._checkpoints[index - 1]._value;
        end = step._key + period;
        (uint32 then, uint256 factor) = unpack(self.lost.upperLookupRecent(end - 1));
        value = worthDown(step._value - before, factor, then - era);
    }

    function worthDown(uint256 scaled, uint256 factor, uint256 erasEnded) private pure returns (uint256) {
        uint256 worth = scaled * factor / ONE;
        if (erasEnded == 0) return worth;
        return erasEnded < ERAS_OF_DEATH ? worth / ERA_DIVISOR ** erasEnded : 0;
    }

    function unpack(uint208 lost) private pure returns (uint32 era, uint256 factor) {
        return (uint32(lost >> 128), ONE - uint128(lost));
    }
}
