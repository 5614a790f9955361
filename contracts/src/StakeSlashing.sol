// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {StakePools} from "./StakePools.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {SharePool} from "./libraries/SharePool.sol";
import {PoolId, bondPool, delegationPool} from "./types/PoolId.sol";
import {Ppm} from "./types/Ppm.sol";
import {Role} from "./types/Role.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Who may take stake for proven fault, and how much
abstract contract StakeSlashing is StakePools {
    using SharePool for SharePool.Pool;

    mapping(address slasher => mapping(Role role => Ppm)) private _reach;
    mapping(bytes32 key => Case) private _cases;

    constructor(InitialSlasher[] memory slashers) {
        for (uint256 i = 0; i < slashers.length; ++i) {
            _setSlasher(slashers[i].slasher, slashers[i].role, slashers[i].perCase);
        }
    }

    /// @inheritdoc IProviderStaking
    function slash(Role role, address operator, uint256 amount, bytes32 caseId) external returns (uint256 taken) {
        Case storage c = _cases[_caseKey(msg.sender, role, operator, caseId)];
        Ppm reach = _reach[msg.sender][role];
        // Who may take nothing takes nothing: a contract that lost its reach can still say who is guilty.
        if (c.reach.isZero() && reach.isZero()) return 0;
        amount = Math.min(amount, _raiseBound(c, reach, slashable(role, operator)));
        if (amount == 0) return 0;

        uint256 own = _slashPool(bondPool(role, operator), amount);
        uint256 delegated = 0;
        if (own < amount && role == Role.Provider) {
            delegated = _slashPool(delegationPool(operator), amount - own);
        }
        taken = own + delegated;
        c.taken += uint112(taken);
        emit Slashed(role, operator, caseId, msg.sender, own, delegated);
        if (taken > 0) _pay(msg.sender, taken);
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
    function slashable(Role role, address operator) public view returns (uint256) {
        Stake memory stake = stakeOf(role, operator);
        return stake.bonded + stake.bondThawing + stake.delegated + stake.delegatedLocked + stake.delegatedThawing;
    }

    /// @inheritdoc IProviderStaking
    function caseOf(address slasher, Role role, address operator, bytes32 caseId) external view returns (Case memory) {
        return _cases[_caseKey(slasher, role, operator, caseId)];
    }

    /// @inheritdoc IProviderStaking
    function slasherReach(address slasher, Role role) external view returns (Ppm) {
        return _reach[slasher][role];
    }

    function _setSlasher(address slasher, Role role, Ppm perCase) internal {
        if (slasher == address(0)) revert SlasherIsZero();
        _reach[slasher][role] = perCase.checked();
        emit SlasherSet(slasher, role, perCase);
    }

    // Opens the case at its first slash, raises its bound by what answers now, and says how much it may take yet.
    function _raiseBound(Case storage c, Ppm reach, uint256 answering) private returns (uint256 room) {
        uint256 taken = c.taken;
        uint256 bound = c.bound;
        // A slasher that was removed gains nothing more, not even by stake that comes after.
        if (!reach.isZero()) {
            if (c.reach.isZero()) c.reach = reach;
            uint256 present = c.reach.mulDown(answering + taken);
            if (present > bound) {
                bound = present;
                c.bound = uint112(bound);
            }
        }
        return bound - taken;
    }

    function _caseKey(address slasher, Role role, address operator, bytes32 caseId) private pure returns (bytes32) {
        return keccak256(abi.encode(slasher, role, operator, caseId));
    }
}
