// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {Escrow, IJobEscrow, State} from "../../src/interfaces/IJobEscrow.sol";
import {SignedVoucher} from "../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture} from "./EscrowFixture.sol";

contract RefundTest is EscrowFixture {
    function testFuzz_TheRestGoesBackAfterTheWindow(uint96 paid, uint48 when) public sane {
        EscrowId id = openEscrow();
        paid = uint96(bound(paid, 0, BUDGET));
        settle(id, 0, paid);
        uint48 until = escrows.escrow(id).collectUntil;
        when = uint48(bound(when, until - 2, until + 365 days));
        vm.warp(when);
        uint256 before = tide.balanceOf(requester);
        if (when < until) expectState(id, State.Collecting);
        vm.prank(stranger);
        escrows.refund(id);
        assertEq(tide.balanceOf(requester) - before, when < until ? 0 : BUDGET - paid);
        if (when < until) return;
        assertState(id, State.Closed);
        expectState(id, State.Closed);
        escrows.refund(id);
    }

    function test_NotWhileOpenOrUnknown() public {
        EscrowId id = openEscrow();
        expectState(id, State.Open);
        escrows.refund(id);
        EscrowId unknown = EscrowId.wrap("unknown");
        expectState(unknown, State.None);
        escrows.refund(unknown);
    }

    function test_ACaseDoesNotHoldItUp() public sane {
        EscrowId id = openEscrow();
        accuse(stranger, id, voucher(id, provider(0), 2 * BUDGET));
        passCollectWindow(id);
        uint256 before = tide.balanceOf(requester);
        escrows.refund(id);
        assertEq(tide.balanceOf(requester), before + BUDGET);
    }

    function test_NothingIsPaidAfterIt() public sane {
        EscrowId id = openEscrow();
        passCollectWindow(id);
        escrows.refund(id);
        expectState(id, State.Closed);
        settle(id, 0, 1);
        SignedVoucher memory v = voucher(id, provider(0), 1);
        expectState(id, State.Closed);
        escrows.collect(v);
    }
}
