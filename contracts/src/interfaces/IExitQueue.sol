// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7540Operator, IERC7540Redeem, IERC7540RedeemTransferable, IERC7575Vault} from "./IERC7540.sol";

/// @title Exits by request
/// @notice An asynchronous ERC-7540 redeem vault over stTIDE. Each request is also an ERC-721 token, whose owner is its
/// controller; who may move one may move the other.
///
/// Shares that wait stay shares: they lose what all lose. They gain nothing: a request is never paid more than its shares
/// were worth when it was made. Requests are finalised in their order, in batches, each at the cost of one whatever its
/// length: it locks min(sum of what each was worth, what all are worth now). A claim gets min(what its own was worth, its
/// part of what all were worth then), so all claims of a batch together never exceed what it locked. What is left over
/// when all have claimed goes back and streams to who stays.
///
/// Nobody can pause a request, its finalisation or a claim, and there are no roles here.
interface IExitQueue is IERC7575Vault, IERC7540Operator, IERC7540Redeem, IERC7540RedeemTransferable {
    // ---------------------------------------------------------------------------------------------- types

    /// @notice A request.
    /// @param owner Its controller; zero once it is claimed.
    /// @param shares What it began with.
    /// @param assets What they were worth then: the most that it gets.
    /// @param requestedAt When that was.
    /// @param latestClaimAt When it can be claimed at the latest, where somebody calls what anybody may.
    /// @param claimable Whether it can be claimed.
    /// @param sharesLeft What of its shares was not claimed.
    /// @param assetsLeft What those get; zero while they wait.
    struct Request {
        address owner;
        uint256 shares;
        uint256 assets;
        uint48 requestedAt;
        uint48 latestClaimAt;
        bool claimable;
        uint256 sharesLeft;
        uint256 assetsLeft;
    }

    // --------------------------------------------------------------------------------------------- events

    /// @notice Requests up to `last` can be claimed: `shares` that were worth `value`, for which `locked` is held.
    event Finalised(uint256 indexed first, uint256 indexed last, uint256 shares, uint256 value, uint256 locked);
    /// @notice What nobody had a claim to went back.
    event Swept(uint256 indexed batch, uint256 amount);
    /// @notice Shares of requests were claimed (ERC-4626).
    event Withdraw(
        address indexed sender, address indexed receiver, address indexed owner, uint256 assets, uint256 shares
    );

    // --------------------------------------------------------------------------------------------- errors

    /// @notice The share names another entry point.
    error NotItsEntryPoint(address expected);
    /// @notice The least wait is at least a stream of earnings and at most a thaw.
    error WaitOutOfBounds(uint32 given);
    /// @notice A request is over at least this many shares.
    error RequestTooSmall(uint256 least);
    /// @notice The caller may not act for `account`.
    error NotOperatorOf(address account, address caller);
    /// @notice TIDE enters by LiquidStake.
    error EntersElsewhere(address liquidStake);
    /// @notice What a request gets is known once it is finalised.
    error NoPreview();
    /// @notice No request up to `last` can be finalised: there is none, or it is done.
    error NothingToFinalise(uint256 last);
    /// @notice The request has to wait until `earliest`.
    error TooEarly(uint256 requestId, uint48 earliest);
    /// @notice A case is open that could cost more than an instant exit does: requests wait for it, until their latest date.
    error CaseOpen(uint256 requestId, uint48 latest);
    /// @notice The controller can claim only `most`.
    error ClaimOverMax(uint256 most, uint256 wanted);
    /// @notice There is no such request, it is not the controller's, or it does not wait.
    error NotPending(uint256 requestId, address controller);
    /// @notice The request cannot be claimed, or it is not the caller's.
    error NotClaimable(uint256 requestId);
    /// @notice The batch has claims yet, or nothing is left.
    error NothingToSweep(uint256 batch);

    // ---------------------------------------------------------------------------------------------- calls

    /// @notice Finalises all requests up to `last` that wait. Each must have waited `minWait`, and the buffer of
    /// LiquidStake must have what they get. Anybody may.
    /// @return locked What is held for them.
    function finalise(uint256 last) external returns (uint256 locked);

    /// @notice Pays requests of the caller's, or of who lets the caller act, in full, to `receiver`.
    function claim(uint256[] calldata requestIds, address receiver) external returns (uint256 assets);

    /// @notice Sends back what is left of a batch that all have claimed. Anybody may.
    /// @param batch Its last request.
    function sweep(uint256 batch) external returns (uint256 amount);

    // ---------------------------------------------------------------------------------------------- views

    /// @notice A request.
    function requestOf(uint256 requestId) external view returns (Request memory);

    /// @notice The requests of a controller that are not claimed.
    function requestsOf(address controller) external view returns (uint256[] memory);

    /// @notice When a request that is made now could be claimed at the latest: the end of this epoch and a thaw period
    /// more.
    function latestClaimIfRequestedNow() external view returns (uint48);

    /// @notice The shares that wait.
    function pendingShares() external view returns (uint256);

    /// @notice What is held for claims.
    function lockedAssets() external view returns (uint256);

    /// @notice How many requests there ever were, and up to which they can be claimed.
    function counts() external view returns (uint256 last, uint256 finalised);

    /// @notice How long a request waits at least, in seconds. Fixed for ever.
    function minWait() external view returns (uint32);
}
