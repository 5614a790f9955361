// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {Escrow, IJobEscrow, State} from "../../src/interfaces/IJobEscrow.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture} from "./EscrowFixture.sol";
import {stdError} from "forge-std/Test.sol";

contract DepositTest is EscrowFixture {
    function test_AddsToTheDeposits() public sane {
        EscrowId id = openEscrow();
        vm.expectEmit();
        emit IJobEscrow.Deposited(id, requester, 5e18);
        deposit(requester, id, 5e18);
        assertEq(escrows.escrow(id).deposited, BUDGET + 5e18);
        assertEq(settle(id, 0, BUDGET + 5e18), BUDGET + 5e18, "it can be paid out");
    }

    function test_AnybodysDepositIsTheRequesters() public sane {
        EscrowId id = openEscrow();
        fund(stranger, 5e18);
        deposit(stranger, id, 5e18);
        uint256 before = tide.balanceOf(requester);
        passCollectWindow(id);
        escrows.refund(id);
        assertEq(tide.balanceOf(requester), before + BUDGET + 5e18);
        assertEq(tide.balanceOf(stranger), 0);
    }

    function testFuzz_OnlyBeforeTheDeadline(uint48 when) public sane {
        EscrowId id = openEscrow();
        uint48 deadline = escrows.escrow(id).collectUntil - COLLECT;
        when = uint48(bound(when, deadline - 2, deadline + 2));
        vm.warp(when);
        if (when >= deadline) expectState(id, State.Collecting);
        deposit(requester, id, 1);
        assertEq(escrows.escrow(id).deposited, when < deadline ? BUDGET + 1 : BUDGET);
    }

    function test_RefusedOnceEndedOrClosedOrUnknown() public sane {
        EscrowId id = openEscrow();
        end(id);
        expectState(id, State.Collecting);
        deposit(requester, id, 1);
        passCollectWindow(id);
        expectState(id, State.Refundable);
        deposit(requester, id, 1);
        escrows.refund(id);
        expectState(id, State.Closed);
        deposit(requester, id, 1);
        EscrowId unknown = EscrowId.wrap("unknown");
        expectState(unknown, State.None);
        deposit(requester, unknown, 1);
    }

    function test_RefusesNothingAndTooMuch() public sane {
        EscrowId id = openEscrow();
        vm.expectRevert(IJobEscrow.ZeroAmount.selector);
        deposit(requester, id, 0);
        vm.expectRevert(stdError.arithmeticError);
        deposit(requester, id, type(uint96).max);
    }

    function deposit(address from, EscrowId id, uint96 amount) private {
        vm.prank(from);
        escrows.deposit(id, amount);
    }
}
