// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ILiquidStake} from "./interfaces/ILiquidStake.sol";
import {IRateFeed} from "./interfaces/IRateFeed.sol";

/// @title The worth of one stTIDE in TIDE, as others read prices
contract RateFeed is IRateFeed {
    /// @notice A rate outside of these is no price: below, LiquidStake takes no deposits either.
    uint256 public constant MIN_RATE = 1e15;
    uint256 public constant MAX_RATE = 1e21;

    /// @inheritdoc IRateFeed
    uint32 public immutable maxAge;

    ILiquidStake private immutable _liquid;

    constructor(ILiquidStake liquid, uint32 maxAge_) {
        _liquid = liquid;
        maxAge = maxAge_;
    }

    /// @inheritdoc IRateFeed
    function latestRoundData() public view returns (uint80, int256, uint256, uint256, uint80) {
        // The look is the round; the answer is of now.
        uint48 looked = _liquid.state().reportedAt;
        // Below 2^70.
        // forge-lint: disable-next-line(unsafe-typecast)
        return (looked, int256(getRate()), looked, block.timestamp, looked);
    }

    /// @inheritdoc IRateFeed
    function getRoundData(uint80 round) external view returns (uint80, int256, uint256, uint256, uint80) {
        if (round != _liquid.state().reportedAt) revert NoSuchRound(round);
        return latestRoundData();
    }

    /// @inheritdoc IRateFeed
    function price() external view returns (uint256) {
        // 36 digits and those of TIDE, less those of stTIDE, are 36; the rate has 18.
        return getRate() * 1e18;
    }

    /// @inheritdoc IRateFeed
    function getRate() public view returns (uint256 rate) {
        rate = _liquid.rate();
        if (rate < MIN_RATE || rate > MAX_RATE) revert RateOutOfBounds(rate);
    }

    /// @inheritdoc IRateFeed
    function freshRate() external view returns (uint256) {
        uint48 looked = _liquid.state().reportedAt;
        // slither-disable-next-line timestamp
        if (block.timestamp > uint256(looked) + maxAge) revert RateIsStale(looked);
        return getRate();
    }

    /// @inheritdoc IRateFeed
    function decimals() external pure returns (uint8) {
        return 18;
    }

    /// @inheritdoc IRateFeed
    function description() external pure returns (string memory) {
        return "stTIDE / TIDE";
    }

    /// @inheritdoc IRateFeed
    function version() external pure returns (uint256) {
        return 1;
    }
}
