// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title The worth of one stTIDE in TIDE, as others read prices
/// @notice Read live from LiquidStake: nobody reports it. Each form reverts where the rate is out of bounds, so none is
/// ever zero.
interface IRateFeed {
    /// @notice The rate is not within a thousandth and a thousand.
    error RateOutOfBounds(uint256 rate);
    /// @notice Nobody looked at what providers earned since `reportedAt`.
    error RateIsStale(uint48 reportedAt);
    /// @notice There is no such round.
    error NoSuchRound(uint80 round);

    /// @notice As Chainlink's AggregatorV3: 18 decimals.
    function latestRoundData()
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);

    /// @notice The same, of the present round alone: this feed keeps no others.
    function getRoundData(uint80 round)
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);

    /// @notice As Morpho's oracles: TIDE for one wei of stTIDE, times 10^36.
    function price() external view returns (uint256);

    /// @notice As Balancer's rate providers: 18 decimals.
    function getRate() external view returns (uint256);

    /// @notice That, for who sends it elsewhere: reverts too where nobody looked for longer than `maxAge`.
    function freshRate() external view returns (uint256);

    /// @notice How old a look may be for `freshRate`, in seconds.
    function maxAge() external view returns (uint32);

    /// @notice 18.
    function decimals() external pure returns (uint8);

    /// @notice What is priced.
    function description() external pure returns (string memory);

    /// @notice The form of the answers.
    function version() external pure returns (uint256);
}
