// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EntryPause} from "./EntryPause.sol";
import {PermitEntry} from "./PermitEntry.sol";
import {ProviderRegistry} from "./ProviderRegistry.sol";
import {StakePools} from "./StakePools.sol";
import {StakeSlashing} from "./StakeSlashing.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {ITide} from "./interfaces/ITide.sol";
import {Redelegations} from "./libraries/Redelegations.sol";
import {SharePool} from "./libraries/SharePool.sol";
import {PoolId, bondPool, delegationPool} from "./types/PoolId.sol";
import {Ppm} from "./types/Ppm.sol";
import {Role} from "./types/Role.sol";
import {ThawId} from "./types/ThawId.sol";
import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Stake of operators and of those who delegate to them
/// @notice The ways in and out, and how pay is split. The pools are in StakePools, who the operators are in
/// ProviderRegistry, the slashers in StakeSlashing.
contract ProviderStaking is ProviderRegistry, StakeSlashing, EntryPause {
    using SharePool for SharePool.Pool;

    /// @notice No provider's own bond ever answers for less than a twentieth of what it may attract.
    uint8 public constant MAX_DELEGATION_RATIO = 20;

    /// @inheritdoc IProviderStaking
    uint8 public delegationRatio = 10;

    constructor(
        address authority,
        ITide tide_,
        uint32 thawPeriod_,
        uint32 streamPeriod_,
        InitialSlasher[] memory slashers
    ) AccessManaged(authority) PermitEntry(tide_) StakePools(thawPeriod_, streamPeriod_) StakeSlashing(slashers) {}

    /// @inheritdoc IProviderStaking
    function registerProvider(bytes32 metadataHash, Ppm commission, KeyBinding calldata keys) external whenEntriesOpen {
        _registerProvider(metadataHash, commission, keys);
    }

    /// @inheritdoc IProviderStaking
    function registerCoordinator(bytes32 metadataHash) external whenEntriesOpen {
        _registerCoordinator(metadataHash);
    }

    /// @inheritdoc IProviderStaking
    function bond(Role role, uint256 amount) external whenEntriesOpen onlyRegistered(role) returns (uint256 shares) {
        return _enter(bondPool(role, msg.sender), amount);
    }

    /// @inheritdoc IProviderStaking
    function unbond(Role role, uint256 shares) external returns (ThawId thawId, uint256 amount) {
        return _leave(bondPool(role, msg.sender), shares);
    }

    /// @inheritdoc IProviderStaking
    function delegate(address provider, uint256 amount) external whenEntriesOpen returns (uint256 shares) {
        _requireRegistered(Role.Provider, provider);
        uint256 room = delegationRoom(provider);
        if (amount > room) revert DelegationOverRoom(room, amount);
        return _enter(delegationPool(provider), amount);
    }

    /// @inheritdoc IProviderStaking
    function delegateUpTo(address provider, uint256 amount, uint256 minShares)
        external
        whenEntriesOpen
        returns (uint256 entered, uint256 shares)
    {
        _requireRegistered(Role.Provider, provider);
        PoolId pool = delegationPool(provider);
        entered = Math.min(amount, delegationRoom(provider));
        // Whoever fills the room but for less than a share takes all of it.
        if (_preview(pool, entered) == 0) entered = 0;
        if (entered > 0) shares = _enter(pool, entered);
        if (shares < minShares) revert TooFewShares(shares, minShares);
    }

    /// @inheritdoc IProviderStaking
    function undelegate(address provider, uint256 shares) external returns (ThawId thawId, uint256 amount) {
        return _leave(delegationPool(provider), shares);
    }

    /// @inheritdoc IProviderStaking
    function redelegate(address from, address to, uint256 shares, uint256 minShares)
        external
        whenEntriesOpen
        returns (ThawId moveId, uint256 amount, uint256 entered)
    {
        _requireRegistered(Role.Provider, to);
        return Redelegations.move(
            _book, _operators, Redelegations.Order(from, to, shares, minShares, delegationRoom(to), streamPeriod)
        );
    }

    /// @inheritdoc IProviderStaking
    function undelegateMoved(ThawId moveId) external returns (ThawId thawId, uint256 amount) {
        return Redelegations.exit(_book, _operators, moveId, streamPeriod);
    }

    /// @inheritdoc IProviderStaking
    function settleMove(ThawId moveId) external returns (uint256 shares, uint256 paid, uint256 forfeited) {
        address owner;
        (owner, shares, paid, forfeited) = Redelegations.settle(_book, _operators, moveId, thawPeriod, streamPeriod);
        if (paid > 0) _pay(owner, paid);
        if (forfeited > 0) tide.burn(forfeited);
    }

    /// @inheritdoc IProviderStaking
    function moveOf(ThawId moveId) external view returns (Move memory) {
        return Redelegations.moveOf(_book, moveId, thawPeriod);
    }

    /// @inheritdoc IProviderStaking
    function credit(Credit[] calldata credits) external returns (uint256 total) {
        for (uint256 i = 0; i < credits.length; ++i) {
            total += _credit(credits[i].provider, credits[i].amount);
        }
        if (total > 0) _pull(total);
    }

    /// @inheritdoc IProviderStaking
    function donate(address provider, uint256 amount) external returns (uint256 taken) {
        PoolId pool = delegationPool(provider);
        SharePool.Pool storage others = _book.pools[pool];
        taken = _reward(others, amount, _settledDown(pool, others));
        emit Donated(provider, msg.sender, taken);
        if (taken > 0) _pull(taken);
    }

    /// @inheritdoc IProviderStaking
    function setSlasher(address slasher, Role role, Reach calldata reach) external restricted {
        _setSlasher(slasher, role, reach);
    }

    /// @inheritdoc IProviderStaking
    function setDelegationRatio(uint8 ratio) external restricted {
        if (ratio == 0 || ratio > MAX_DELEGATION_RATIO) revert RatioOutOfBounds(ratio);
        delegationRatio = ratio;
        emit DelegationRatioSet(ratio);
    }

    /// @inheritdoc IProviderStaking
    function previewBond(Role role, address operator, uint256 amount) external view returns (uint256 shares) {
        return _preview(bondPool(role, operator), amount);
    }

    /// @inheritdoc IProviderStaking
    function previewDelegate(address provider, uint256 amount) external view returns (uint256 shares) {
        return _preview(delegationPool(provider), amount);
    }

    /// @inheritdoc IProviderStaking
    function delegationRoom(address provider) public view returns (uint256) {
        Standing storage standing = _book.standings[Role.Provider][provider];
        // What comes while a case is open would answer for a fault before it.
        // slither-disable-next-line timestamp
        if (standing.openCases > 0 && block.timestamp < standing.markedUntil) return 0;
        uint256 most = uint256(delegationRatio) * _book.pools[bondPool(Role.Provider, provider)].active;
        most = Math.min(most, standing.maxDelegated);
        SharePool.Pool storage others = _book.pools[delegationPool(provider)];
        // What streams moves between the two, so the sum needs no accrual.
        uint256 there = uint256(others.active) + others.locked;
        return there < most ? most - there : 0;
    }

    // What comes at once at most doubles what had been there, and dust gets nothing: else whoever enters just before it,
    // where little was, and leaves just after, would take along what streams.
    function _reward(SharePool.Pool storage others, uint256 amount, uint256 settled) private returns (uint256) {
        if (settled < SharePool.MIN_REWARDED_TOKENS) return 0;
        return others.reward(Math.min(amount, settled), streamPeriod);
    }

    function _credit(address provider, uint256 amount) private returns (uint256 pulled) {
        if (amount == 0) return 0;
        Operator storage operator = _operators[provider];
        if (!operator.isProvider) {
            emit CreditSkipped(provider, msg.sender, amount);
            return 0;
        }
        uint256 toDelegators = 0;
        SharePool.Pool storage others = _book.pools[delegationPool(provider)];
        // Not by the shares alone: a slash, or a puppet that leaves one share, makes shares that hold nothing.
        uint256 delegated = others.shares == 0 ? 0 : _settledDown(delegationPool(provider), others);
        if (delegated > 0) {
            PoolId own = bondPool(Role.Provider, provider);
            uint256 part = amount * delegated / (_settledDown(own, _book.pools[own]) + delegated);
            part -= _commissionOf(operator).mulDown(part);
            toDelegators = _reward(others, part, delegated);
        }
        operator.earned += uint96(amount - toDelegators);
        emit Credited(provider, msg.sender, amount - toDelegators, toDelegators);
        return amount;
    }
}
