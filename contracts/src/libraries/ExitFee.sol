// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Ppm} from "../types/Ppm.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title The fee of an instant exit
/// @notice Deployed once and linked into LiquidStake, whose size it would burst.
///
/// The marginal fee of the wei that takes the buffer from x + dx to x is
///
///     r(x) = least                                  where x >= target
///     r(x) = least + (most - least) * (1 - x / target)   below
///
/// and an exit of n pays the integral of it from b - n to b. So it costs the same in one piece and in many, to within a
/// wei for each piece, which is against who splits; and the buffer's last wei is the dearest.
library ExitFee {
    /// @param least The marginal fee of a full buffer.
    /// @param most That of an empty one.
    /// @param target What makes it full, at least a wei.
    struct Curve {
        Ppm least;
        Ppm most;
        uint256 target;
    }

    /// @dev One whole, as Ppm has it.
    uint256 private constant ONE = 1e6;

    /// @notice The fee for taking `assets` of a buffer of `buffer`. What the buffer does not have counts as its last wei.
    function feeUp(Curve memory self, uint256 buffer, uint256 assets) public pure returns (uint256) {
        if (assets > buffer) return self.most.mulUp(assets - buffer) + feeUp(self, buffer, buffer);
        if (assets == 0) return 0;
        (uint256 least, uint256 slope) = ratesOf(self);
        // Twice the integral, in millionths and times the target, so that one division rounds: what all pays, and what is
        // below the target pays besides.
        uint256 twice = 2 * least * assets * self.target;
        uint256 after_ = buffer - assets;
        if (after_ < self.target) {
            uint256 top = Math.min(buffer, self.target);
            // From `after_` to `top`, of (target - x): half the difference of the squares.
            uint256 low = self.target - after_;
            uint256 high = self.target - top;
            twice += slope * (low - high) * (low + high);
        }
        return Math.ceilDiv(twice, 2 * ONE * self.target);
    }

    /// @notice What can be taken of a buffer of `buffer` for `gross`, the fee included: never more than the buffer, and
    /// never so much that what is taken and its fee come to more than `gross`; less than the most by a few billionths of
    /// a billionth.
    function netDown(Curve memory self, uint256 buffer, uint256 gross) external pure returns (uint256 net) {
        (uint256 least, uint256 slope) = ratesOf(self);
        uint256 flat = buffer > self.target ? buffer - self.target : 0;
        uint256 flatGross = flat + Math.ceilDiv(flat * least, ONE);
        if (gross <= flatGross) {
            net = Math.min(gross * ONE / (ONE + least), flat);
        } else {
            uint256 top = buffer - flat;
            // n * a + n^2 * slope / (2 * target) = g * 10^6, by the root that cancels nothing; times the target.
            uint256 g = gross - flatGross;
            uint256 a = (ONE + least) * self.target + slope * (self.target - top);
            uint256 root = Math.sqrt(a * a + 2 * slope * g * ONE * self.target, Math.Rounding.Ceil);
            net = flat + Math.min(Math.mulDiv(2 * g * ONE, self.target, a + root), top);
        }
        uint256 costs = net + feeUp(self, buffer, net);
        // A wei less costs at least a wei less.
        if (costs > gross) net -= Math.min(net, costs - gross);
    }

    function ratesOf(Curve memory self) private pure returns (uint256 least, uint256 slope) {
        least = Ppm.unwrap(self.least);
        slope = Ppm.unwrap(self.most) - least;
    }
}
