// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PermitEntry} from "./PermitEntry.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {SharePool} from "./libraries/SharePool.sol";
import {ThawQueue} from "./libraries/ThawQueue.sol";
import {PoolId} from "./types/PoolId.sol";
import {ThawId, toThawId} from "./types/ThawId.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title The pools, their holders and their thaws
/// @notice The same for every kind of pool; who may enter which one, and who pays and slashes, is its heirs'.
abstract contract StakePools is IProviderStaking, PermitEntry {
    using SafeERC20 for IERC20;
    using SharePool for SharePool.Pool;
    using ThawQueue for ThawQueue.Queue;

    /// @dev As of `era`; each era that the pool ended since divides them. Read by `sharesOf` alone.
    struct Holding {
        uint128 shares;
        uint32 era;
    }

    /// @inheritdoc IProviderStaking
    uint32 public immutable thawPeriod;

    /// @inheritdoc IProviderStaking
    uint32 public immutable streamPeriod;

    mapping(PoolId pool => SharePool.Pool) internal _pools;
    mapping(PoolId pool => ThawQueue.Queue) private _thaws;
    mapping(PoolId pool => mapping(address holder => Holding)) private _holdings;
    mapping(ThawId thawId => address) private _thawOwners;

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
    function sharesOf(PoolId pool, address holder) public view returns (uint256) {
        Holding memory held = _holdings[pool][holder];
        return SharePool.afterErasDown(held.shares, _pools[pool].era - held.era);
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

    // Adds the caller's `amount` to the pool.
    function _enter(PoolId pool, uint256 amount) internal returns (uint256 shares) {
        if (amount == 0) revert ZeroAmount();
        SharePool.Pool storage p = _pools[pool];
        shares = p.enter(amount);
        uint256 held = sharesOf(pool, msg.sender);
        _holdings[pool][msg.sender] = Holding({shares: uint128(held + shares), era: p.era});
        emit Staked(pool, msg.sender, amount, shares);
        _pull(amount);
    }

    // Lets `shares` of the caller's thaw. No check but that the caller has them: every exit is open always.
    function _leave(PoolId pool, uint256 shares) internal returns (ThawId thawId, uint256 amount) {
        if (shares == 0) revert ZeroAmount();
        uint256 held = sharesOf(pool, msg.sender);
        if (shares > held) revert NotEnoughShares(held, shares);
        SharePool.Pool storage p = _pools[pool];
        _holdings[pool][msg.sender] = Holding({shares: uint128(held - shares), era: p.era});

        uint256 left;
        (amount, left) = p.exit(shares);
        if (amount > 0) {
            (uint32 era, uint56 index) = _thaws[pool].push(amount);
            thawId = toThawId(pool, era, index);
            _thawOwners[thawId] = msg.sender;
        }
        if (left > 0) {
            _earn(pool.operatorOf(), left);
            emit LeftToOperator(pool, left);
        }
        emit Thawed(pool, msg.sender, shares, amount, thawId);
    }

    // Takes up to `amount` out of the pool and its waiting thaws.
    function _slashPool(PoolId pool, uint256 amount) internal returns (uint256 taken) {
        SharePool.Pool storage p = _pools[pool];
        ThawQueue.Queue storage queue = _thaws[pool];
        uint256 waiting = queue.waitingDown(thawPeriod);
        SharePool.Taken memory part = p.slash(amount, waiting);
        taken = part.active + part.locked + part.thawing;
        if (part.erasEnded > 0) emit EraEnded(pool, p.era - part.erasEnded, p.era);
        if (part.thawing == 0) return taken;
        uint32 erasEnded = queue.slash(waiting, part.thawing);
        if (erasEnded == 0) return taken;
        uint32 era = queue.latestEra();
        emit ThawEraEnded(pool, era - erasEnded, era);
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
}
