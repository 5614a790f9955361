// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {StakePools} from "./StakePools.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {SlashCases} from "./libraries/SlashCases.sol";
import {Role} from "./types/Role.sol";

/// @title What slashers take for proven fault
abstract contract StakeSlashing is StakePools {
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
        _slashers.open(_book, role, operator, caseId, thawPeriod);
    }

    /// @inheritdoc IProviderStaking
    function closeCase(Role role, address operator, bytes32 caseId) external {
        _slashers.close(_book.standings[role][operator], role, operator, caseId);
    }

    /// @inheritdoc IProviderStaking
    function slash(Role role, address operator, uint256 amount, bytes32 caseId)
        external
        returns (uint256 own, uint256 delegated)
    {
        uint256 moved;
        (own, delegated, moved) = _slashers.slash(_book, role, operator, amount, caseId, thawPeriod);
        if (own + delegated + moved == 0) return (0, 0);
        slashCount += 1;
        if (own + delegated > 0) _pay(msg.sender, own + delegated);
    }

    /// @inheritdoc IProviderStaking
    function stakeOf(Role role, address operator) external view returns (Stake memory stake) {
        return SlashCases.stakeOf(_book, role, operator, thawPeriod);
    }

    /// @inheritdoc IProviderStaking
    function slashable(Role role, address operator) external view returns (uint256) {
        Stake memory s = SlashCases.stakeOf(_book, role, operator, thawPeriod);
        return s.bonded + s.bondThawing + s.delegated + s.delegatedLocked + s.delegatedThawing + s.moved;
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
}
