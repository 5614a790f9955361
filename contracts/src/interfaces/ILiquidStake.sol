// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Ppm} from "../types/Ppm.sol";
import {ThawId} from "../types/ThawId.sol";
import {IERC7575Vault} from "./IERC7540.sol";
import {IProviderStaking} from "./IProviderStaking.sol";
import {IStTide} from "./IStTide.sol";
import {ITide} from "./ITide.sol";

/// @title Stake that stays liquid: TIDE in, stTIDE out
/// @notice A synchronous ERC-4626 whose share is a token of its own (ERC-7575), so the ERC-20 half of ERC-4626 is stTIDE's.
/// Deposits land in a buffer and are delegated in batches to listed providers. Who leaves takes what the buffer has, for
/// a fee, or waits in ExitQueue for nothing but time.
///
/// All amounts are wei of TIDE. What is counted: assets + streaming = buffer + what is known of each provider's delegation
/// + what is known of each thaw. Known is a value as of the last look; gains since are nobody's until `harvest`, losses
/// count before anybody enters or leaves: while the counter of slashes in ProviderStaking is what it was at the last look,
/// nothing was lost. TIDE sent here by plain transfer belongs to nobody and is counted nowhere.
///
/// Losses come before gains: they take what streams first, then what is there.
interface ILiquidStake is IERC7575Vault {
    // ---------------------------------------------------------------------------------------------- types

    /// @notice What governs may set, each within bounds in code.
    /// @param performanceFee Of what is earned once losses are earned back, in shares for the treasury. At most 20 %.
    /// @param dailyCap By how much of the assets earnings may raise them in a day. At most 0.5 %.
    /// @param minExitFee Of the last wei that an instant exit takes of a full buffer. At least the daily cap times the days
    /// of the stream: who enters and leaves at once takes no earnings along. At most 5 %.
    /// @param maxExitFee Of the last wei that it takes of an empty one. At least the least, at most 10 %.
    /// @param bufferTarget The part of the assets that stays in the buffer. At most 25 %.
    /// @param providerCap The greatest part of the assets with one provider. At most 50 %.
    /// @param operatorCap The greatest part of the assets with the providers of one operator. At most 50 %, at least that
    /// of a provider.
    /// @param bondMultiple How many times its own active bond may be with a provider, 1 to 20.
    struct Params {
        Ppm performanceFee;
        Ppm dailyCap;
        Ppm minExitFee;
        Ppm maxExitFee;
        Ppm bufferTarget;
        Ppm providerCap;
        Ppm operatorCap;
        uint8 bondMultiple;
    }

    /// @notice What it is deployed with.
    struct Setup {
        address authority;
        ITide tide;
        IProviderStaking staking;
        IStTide share;
        address treasury;
        uint96 seed;
        Params params;
    }

    /// @notice A listed provider, and what is with it.
    /// @param known Its delegation as of the last look.
    /// @param thawing Of its thaws, as of the last look.
    /// @param slashes The provider's counter of slashes then.
    /// @param weight Its part of what is spread, among the weights of all; zero for who gets nothing more, and whose stake
    /// is drawn off.
    /// @param operator Who is behind it, by the policy: providers of one number share the cap of an operator.
    /// @param thawEpoch In which epoch it was thawed from last.
    struct Position {
        uint96 known;
        uint96 thawing;
        uint32 slashes;
        uint16 weight;
        uint16 operator;
        uint32 thawEpoch;
    }

    /// @notice A request to leave a provider.
    struct Thaw {
        ThawId id;
        uint96 known;
        uint48 end;
    }

    /// @notice What there is.
    /// @param assets What the shares are worth together.
    /// @param streaming Earnings that have not arrived yet.
    /// @param streamEnd When the last of them will have.
    /// @param buffer What lies here, undelegated.
    /// @param toRecover Losses that were not earned back; no performance fee is taken before.
    /// @param capacity Most that all of it may come to: what providers take, and the buffer.
    /// @param bufferTarget What the buffer should have.
    /// @param reportedAt When somebody looked last.
    struct State {
        uint256 assets;
        uint256 streaming;
        uint48 streamEnd;
        uint256 buffer;
        uint256 toRecover;
        uint256 capacity;
        uint256 bufferTarget;
        uint48 reportedAt;
    }

    // --------------------------------------------------------------------------------------------- events

    /// @notice The parameters are these now.
    event ParamsSet(Params params);
    /// @notice The treasury that gets the performance fee is this one now.
    event TreasurySet(address treasury);
    /// @notice A provider is listed with this weight and operator; zero takes it off.
    event ProviderSet(address indexed provider, uint16 weight, uint16 operator);
    /// @notice Slashes cost `loss` since the last look.
    event LossTaken(uint256 loss);
    /// @notice A provider's delegation earned `gain`; `fee` of it went to the treasury as shares, the rest streams.
    event Harvested(address indexed provider, uint256 gain, uint256 fee);
    /// @notice `amount` of the buffer was delegated.
    event Delegated(address indexed provider, uint256 amount);
    /// @notice `amount` began to thaw.
    event Undelegated(address indexed provider, uint256 amount, ThawId thawId);
    /// @notice Thawed stake came back to the buffer.
    event Reaped(address indexed provider, uint256 amount);
    /// @notice Queued shares were burned for `paid`, of `value`.
    event ExitsSettled(uint256 shares, uint256 value, uint256 paid);
    /// @notice After a loss of nearly all, somebody gave `amount` to who holds shares.
    event Recapitalised(address indexed from, uint256 amount);

    // --------------------------------------------------------------------------------------------- errors

    /// @notice A parameter is out of its bounds.
    error ParamsOutOfBounds(Params params);
    /// @notice The share names another entry point.
    error NotItsEntryPoint(address expected);
    /// @notice The first deposit, whose shares nobody ever gets back, is at least one TIDE.
    error SeedTooSmall(uint256 seed);
    /// @notice There is no treasury.
    error TreasuryIsZero();
    /// @notice No more than `most` can enter now.
    error DepositOverMax(uint256 most, uint256 wanted);
    /// @notice No more than `most` can leave at once now.
    error WithdrawOverMax(uint256 most, uint256 wanted);
    /// @notice What enters or leaves is worth nothing.
    error ZeroShares();
    /// @notice Only ExitQueue may call this.
    error NotExitQueue(address caller);
    /// @notice The buffer has only `buffer`.
    error BufferTooSmall(uint256 buffer, uint256 wanted);
    /// @notice At most this many providers are listed.
    error TooManyProviders(uint256 most);
    /// @notice The provider is not listed.
    error NotListed(address provider);
    /// @notice The share is worth enough, or would not be after this.
    error RecapitalisationInvalid(uint256 least);
    /// @notice The past is what is before this second.
    error NotYetPast(uint48 time);

    // ------------------------------------------------------------------------------------- what anybody may

    /// @notice Counts what slashes took since the last look. Every entry and exit does so by itself.
    function sync() external;

    /// @notice Counts what each provider's delegation earned, and lets it stream to holders; takes the performance fee.
    function harvest() external;

    /// @notice Takes back what has thawed.
    function reap() external;

    /// @notice Delegates what the buffer has over its target and over what ExitQueue waits for, by the weights and caps.
    function spread() external;

    /// @notice Lets thaw what ExitQueue waits for and nothing else covers, from each provider by what is with it; and all
    /// that is with providers of weight zero. From each provider once an epoch.
    function draw() external;

    /// @notice The five above, in the order that serves exits first, and the limits anew.
    function tend() external;

    /// @notice Where a share is worth less than a thousandth TIDE, nobody can enter: newcomers would pay for nothing, or
    /// shares become too many to count. Who gives as much as lifts the share to that opens it again. Holders get the
    /// gift.
    function recapitalise(uint256 amount) external;

    // -------------------------------------------------------------------------------------------- ExitQueue

    /// @notice Burns `shares` that ExitQueue holds and pays it their value, at most `most`; what is over streams to who
    /// stays.
    /// @return paid What was paid.
    /// @return value What the shares were worth, rounded down.
    function settleExits(uint256 shares, uint256 most) external returns (uint256 paid, uint256 value);

    /// @notice Takes in `amount` that ExitQueue has sent and nobody claims; it streams to who stays.
    function takeBack(uint256 amount) external;

    // --------------------------------------------------------------------------------------------- governed

    /// @notice Sets the parameters. Restricted.
    function setParams(Params calldata params) external;

    /// @notice Names who gets the performance fee. Restricted.
    function setTreasury(address treasury) external;

    /// @notice Lists a provider, or changes what it is listed with. Restricted.
    function setProvider(address provider, uint16 weight, uint16 operator) external;

    // ------------------------------------------------------------------------------------------------ views

    /// @notice What there is, with all slashes counted and what has streamed in.
    function state() external view returns (State memory);

    /// @notice The parameters.
    function parameters() external view returns (Params memory);

    /// @notice Who gets the performance fee.
    function treasury() external view returns (address);

    /// @notice What one whole share is worth, in wei of TIDE, rounded down.
    function rate() external view returns (uint256);

    /// @notice That as of the last look before or at a time before this second; zero before the first. Who governs may
    /// count shares by it.
    function rateAt(uint48 time) external view returns (uint256);

    /// @notice Whether no open case against a provider could cost more than the least fee of an instant exit: while one
    /// could, nobody leaves at once.
    function isCalm() external view returns (bool);

    /// @notice What an instant exit can take now, after what ExitQueue waits for.
    function instantRoom() external view returns (uint256);

    /// @notice What an instant exit of `assets` costs above them, rounded up.
    function exitFeeUp(uint256 assets) external view returns (uint256);

    /// @notice How many providers are listed.
    function providerCount() external view returns (uint256);

    /// @notice The provider at that place, from zero on.
    function providerAt(uint256 index) external view returns (address);

    /// @notice What is with a provider.
    function positionOf(address provider) external view returns (Position memory);

    /// @notice The requests to leave a provider that are not taken back yet.
    function thawsOf(address provider) external view returns (Thaw[] memory);
}
