// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ProviderStaking} from "../../../src/ProviderStaking.sol";
import {Tide} from "../../../src/Tide.sol";
import {IEntryPause} from "../../../src/interfaces/IEntryPause.sol";
import {IProviderStaking} from "../../../src/interfaces/IProviderStaking.sol";
import {PoolId, delegationPool} from "../../../src/types/PoolId.sol";
import {ThawId} from "../../../src/types/ThawId.sol";
import {Handler} from "./Handler.sol";

/// @notice The handler's people, who also take their stake from one provider to another.
contract MovingHandler is Handler {
    ThawId[] public moves;

    constructor(
        ProviderStaking staking_,
        Tide tide_,
        address guardian_,
        address governor_,
        address[] memory operators_,
        address[] memory holders_,
        address[] memory slashers_
    ) Handler(staking_, tide_, guardian_, governor_, operators_, holders_, slashers_) {}

    function redelegate(uint256 who, uint256 where, uint256 part) external {
        where %= type(uint128).max;
        address from = _provider(where);
        address to = _provider(where + 1);
        PoolId pool = delegationPool(from);
        address holder = _holderIn(pool, who);
        uint256 shares = _part(staking.sharesOf(pool, holder), part);
        (uint256 least, uint256 most) = _exitValue(pool, shares);
        if (shares == 0 || least == 0) return;
        _makeRoom(to, most);
        uint256 room = staking.delegationRoom(to);
        uint256[] memory others = _valuesIn(pool);
        bool paused = block.timestamp < staking.pausedUntil();
        bool refused = paused || room < least;
        // The call that is to revert is the next one: nothing is read in between.
        if (paused) {
            vm.expectPartialRevert(IEntryPause.EntriesArePaused.selector);
        } else if (room < least) {
            vm.expectPartialRevert(IProviderStaking.DelegationOverRoom.selector);
        } else if (room < most || staking.previewDelegate(to, least) == 0) {
            // Depends on how much follows the last who leaves.
            return;
        }
        vm.prank(holder);
        (ThawId id, uint256 amount,) = staking.redelegate(from, to, shares, 0);
        if (refused) return;
        _check(amount >= least && amount <= most, "what moves is what the shares were worth");
        IProviderStaking.Move memory m = staking.moveOf(id);
        _check(m.owner == holder && m.end == block.timestamp + 28 days, "a move answers for a thaw period");
        _check(m.kept <= amount && m.kept + 1 >= amount, "and has lost nothing yet");
        _notLowered(pool, others, holder);
        moves.push(id);
    }

    function undelegateMoved(uint256 which) external {
        if (moves.length == 0) return;
        ThawId id = moves[which % moves.length];
        IProviderStaking.Move memory m = staking.moveOf(id);
        if (m.owner == address(0) || ThawId.unwrap(m.thawId) != 0) {
            vm.expectPartialRevert(IProviderStaking.NotMoveOwner.selector);
            vm.prank(holders[0]);
            staking.undelegateMoved(id);
            return;
        }
        (uint256 least, uint256 most) = _exitValue(delegationPool(m.to), m.shares);
        vm.prank(m.owner);
        (, uint256 amount) = staking.undelegateMoved(id);
        _check(amount >= least && amount <= most, "what leaves is what the shares were worth");
    }

    function settleMove(uint256 which) external {
        if (moves.length == 0) return;
        _settleMove(moves[which % moves.length]);
    }

    // Settles what can be, so that nothing is left behind.
    function settleAll() external {
        for (uint256 i = 0; i < moves.length; ++i) {
            IProviderStaking.Move memory m = staking.moveOf(moves[i]);
            if (m.owner == address(0)) continue;
            if (ThawId.unwrap(m.thawId) == 0 && block.timestamp < m.end) {
                vm.prank(m.owner);
                staking.undelegateMoved(moves[i]);
            }
        }
    }

    function moveCount() external view returns (uint256) {
        return moves.length;
    }

    /// @notice The shares that moves hold in a provider's pool.
    function sharesOfMoves(address provider) external view returns (uint256 sum) {
        for (uint256 i = 0; i < moves.length; ++i) {
            IProviderStaking.Move memory m = staking.moveOf(moves[i]);
            if (m.owner != address(0) && m.to == provider) sum += m.shares;
        }
    }

    function _settleMove(ThawId id) private {
        IProviderStaking.Move memory m = staking.moveOf(id);
        uint48 due = ThawId.unwrap(m.thawId) == 0 ? m.end : staking.thawRequest(m.thawId).end;
        if (m.owner == address(0)) {
            vm.expectPartialRevert(IProviderStaking.NoSuchMove.selector);
            staking.settleMove(id);
            return;
        }
        if (block.timestamp < due) {
            vm.expectPartialRevert(IProviderStaking.StillThawing.selector);
            staking.settleMove(id);
            return;
        }
        uint256 before = tide.balanceOf(m.owner);
        uint256 supply = tide.totalSupply();
        uint256 worth = ThawId.unwrap(m.thawId) == 0 ? 0 : staking.thawRequest(m.thawId).value;
        (uint256 shares, uint256 out, uint256 forfeited) = staking.settleMove(id);
        _check(shares == m.shares * m.kept / m.amount, "a move keeps the part that slashes of its source left");
        _check(tide.balanceOf(m.owner) - before == out, "what is paid is paid to its owner");
        _check(supply - tide.totalSupply() == forfeited, "what is lost is burned");
        if (worth > 0) _check(out + forfeited == worth && out == worth * m.kept / m.amount, "the same part of a thaw");
        if (_firstEntries[delegationPool(m.to)][m.owner] == 0) {
            _firstEntries[delegationPool(m.to)][m.owner] = block.timestamp;
        }
        paid += out;
        burned += forfeited;
    }
}
