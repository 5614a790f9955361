// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PermitEntry} from "./PermitEntry.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {SharePool} from "./libraries/SharePool.sol";
import {ThawQueue} from "./libraries/ThawQueue.sol";
import {PoolId, PoolKind} from "./types/PoolId.sol";
import {Role} from "./types/Role.sol";
import {ThawId, toThawId} from "./types/ThawId.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title The pools, their holders, their thaws and their past
/// @notice The same for every kind of pool; who may enter which one, and who pays and slashes, is its heirs'.
abstract contract StakePools is IProviderStaking, PermitEntry {
    using Checkpoints for Checkpoints.Trace208;
    using SafeERC20 for IERC20;
    using SharePool for SharePool.Pool;
    using ThawQueue for ThawQueue.Queue;

    /// @dev By how many bits the past knows fewer of a pool's shares: with their tokens they fit one slot then.
    uint256 private constant SHARES_CUT = 16;
    uint256 private constant SHARES_BITS = 112;

    /// @inheritdoc IProviderStaking
    uint32 public immutable thawPeriod;

    /// @inheritdoc IProviderStaking
    uint32 public immutable streamPeriod;

    mapping(PoolId pool => SharePool.Pool) internal _pools;
    mapping(Role role => mapping(address operator => Standing)) internal _standings;
    mapping(PoolId pool => ThawQueue.Queue) private _thaws;
    mapping(ThawId thawId => address) private _thawOwners;

    /// @dev A holder's shares and the pool's era as of which they are (the lower 32 bits); each era that the pool ended
    /// since divides them.
    mapping(PoolId pool => mapping(address holder => Checkpoints.Trace208)) private _holdings;
    /// @dev A pool's tokens, active and locked, above its shares, cut and rounded up: after each entry, exit and slash.
    /// What was paid in since is not in it until the next of these.
    mapping(PoolId pool => Checkpoints.Trace208) private _history;
    /// @dev The era, where one ended.
    mapping(PoolId pool => Checkpoints.Trace208) private _eras;
    /// @dev The active tokens of all providers' own bonds together.
    Checkpoints.Trace208 private _bonded;

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
        SharePool.Pool memory p = _pools[pool].accrued();
        return PoolState({
            active: p.active,
            locked: p.locked,
            thawing: p.thawing,
            shares: p.shares,
            streamEnd: p.streamEnd,
            era: p.era,
            thawEra: _thaws[pool].latestEra()
        });
    }

    /// @inheritdoc IProviderStaking
    function standingOf(Role role, address operator) external view returns (Standing memory) {
        return _standings[role][operator];
    }

    /// @inheritdoc IProviderStaking
    function sharesOf(PoolId pool, address holder) public view returns (uint256) {
        return _sharesIn(_holdings[pool][holder].latest(), _pools[pool].era);
    }

    /// @inheritdoc IProviderStaking
    function valueOf(PoolId pool, address holder) external view returns (uint256) {
        SharePool.Pool memory p = _pools[pool].accrued();
        return SharePool.toTokensDown(sharesOf(pool, holder), p.active, p.shares);
    }

    /// @inheritdoc IProviderStaking
    function thawRequest(ThawId thawId) external view returns (ThawRequest memory request) {
        request.owner = _thawOwners[thawId];
        (request.end, request.value) = _thaws[thawId.poolOf()].valueDown(thawId.eraOf(), thawId.indexOf(), thawPeriod);
    }

    /// @inheritdoc IProviderStaking
    function tokensAt(PoolId pool, uint48 time) external view returns (uint256) {
        return _at(_history[pool], time) >> SHARES_BITS;
    }

    /// @inheritdoc IProviderStaking
    function stakeAt(PoolId pool, address holder, uint48 time) external view returns (uint256) {
        uint256 there = _at(_history[pool], time);
        uint256 all = (there & ((1 << SHARES_BITS) - 1)) << SHARES_CUT;
        if (all == 0) return 0;
        return _sharesIn(_at(_holdings[pool][holder], time), _at(_eras[pool], time)) * (there >> SHARES_BITS) / all;
    }

    /// @inheritdoc IProviderStaking
    function bondedAt(uint48 time) external view returns (uint256) {
        return _at(_bonded, time);
    }

    // Adds the caller's `amount` to the pool.
    function _enter(PoolId pool, uint256 amount) internal returns (uint256 shares) {
        if (amount == 0) revert ZeroAmount();
        SharePool.Pool storage p = _pools[pool];
        uint256 before = p.active;
        shares = p.enter(amount);
        _hold(pool, p, sharesOf(pool, msg.sender) + shares);
        _record(pool, p, before);
        emit Staked(pool, msg.sender, amount, shares);
        _pull(amount);
    }

    // Lets `shares` of the caller's thaw. No check but that the caller has them: every exit is open always.
    function _leave(PoolId pool, uint256 shares) internal returns (ThawId thawId, uint256 amount) {
        if (shares == 0) revert ZeroAmount();
        uint256 held = sharesOf(pool, msg.sender);
        if (shares > held) revert NotEnoughShares(held, shares);
        SharePool.Pool storage p = _pools[pool];
        uint256 before = p.active;
        uint256 left;
        (amount, left) = p.exit(shares);
        if (left > 0) amount += _follow(pool, p, shares, left);
        _hold(pool, p, held - shares);
        _record(pool, p, before);
        if (amount > 0) {
            (uint32 era, uint56 index) = _thaws[pool].push(amount);
            thawId = toThawId(pool, era, index);
            _thawOwners[thawId] = msg.sender;
        }
        emit Thawed(pool, msg.sender, shares, amount, thawId);
    }

    // What streams to too few goes with the caller that leaves them, as far as it had shares a stream period ago; the rest
    // is the operator's. So nobody comes for it.
    function _follow(PoolId pool, SharePool.Pool storage p, uint256 shares, uint256 left)
        private
        returns (uint256 following)
    {
        uint256 then = _holdings[pool][msg.sender].upperLookupRecent(uint48(block.timestamp - streamPeriod));
        following = left * Math.min(shares, _sharesIn(then, p.era)) / shares;
        p.thawing += uint96(following);
        if (following == left) return following;
        _earn(pool.operatorOf(), left - following);
        emit LeftToOperator(pool, left - following);
    }

    // Takes up to `amount` out of the pool and its waiting thaws.
    function _slashPool(PoolId pool, uint256 amount) internal returns (uint256 taken) {
        SharePool.Pool storage p = _pools[pool];
        ThawQueue.Queue storage queue = _thaws[pool];
        uint256 waiting = queue.waitingDown(thawPeriod);
        uint256 before = p.active;
        SharePool.Taken memory part = p.slash(amount, waiting);
        taken = part.active + part.locked + part.thawing;
        if (part.active + part.locked > 0) _record(pool, p, before);
        if (part.erasEnded > 0) {
            // slither-disable-next-line unused-return
            _eras[pool].push(uint48(block.timestamp), p.era);
            emit EraEnded(pool, p.era - part.erasEnded, p.era);
        }
        if (part.thawing == 0) return taken;
        uint32 erasEnded = queue.slash(waiting, part.thawing);
        if (erasEnded == 0) return taken;
        uint32 era = queue.latestEra();
        emit ThawEraEnded(pool, era - erasEnded, era);
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
        uint208 then = _history[pool].upperLookupRecent(uint48(block.timestamp - streamPeriod));
        return Math.min(tokens, then >> SHARES_BITS);
    }

    function _waiting(PoolId pool) internal view returns (uint256) {
        return _thaws[pool].waitingDown(thawPeriod);
    }

    function _preview(PoolId pool, uint256 amount) internal view returns (uint256) {
        SharePool.Pool memory p = _pools[pool].accrued();
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
        if (_thawOwners[thawId] != msg.sender) revert NotThawOwner(thawId);
        PoolId pool = thawId.poolOf();
        uint48 end;
        (end, amount) = _thaws[pool].valueDown(thawId.eraOf(), thawId.indexOf(), thawPeriod);
        // The second itself counts, for the slash and for the exit alike: no maker of blocks gains by moving it.
        // slither-disable-next-line timestamp
        if (block.timestamp < end) revert StillThawing(thawId, end);
        // Each request has an owner of its own to forget.
        // slither-disable-next-line costly-loop
        delete _thawOwners[thawId];
        _pools[pool].thawing -= uint96(amount);
        emit Withdrawn(thawId, msg.sender, amount);
    }

    // Writes down what the caller holds now.
    function _hold(PoolId pool, SharePool.Pool storage p, uint256 shares) private {
        // Fewer than 2^120 exist.
        // slither-disable-next-line unused-return
        _holdings[pool][msg.sender].push(uint48(block.timestamp), uint208(shares << 32 | p.era));
    }

    // Writes down what is in the pool now. `before`: its active tokens before the change.
    function _record(PoolId pool, SharePool.Pool storage p, uint256 before) private {
        uint256 active = p.active;
        uint256 shares = (uint256(p.shares) + (1 << SHARES_CUT) - 1) >> SHARES_CUT;
        // slither-disable-next-line unused-return
        _history[pool].push(uint48(block.timestamp), uint208((active + p.locked) << SHARES_BITS | shares));
        if (pool.kindOf() == PoolKind.ProviderBond) {
            // slither-disable-next-line unused-return
            _bonded.push(uint48(block.timestamp), uint208(_bonded.latest() + active - before));
        }
    }

    function _at(Checkpoints.Trace208 storage trace, uint48 time) private view returns (uint256) {
        // Within the present second it may change still.
        // slither-disable-next-line timestamp
        if (time >= block.timestamp) revert NotYetPast(time);
        return trace.upperLookupRecent(time);
    }

    function _sharesIn(uint256 held, uint256 era) private pure returns (uint256) {
        return SharePool.afterErasDown(held >> 32, era - uint32(held));
    }
}
