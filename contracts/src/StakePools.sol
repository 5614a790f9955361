// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PermitEntry} from "./PermitEntry.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {PoolBook} from "./libraries/PoolBook.sol";
import {SharePool} from "./libraries/SharePool.sol";
import {ThawQueue} from "./libraries/ThawQueue.sol";
import {PoolId} from "./types/PoolId.sol";
import {Role} from "./types/Role.sol";
import {ThawId} from "./types/ThawId.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title The ways in and out of pools, and what they hold
/// @notice The same for every kind of pool; who may enter which one, and who pays and slashes, is its heirs'.
abstract contract StakePools is IProviderStaking, PermitEntry {
    using Checkpoints for Checkpoints.Trace208;
    using PoolBook for PoolBook.Book;
    using SafeERC20 for IERC20;
    using SharePool for SharePool.Pool;
    using ThawQueue for ThawQueue.Queue;

    /// @inheritdoc IProviderStaking
    uint32 public immutable thawPeriod;

    /// @inheritdoc IProviderStaking
    uint32 public immutable streamPeriod;

    PoolBook.Book internal _book;

    constructor(uint32 thawPeriod_, uint32 streamPeriod_) {
        // A stream longer than the thaw would let a reward be waited for at less risk than it was earned at.
        if (streamPeriod_ == 0 || streamPeriod_ > thawPeriod_) revert PeriodsOutOfBounds(thawPeriod_, streamPeriod_);
        thawPeriod = thawPeriod_;
        streamPeriod = streamPeriod_;
    }

    /// @inheritdoc IProviderStaking
    function withdraw(ThawId[] calldata thawIds) external returns (uint256 amount) {
        for (uint256 i = 0; i < thawIds.length; ++i) {
            amount += _settleThaw(thawIds[i]);
        }
        if (amount > 0) _pay(msg.sender, amount);
    }

    /// @inheritdoc IProviderStaking
    function poolOf(PoolId pool) external view returns (PoolState memory) {
        SharePool.Pool memory p = _book.pools[pool].accrued();
        return PoolState({
            active: p.active,
            locked: p.locked,
            thawing: p.thawing,
            shares: p.shares,
            streamEnd: p.streamEnd,
            era: p.era,
            thawEra: _book.thaws[pool].latestEra()
        });
    }

    /// @inheritdoc IProviderStaking
    function standingOf(Role role, address operator) external view returns (Standing memory) {
        return _book.standings[role][operator];
    }

    /// @inheritdoc IProviderStaking
    function sharesOf(PoolId pool, address holder) public view returns (uint256) {
        return _book.sharesOf(pool, holder);
    }

    /// @inheritdoc IProviderStaking
    function valueOf(PoolId pool, address holder) external view returns (uint256) {
        SharePool.Pool memory p = _book.pools[pool].accrued();
        return SharePool.toTokensDown(sharesOf(pool, holder), p.active, p.shares);
    }

    /// @inheritdoc IProviderStaking
    function thawRequest(ThawId thawId) external view returns (ThawRequest memory request) {
        request.owner = _book.thawOwners[thawId];
        (request.end, request.value) =
            _book.thaws[thawId.poolOf()].valueDown(thawId.eraOf(), thawId.indexOf(), thawPeriod);
    }

    /// @inheritdoc IProviderStaking
    function tokensAt(PoolId pool, uint48 time) external view returns (uint256) {
        return _at(_book.history[pool], time) >> PoolBook.SHARES_BITS;
    }

    /// @inheritdoc IProviderStaking
    function stakeAt(PoolId pool, address holder, uint48 time) external view returns (uint256) {
        uint256 there = _at(_book.history[pool], time);
        uint256 all = (there & ((1 << PoolBook.SHARES_BITS) - 1)) << PoolBook.SHARES_CUT;
        if (all == 0) return 0;
        uint256 shares = PoolBook.sharesIn(_at(_book.holdings[pool][holder], time), _at(_book.eras[pool], time));
        return shares * (there >> PoolBook.SHARES_BITS) / all;
    }

    /// @inheritdoc IProviderStaking
    function bondedAt(uint48 time) external view returns (uint256) {
        return _at(_book.bonded, time);
    }

    // Adds the caller's `amount` to the pool.
    function _enter(PoolId pool, uint256 amount) internal returns (uint256 shares) {
        if (amount == 0) revert ZeroAmount();
        SharePool.Pool storage p = _book.pools[pool];
        uint256 before = p.active;
        shares = p.enter(amount);
        _book.hold(pool, msg.sender, sharesOf(pool, msg.sender) + shares);
        _book.record(pool, p, before);
        emit Staked(pool, msg.sender, amount, shares);
        _pull(amount);
    }

    // Lets `shares` of the caller's thaw. No check but that the caller has them: every exit is open always.
    function _leave(PoolId pool, uint256 shares) internal returns (ThawId thawId, uint256 amount) {
        if (shares == 0) revert ZeroAmount();
        uint256 held = sharesOf(pool, msg.sender);
        if (shares > held) revert NotEnoughShares(held, shares);
        uint256 toOperator;
        (amount, toOperator) = _book.depart(pool, msg.sender, shares, streamPeriod);
        if (toOperator > 0) _earn(pool.operatorOf(), toOperator);
        _book.hold(pool, msg.sender, held - shares);
        if (amount > 0) thawId = _book.thaw(pool, msg.sender, amount);
        emit Thawed(pool, msg.sender, shares, amount, thawId);
    }

    // The tokens of the pool that count where pay is split: the lesser of those now and those a stream period ago. Where
    // nobody entered or left since, what was paid in counts too.
    function _settledDown(PoolId pool, SharePool.Pool storage p) internal view returns (uint256 tokens) {
        tokens = uint256(p.active) + p.locked;
        unchecked {
            // Both wrap alike. A pool that nobody touched for 136 years is looked up, and the same comes out.
            // slither-disable-next-line timestamp
            if (uint32(block.timestamp) - p.changedAt >= streamPeriod) return tokens;
        }
        uint208 then = _book.history[pool].upperLookupRecent(uint48(block.timestamp - streamPeriod));
        return Math.min(tokens, then >> PoolBook.SHARES_BITS);
    }

    function _preview(PoolId pool, uint256 amount) internal view returns (uint256) {
        SharePool.Pool memory p = _book.pools[pool].accrued();
        return SharePool.toSharesDown(amount, p.active, p.shares);
    }

    // Adds to what an operator has earned.
    function _earn(address operator, uint256 amount) internal virtual;

    function _pull(uint256 amount) internal {
        IERC20(tide).safeTransferFrom(msg.sender, address(this), amount);
    }

    function _pay(address to, uint256 amount) internal {
        IERC20(tide).safeTransfer(to, amount);
    }

    function _settleThaw(ThawId thawId) private returns (uint256 amount) {
        if (_book.thawOwners[thawId] != msg.sender) revert NotThawOwner(thawId);
        PoolId pool = thawId.poolOf();
        uint48 end;
        (end, amount) = _book.thaws[pool].valueDown(thawId.eraOf(), thawId.indexOf(), thawPeriod);
        // The second itself counts, for the slash and for the exit alike: no maker of blocks gains by moving it.
        // slither-disable-next-line timestamp
        if (block.timestamp < end) revert StillThawing(thawId, end);
        // Each request has an owner of its own to forget.
        // slither-disable-next-line costly-loop
        delete _book.thawOwners[thawId];
        _book.pools[pool].thawing -= uint96(amount);
        emit Withdrawn(thawId, msg.sender, amount);
    }

    function _at(Checkpoints.Trace208 storage trace, uint48 time) private view returns (uint256) {
        // Within the present second it may change still.
        // slither-disable-next-line timestamp
        if (time >= block.timestamp) revert NotYetPast(time);
        return trace.upperLookupRecent(time);
    }
}
