// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../interfaces/IProviderStaking.sol";
import {PPM_ONE, Ppm} from "../types/Ppm.sol";
import {Role} from "../types/Role.sol";

/// @title How much each slasher may take, for one case and now
/// @notice Deployed once and linked into ProviderStaking, in whose name its functions run: slashes are rare, and its code
/// would not fit there.
library SlashCases {
    /// @dev No case ever takes more than half of what others have delegated.
    Ppm internal constant MAX_DELEGATED_REACH = Ppm.wrap(500_000);

    /// @dev What holds before `nextAt`, and from then on.
    struct Announced {
        IProviderStaking.Reach former;
        IProviderStaking.Reach next;
        uint48 nextAt;
    }

    struct Book {
        mapping(address slasher => mapping(Role role => Announced)) reach;
        mapping(bytes32 key => IProviderStaking.Case) cases;
    }

    /// @notice Announces a slasher's reach: what becomes more does so after `delay` seconds, what becomes less at once.
    function setReach(
        Book storage self,
        address slasher,
        Role role,
        IProviderStaking.Reach calldata reach,
        uint32 delay
    ) external {
        requireReach(slasher, role, reach);
        Announced storage announced = self.reach[slasher][role];
        IProviderStaking.Reach memory former = reachOf(self, slasher, role);
        uint48 effectiveAt = uint48(block.timestamp);
        if (isLess(former.own, reach.own) || isLess(former.delegated, reach.delegated)) {
            effectiveAt += delay;
            announced.former =
                IProviderStaking.Reach(lesser(former.own, reach.own), lesser(former.delegated, reach.delegated));
        }
        announced.next = reach;
        announced.nextAt = effectiveAt;
        emit IProviderStaking.SlasherSet(slasher, role, reach, effectiveAt);
    }

    /// @notice Opens a case of the caller's against what answers now.
    /// @param own What answers of the operator's own stake.
    /// @param delegated What answers of its delegators'.
    /// @param mark For how long the operator is marked.
    function open(
        Book storage self,
        IProviderStaking.Standing storage standing,
        Role role,
        address operator,
        bytes32 caseId,
        uint256 own,
        uint256 delegated,
        uint32 mark
    ) external {
        IProviderStaking.Reach memory reach = reachOf(self, msg.sender, role);
        if (reach.own.isZero()) revert IProviderStaking.NotSlasher(role, msg.sender);
        IProviderStaking.Case storage c = self.cases[keyOf(msg.sender, role, operator, caseId)];
        if (c.phase != IProviderStaking.CasePhase.None) revert IProviderStaking.WrongCasePhase(caseId, c.phase);
        begin(c, reach, IProviderStaking.CasePhase.Open);
        raise(c, own, delegated);
        standing.openCases += 1;
        standing.markedUntil = uint48(block.timestamp) + mark;
        emit IProviderStaking.CaseOpened(role, operator, caseId, msg.sender, c.ownBound, c.delegatedBound);
    }

    /// @notice Closes a case of the caller's.
    function close(
        Book storage self,
        IProviderStaking.Standing storage standing,
        Role role,
        address operator,
        bytes32 caseId
    ) external {
        IProviderStaking.Case storage c = self.cases[keyOf(msg.sender, role, operator, caseId)];
        if (c.phase != IProviderStaking.CasePhase.Open) revert IProviderStaking.WrongCasePhase(caseId, c.phase);
        c.phase = IProviderStaking.CasePhase.Closed;
        standing.openCases -= 1;
        emit IProviderStaking.CaseClosed(role, operator, caseId, msg.sender);
    }

    /// @notice What a case of the caller's may take yet. It begins by this, and what it may take grows with what answers,
    /// unless it was opened before. Nothing where the caller may take nothing: a contract that lost its reach can
    /// still say who is guilty, and gains nothing by stake that comes after.
    /// @param own As in `open`.
    /// @param delegated As in `open`.
    function room(Book storage self, bytes32 key, Role role, uint256 own, uint256 delegated)
        external
        returns (uint256, uint256)
    {
        IProviderStaking.Case storage c = self.cases[key];
        if (c.phase == IProviderStaking.CasePhase.Closed) return (0, 0);
        if (c.phase != IProviderStaking.CasePhase.Open) {
            IProviderStaking.Reach memory reach = reachOf(self, msg.sender, role);
            if (!reach.own.isZero()) {
                if (c.phase == IProviderStaking.CasePhase.None) begin(c, reach, IProviderStaking.CasePhase.Growing);
                raise(c, own, delegated);
            }
        }
        // A coordinator has no delegators, and its cases no second slot.
        if (role == Role.Coordinator) return (c.ownBound - c.ownTaken, 0);
        return (c.ownBound - c.ownTaken, c.delegatedBound - c.delegatedTaken);
    }

    /// @notice Both halves of what a slasher may take now.
    function reachOf(Book storage self, address slasher, Role role)
        public
        view
        returns (IProviderStaking.Reach memory)
    {
        Announced storage announced = self.reach[slasher][role];
        // slither-disable-next-line timestamp -- weeks, which no producer of blocks can shift by much
        return block.timestamp < announced.nextAt ? announced.former : announced.next;
    }

    function keyOf(address slasher, Role role, address operator, bytes32 caseId) internal pure returns (bytes32) {
        return keccak256(abi.encode(slasher, role, operator, caseId));
    }

    function begin(
        IProviderStaking.Case storage c,
        IProviderStaking.Reach memory reach,
        IProviderStaking.CasePhase phase
    ) private {
        c.own = reach.own;
        c.phase = phase;
        if (!reach.delegated.isZero()) c.delegated = reach.delegated;
    }

    function raise(IProviderStaking.Case storage c, uint256 own, uint256 delegated) private {
        // Fewer than 2^90 wei exist.
        uint256 bound = c.own.mulDown(own + c.ownTaken);
        if (bound > c.ownBound) c.ownBound = uint96(bound);
        if (delegated == 0) return;
        bound = c.delegated.mulDown(delegated + c.delegatedTaken);
        if (bound > c.delegatedBound) c.delegatedBound = uint96(bound);
    }

    // Delegators answer after the own bond: who reaches them reaches all of that first.
    function requireReach(address slasher, Role role, IProviderStaking.Reach calldata reach) private pure {
        if (slasher == address(0)) revert IProviderStaking.SlasherIsZero();
        // slither-disable-next-line unused-return
        reach.own.checked();
        if (reach.delegated.isZero()) return;
        if (
            role == Role.Coordinator || isLess(MAX_DELEGATED_REACH, reach.delegated) || Ppm.unwrap(reach.own) != PPM_ONE
        ) revert IProviderStaking.ReachOutOfBounds(role, reach);
    }

    function isLess(Ppm a, Ppm b) private pure returns (bool) {
        return Ppm.unwrap(a) < Ppm.unwrap(b);
    }

    function lesser(Ppm a, Ppm b) private pure returns (Ppm) {
        return isLess(a, b) ? a : b;
    }
}
