// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EscrowAccounts} from "./EscrowAccounts.sol";
import {Case, Escrow, Holder, IJobEscrow, State} from "./interfaces/IJobEscrow.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {ITide} from "./interfaces/ITide.sol";
import {ReleasedList} from "./libraries/ReleasedList.sol";
import {SignedVoucher, Voucher, Vouchers} from "./libraries/Vouchers.sol";
import {EscrowId} from "./types/EscrowId.sol";
import {Ppm} from "./types/Ppm.sol";
import {Role} from "./types/Role.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title What a coordinator pays for promising more than was deposited
/// @dev Proof, slash, and the way of what was slashed. While providers can be paid, `unpaid` follows each payment;
/// after the evidence window it and the pot fall together, claim by claim.
abstract contract OverIssue is EscrowAccounts {
    using SafeERC20 for ITide;
    using Vouchers for Voucher;
    using ReleasedList for address[];

    /// @dev Of what was issued: a fraud found out early, before it costs anybody much, must not be nearly free.
    Ppm internal constant PENALTY = Ppm.wrap(100_000);

    /// @dev Of what was slashed, to the prover: enough to pay for the transaction, far too little to make a fraud with
    /// oneself as the prover worth while.
    Ppm internal constant BOUNTY = Ppm.wrap(50_000);

    /// @dev Of what was slashed, to nobody: what a coordinator loses even if the prover and all the unpaid are its own.
    Ppm internal constant BURN = Ppm.wrap(200_000);

    /// @inheritdoc IJobEscrow
    function accuse(EscrowId id, SignedVoucher[] calldata vouchers, address[] memory released)
        external
        returns (uint256 taken)
    {
        Escrow storage e = _underEvidence(id);
        _requireReleasedList(id, e, released);
        Case memory c = _cases[id];
        for (uint256 i = 0; i < vouchers.length; i++) {
            _admit(id, e, c, vouchers[i], released);
        }
        return _judge(id, e, c, false);
    }

    /// @inheritdoc IJobEscrow
    function accuseConflict(SignedVoucher calldata a, SignedVoucher calldata b, address[] memory released)
        external
        returns (uint256 taken)
    {
        EscrowId id = a.voucher.escrow;
        Escrow storage e = _underEvidence(id);
        _requireReleasedList(id, e, released);
        if (a.voucher.sequence != b.voucher.sequence || a.voucher.hash() == b.voucher.hash()) revert NoConflict();
        Case memory c = _cases[id];
        _admit(id, e, c, a, released);
        _admit(id, e, c, b, released);
        return _judge(id, e, c, true);
    }

    /// @inheritdoc IJobEscrow
    function claimCompensation(EscrowId id, address[] calldata providers) external returns (uint256 paid) {
        Escrow storage e = _pastEvidence(id);
        Case memory c = _cases[id];
        uint256 surplus = _dropSurplus(id, c);
        IProviderStaking.Credit[] memory credits = new IProviderStaking.Credit[](providers.length);
        uint256 count = 0;
        for (uint256 i = 0; i < providers.length; i++) {
            Holder storage h = _holders[id][providers[i]];
            uint96 unpaid = _unpaid(e, h);
            if (unpaid == 0) continue;
            // The pot is at most all that is unpaid, here and after each claim: nobody gets more than it is unpaid,
            // and the last one gets all that is left.
            uint96 amount = uint96(uint256(c.pot) * unpaid / c.unpaid);
            h.proven = 0;
            c.pot -= amount;
            c.unpaid -= unpaid;
            paid += amount;
            if (amount > 0) credits[count++] = IProviderStaking.Credit(providers[i], amount);
            emit Compensated(id, providers[i], amount);
        }
        _cases[id] = c;
        if (surplus > 0) tide.burn(surplus);
        _credit(credits, count, paid);
    }

    /// @inheritdoc IJobEscrow
    function burnSurplus(EscrowId id) external returns (uint256 burned) {
        _pastEvidence(id);
        Case memory c = _cases[id];
        burned = _dropSurplus(id, c);
        if (burned == 0) return 0;
        _cases[id] = c;
        tide.burn(burned);
    }

    /// @dev Lowers the pot to what is still unpaid. The difference is to be burned.
    function _dropSurplus(EscrowId id, Case memory c) private returns (uint256 surplus) {
        if (c.pot <= c.unpaid) return 0;
        surplus = c.pot - c.unpaid;
        c.pot = uint96(c.unpaid);
        emit SurplusBurned(id, uint96(surplus));
    }

    /// @dev Takes one voucher into the evidence.
    function _admit(
        EscrowId id,
        Escrow storage e,
        Case memory c,
        SignedVoucher calldata signed,
        address[] memory released
    ) private {
        Voucher calldata v = signed.voucher;
        if (v.escrow != id) revert WrongEscrow(id, v.escrow);
        _requireVoucher(e, signed);
        Holder storage h = _holders[id][v.provider];
        // Closed early, all the enrolled have released, and so have those in the list.
        if (e.released && (h.enrolled || released.includes(v.provider))) return;
        if (!e.closed) {
            // Who is known to hold a voucher must release before an early close.
            if (!_enrol(id, e, h, v.provider)) revert NotRegistered(v.provider);
        } else if (!h.enrolled && !_isProvider(v.provider)) {
            revert NotRegistered(v.provider);
        }
        c.issued = uint96(Math.max(c.issued, Math.max(v.amount, v.total)));
        // No provider in its senses takes a voucher over all that was deposited, so such a one shares in the pot as if
        // it were just that: else one huge voucher to an accomplice would leave nothing to the others.
        uint96 proven = uint96(Math.min(v.amount, e.deposited));
        uint96 before = uint96(Math.max(h.proven, h.paid));
        if (proven <= before) return;
        c.unpaid += proven - before;
        h.proven = proven;
        emit VoucherProven(id, v.provider, proven);
    }

    /// @dev Convicts if the evidence suffices, and takes what is due and not yet taken. What is due never falls: a
    /// payment adds to `paid` what it takes from `unpaid`, and a convicted coordinator's escrow takes no deposit and
    /// does not close early.
    function _judge(EscrowId id, Escrow storage e, Case memory c, bool conflict) private returns (uint256 taken) {
        uint256 outstanding = uint256(e.paid) + c.unpaid;
        uint256 cover = e.released ? e.paid : e.deposited;
        uint256 excess = Math.max(
            Math.saturatingSub(outstanding, cover), Math.saturatingSub(uint256(c.issued), uint256(e.deposited))
        );
        if (!c.convicted) {
            if (excess == 0 && !conflict) {
                _cases[id] = c;
                return 0;
            }
            c.convicted = true;
            _endNow(id, e);
        }
        uint256 issued = Math.min(e.deposited, Math.max(outstanding, c.issued));
        uint96 slashed = c.slashed;
        uint256 due = Math.saturatingSub(excess + PENALTY.mulDown(issued), slashed);
        // As if all of it were taken, until it is known how much was.
        c.slashed = uint96(Math.min(slashed + due, type(uint96).max));
        _cases[id] = c;
        // slither-disable-next-line reentrancy-events -- what was taken is known afterwards, and nobody is called back
        (taken,) = staking.slash(Role.Coordinator, e.coordinator, due, EscrowId.unwrap(id));
        emit OverIssueProven(id, e.coordinator, msg.sender, excess, taken);
        _share(_cases[id], slashed, taken);
    }

    /// @dev Shares out what was slashed. Burning rounds up, so that of anything taken something burns.
    function _share(Case storage c, uint96 slashedBefore, uint256 taken) private {
        uint256 bounty = BOUNTY.mulDown(taken);
        uint256 burned = BURN.mulUp(taken);
        // There is less TIDE than fits 96 bits.
        c.slashed = uint96(slashedBefore + taken);
        if (taken == 0) return;
        c.pot += uint96(taken - bounty - burned);
        tide.burn(burned);
        tide.safeTransfer(msg.sender, bounty);
    }

    /// @dev A coordinator that is found out gets no more work done: the collect window starts, if it has not yet.
    function _endNow(EscrowId id, Escrow storage e) internal {
        if (stateOf(id) != State.Open) return;
        e.collectUntil = uint48(block.timestamp) + collectWindow;
        emit Ended(id, msg.sender, e.collectUntil);
    }

    function _requireReleasedList(EscrowId id, Escrow storage e, address[] memory released) private view {
        // An escrow that was not closed early keeps no list, and its slot has not to be read.
        bytes32 expected = e.released ? e.releasedBy : bytes32(0);
        bytes32 found = released.hash();
        if (found != expected) revert WrongReleasedList(id, expected, found);
    }

    /// @dev The escrow, if evidence about it is still taken.
    function _underEvidence(EscrowId id) private view returns (Escrow storage e) {
        uint256 until = _evidenceUntil(id);
        // slither-disable-next-line timestamp -- a window of days, which no producer of blocks can shift by much
        if (block.timestamp >= until) revert EvidenceOver(id, until);
        return _escrows[id];
    }

    /// @dev The escrow, if no evidence about it is taken any more.
    function _pastEvidence(EscrowId id) private view returns (Escrow storage e) {
        uint256 until = _evidenceUntil(id);
        // slither-disable-next-line timestamp -- as above
        if (block.timestamp < until) revert EvidenceOpen(id, until);
        return _escrows[id];
    }

    function _evidenceUntil(EscrowId id) private view returns (uint256) {
        Escrow storage e = _escrows[id];
        if (e.requester == address(0)) revert WrongState(id, State.None);
        return uint256(e.collectUntil) + evidenceWindow;
    }
}
