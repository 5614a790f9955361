// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../interfaces/IProviderStaking.sol";
import {PoolId, bondPool, delegationPool, movedFrom} from "../types/PoolId.sol";
import {PPM_ONE, Ppm} from "../types/Ppm.sol";
import {Role} from "../types/Role.sol";
import {PoolBook} from "./PoolBook.sol";
import {SharePool} from "./SharePool.sol";
import {ThawQueue} from "./ThawQueue.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title How much each slasher may take for a case, and the taking
/// @notice Deployed once and linked into ProviderStaking, in whose name its functions run: slashes are rare, and its code
/// would not fit there.
library SlashCases {
    using Checkpoints for Checkpoints.Trace208;
    using PoolBook for PoolBook.Book;
    using SharePool for SharePool.Pool;
    using ThawQueue for ThawQueue.Queue;

    /// @dev No case ever takes more than half of what others have delegated.
    Ppm internal constant MAX_DELEGATED_REACH = Ppm.wrap(500_000);

    /// @dev What holds before `nextAt`, and from then on.
    struct Announced {
        IProviderStaking.Reach former;
        IProviderStaking.Reach next;
        uint48 nextAt;
    }

    /// @dev What answers for an operator.
    /// @param moved Of who left its delegations for other providers.
    struct Answering {
        uint256 own;
        uint256 delegated;
        uint256 moved;
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

    /// @notice Opens a case of the caller's against what answers now, and marks the operator for a thaw period.
    function open(
        Book storage self,
        PoolBook.Book storage book,
        Role role,
        address operator,
        bytes32 caseId,
        uint32 thawPeriod
    ) external {
        IProviderStaking.Reach memory reach = reachOf(self, msg.sender, role);
        if (reach.own.isZero()) revert IProviderStaking.NotSlasher(role, msg.sender);
        IProviderStaking.Case storage c = self.cases[keyOf(msg.sender, role, operator, caseId)];
        if (c.phase != IProviderStaking.CasePhase.None) revert IProviderStaking.WrongCasePhase(caseId, c.phase);
        begin(c, reach, IProviderStaking.CasePhase.Open);
        Answering memory a = answering(book, role, operator, thawPeriod);
        raise(c, a.own, a.delegated + a.moved);
        IProviderStaking.Standing storage standing = book.standings[role][operator];
        standing.openCases += 1;
        standing.markedUntil = uint48(block.timestamp) + thawPeriod;
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

    /// @notice Takes up to `amount`, as far as the caller's case reaches: of the own bond first.
    /// @return own What was taken of the operator's own stake.
    /// @return delegated What was taken of its delegators'.
    /// @return moved What they lose besides who took their stake to other providers; it is burned when that is settled.
    function slash(
        Book storage self,
        PoolBook.Book storage book,
        Role role,
        address operator,
        uint256 amount,
        bytes32 caseId,
        uint32 thawPeriod
    ) external returns (uint256 own, uint256 delegated, uint256 moved) {
        IProviderStaking.Case storage c = self.cases[keyOf(msg.sender, role, operator, caseId)];
        Answering memory a = answering(book, role, operator, thawPeriod);
        (own, delegated) = room(self, c, role, a.own, a.delegated + a.moved);
        own = Math.min(amount, own);
        if (own > 0) {
            own = takeOf(book, bondPool(role, operator), own, thawPeriod);
            c.ownTaken += uint96(own);
        }
        delegated = Math.min(amount - own, delegated);
        if (delegated > 0) (delegated, moved) = takeDelegated(book, c, operator, delegated, a, thawPeriod);
        if (own + delegated + moved == 0) return (0, 0, 0);
        book.standings[role][operator].slashes += 1;
        emit IProviderStaking.Slashed(role, operator, caseId, msg.sender, own, delegated);
    }

    /// @notice What answers for an operator in a role, now.
    function stakeOf(PoolBook.Book storage book, Role role, address operator, uint32 thawPeriod)
        public
        view
        returns (IProviderStaking.Stake memory stake)
    {
        PoolId own = bondPool(role, operator);
        stake.bonded = book.pools[own].active;
        stake.bondThawing = book.thaws[own].waitingDown(thawPeriod);
        if (role == Role.Provider) {
            PoolId others = delegationPool(operator);
            SharePool.Pool memory p = book.pools[others].accrued();
            stake.delegated = p.active;
            stake.delegatedLocked = p.locked;
            stake.delegatedThawing = book.thaws[others].waitingDown(thawPeriod);
            stake.moved = book.thaws[movedFrom(operator)].waitingDown(thawPeriod);
        }
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

    // What a case of the caller's may take yet. It begins by this, and what it may take grows with what answers, unless it was
    // opened before. Nothing where the caller may take nothing: a contract that lost its reach can still say who is
    // guilty, and gains nothing by stake that comes after.
    function room(Book storage self, IProviderStaking.Case storage c, Role role, uint256 own, uint256 delegated)
        private
        returns (uint256, uint256)
    {
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

    // Of what is behind the provider and of what left it for others the same part, to within a wei: nobody is safe for
    // having gone there.
    function takeDelegated(
        PoolBook.Book storage book,
        IProviderStaking.Case storage c,
        address operator,
        uint256 amount,
        Answering memory a,
        uint32 thawPeriod
    ) private returns (uint256 delegated, uint256 moved) {
        moved = a.moved == 0 ? 0 : amount * a.moved / (a.delegated + a.moved);
        delegated = amount - moved;
        if (delegated > 0) delegated = takeOf(book, delegationPool(operator), delegated, thawPeriod);
        if (moved > 0) {
            // slither-disable-next-line unused-return
            book.thaws[movedFrom(operator)].slash(a.moved, moved);
            emit IProviderStaking.MovedSlashed(operator, moved);
        }
        c.delegatedTaken += uint96(delegated + moved);
    }

    // Takes up to `amount` out of a pool and its waiting thaws.
    function takeOf(PoolBook.Book storage book, PoolId pool, uint256 amount, uint32 thawPeriod)
        private
        returns (uint256 taken)
    {
        SharePool.Pool storage p = book.pools[pool];
        ThawQueue.Queue storage queue = book.thaws[pool];
        uint256 waiting = queue.waitingDown(thawPeriod);
        uint256 before = p.active;
        SharePool.Taken memory part = p.slash(amount, waiting);
        taken = part.active + part.locked + part.thawing;
        if (part.active + part.locked > 0) book.record(pool, p, before);
        if (part.erasEnded > 0) {
            // slither-disable-next-line unused-return
            book.eras[pool].push(uint48(block.timestamp), p.era);
            emit IProviderStaking.EraEnded(pool, p.era - part.erasEnded, p.era);
        }
        if (part.thawing == 0) return taken;
        uint32 erasEnded = queue.slash(waiting, part.thawing);
        if (erasEnded == 0) return taken;
        uint32 era = queue.latestEra();
        emit IProviderStaking.ThawEraEnded(pool, era - erasEnded, era);
    }

    function answering(PoolBook.Book storage book, Role role, address operator, uint32 thawPeriod)
        private
        view
        returns (Answering memory)
    {
        IProviderStaking.Stake memory s = stakeOf(book, role, operator, thawPeriod);
        return Answering({
            own: s.bonded + s.bondThawing,
            delegated: s.delegated + s.delegatedLocked + s.delegatedThawing,
            moved: s.moved
        });
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
