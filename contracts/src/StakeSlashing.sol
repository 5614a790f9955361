// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {StakePools} from "./StakePools.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {SharePool} from "./libraries/SharePool.sol";
import {SlashCases} from "./libraries/SlashCases.sol";
import {PoolId, bondPool, delegationPool} from "./types/PoolId.sol";
import {Role} from "./types/Role.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title What slashers take for proven fault
abstract contract StakeSlashing is StakePools {
    using SharePool for SharePool.Pool;
    using SlashCases for SlashCases.Book;

    /// @inheritdoc IProviderStaking
    uint256 public slashCount;

    SlashCases.Book private _slashers;

    constructor(InitialSlasher[] memory slashers) {
        for (uint256 i = 0; i < slashers.length; ++i) {
            // Where nobody has anything at stake, there is nobody to leave first.
            _slashers.setReach(slashers[i].slasher, slashers[i].role, slashers[i].reach, 0);
        }
    }

    /// @inheritdoc IProviderStaking
    function openCase(Role role, address operator, bytes32 caseId) external {
        (uint256 own, uint256 delegated) = _answering(role, operator);
        _slashers.open(_standings[role][operator], role, operator, caseId, own, delegated, thawPeriod);
    }

    /// @inheritdoc IProviderStaking
    function closeCase(Role role, address operator, bytes32 caseId) external {
        _slashers.close(_standings[role][operator], role, operator, caseId);
    }

    /// @inheritdoc IProviderStaking
    function slash(Role role, address operator, uint256 amount, bytes32 caseId)
        external
        returns (uint256 own, uint256 delegated)
    {
        bytes32 key = SlashCases.keyOf(msg.sender, role, operator, caseId);
        (own, delegated) = _answering(role, operator);
        (own, delegated) = _slashers.room(key, role, own, delegated);
        Case storage c = _slashers.cases[key];
        own = Math.min(amount, own);
        if (own > 0) {
            own = _slashPool(bondPool(role, operator), own);
            c.ownTaken += uint96(own);
        }
        delegated = Math.min(amount - own, delegated);
        if (delegated > 0) {
            delegated = _slashPool(delegationPool(operator), delegated);
            c.delegatedTaken += uint96(delegated);
        }
        if (own + delegated == 0) return (0, 0);
        slashCount += 1;
        _standings[role][operator].slashes += 1;
        emit Slashed(role, operator, caseId, msg.sender, own, delegated);
        _pay(msg.sender, own + delegated);
    }

    /// @inheritdoc IProviderStaking
    function stakeOf(Role role, address operator) public view returns (Stake memory stake) {
        PoolId own = bondPool(role, operator);
        stake.bonded = _pools[own].active;
        stake.bondThawing = _waiting(own);
        if (role == Role.Provider) {
            PoolId others = delegationPool(operator);
            SharePool.Pool memory p = _pools[others].accrued();
            stake.delegated = p.active;
            stake.delegatedLocked = p.locked;
            stake.delegatedThawing = _waiting(others);
        }
    }

    /// @inheritdoc IProviderStaking
    function slashable(Role role, address operator) external view returns (uint256) {
        (uint256 own, uint256 delegated) = _answering(role, operator);
        return own + delegated;
    }

    /// @inheritdoc IProviderStaking
    function caseOf(address slasher, Role role, address operator, bytes32 caseId) external view returns (Case memory) {
        return _slashers.cases[SlashCases.keyOf(slasher, role, operator, caseId)];
    }

    /// @inheritdoc IProviderStaking
    function slasherReach(address slasher, Role role) external view returns (Reach memory) {
        return _slashers.reachOf(slasher, role);
    }

    function _setSlasher(address slasher, Role role, Reach calldata reach) internal {
        _slashers.setReach(slasher, role, reach, thawPeriod);
    }

    function _answering(Role role, address operator) private view returns (uint256 own, uint256 delegated) {
        Stake memory stake = stakeOf(role, operator);
        own = stake.bonded + stake.bondThawing;
        delegated = stake.delegated + stake.delegatedLocked + stake.delegatedThawing;
    }
}
