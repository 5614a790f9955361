// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {Escrow, IJobEscrow, Payment, State} from "../../src/interfaces/IJobEscrow.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture} from "./EscrowFixture.sol";

contract SettleTest is EscrowFixture {
    function test_PaysManyIntoTheirRecords() public sane {
        EscrowId id = openEscrow();
        Payment[] memory payments = new Payment[](3);
        payments[0] = Payment(provider(0), 100e18);
        payments[1] = Payment(provider(1), 200e18);
        payments[2] = Payment(provider(2), 300e18);
        vm.expectEmit();
        emit IJobEscrow.Paid(id, provider(2), 300e18, uint96(net(300e18)));
        vm.expectEmit();
        emit IJobEscrow.Settled(id, "root");
        vm.prank(coordinator.addr);
        assertEq(escrows.settle(id, payments, "root"), 600e18);

        for (uint256 i = 0; i < 3; i++) {
            assertEq(earned(i), net(payments[i].amount));
            assertEq(escrows.holder(id, provider(i)).paid, payments[i].amount);
        }
        Escrow memory e = escrows.escrow(id);
        assertEq(e.paid, 600e18);
        assertEq(e.enrolled, 3);
        assertEq(e.root, "root");
        assertEq(escrows.protocolFees(), 12e18);
        assertEq(escrows.feesOf(coordinator.addr), 30e18);
    }

    function test_AmountsAreCumulative() public sane {
        EscrowId id = openEscrow();
        assertEq(settle(id, 0, 100e18), 100e18);
        assertEq(settle(id, 0, 100e18), 0, "again");
        assertEq(settle(id, 0, 40e18), 0, "an older one");
        assertEq(settle(id, 0, 130e18), 30e18);
        assertEq(earned(0), net(130e18));
    }

    function test_TheSameProviderTwiceInOneListIsPaidOnce() public sane {
        EscrowId id = openEscrow();
        Payment[] memory payments = new Payment[](3);
        payments[0] = Payment(provider(0), 60e18);
        payments[1] = Payment(provider(0), 100e18);
        payments[2] = Payment(provider(0), 100e18);
        assertEq(settle(id, payments), 100e18);
        assertEq(earned(0), net(100e18));
    }

    function test_OneBadPayeeBlocksNobody() public sane {
        EscrowId id = openEscrow();
        Payment[] memory payments = new Payment[](5);
        payments[0] = Payment(stranger, 100e18);
        payments[1] = Payment(provider(0), 0);
        payments[2] = Payment(address(0), 1);
        payments[3] = Payment(address(escrows), 1);
        payments[4] = Payment(provider(1), 100e18);
        vm.expectEmit();
        emit IJobEscrow.PayeeSkipped(id, stranger);
        assertEq(settle(id, payments), 100e18);
        assertEq(earned(1), net(100e18));
        assertEq(escrows.holder(id, stranger).paid, 0);
        assertEq(escrows.escrow(id).enrolled, 2, "the provider of nothing is enrolled");
    }

    function test_ShortMoneyPaysInOrderAsFarAsItGoes() public sane {
        EscrowId id = openEscrow();
        Payment[] memory payments = new Payment[](3);
        payments[0] = Payment(provider(0), 700e18);
        payments[1] = Payment(provider(1), 700e18);
        payments[2] = Payment(provider(2), 700e18);
        assertEq(settle(id, payments), BUDGET);
        assertEq(earned(0), net(700e18));
        assertEq(earned(1), net(300e18));
        assertEq(earned(2), 0);
        assertEq(settle(id, payments), 0, "there is nothing left");
    }

    function test_ALaterRootReplacesAndNoneLeaves() public sane {
        EscrowId id = openEscrow();
        Payment[] memory none = new Payment[](0);
        vm.startPrank(coordinator.addr);
        escrows.settle(id, none, "first");
        escrows.settle(id, none, "");
        assertEq(escrows.escrow(id).root, "first");
        escrows.settle(id, none, "second");
        assertEq(escrows.escrow(id).root, "second");
        vm.stopPrank();
    }

    function test_IsTheCoordinatorsAlone() public {
        EscrowId id = openEscrow();
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotCoordinator.selector, id, requester));
        vm.prank(requester);
        escrows.settle(id, one(provider(0), 1), "");
    }

    function testFuzz_WithinTheWindow(uint48 when) public sane {
        EscrowId id = openEscrow();
        uint48 until = escrows.escrow(id).collectUntil;
        when = uint48(bound(when, timeNow(), until + 1));
        vm.warp(when);
        if (when >= until) expectState(id, State.Refundable);
        settle(id, 0, 1e18);
        assertEq(earned(0), when < until ? net(1e18) : 0);
    }

    /// By whatever steps, and by whichever of the two ways: the provider gets the same, and so does all that is kept
    /// back; only between the coordinator and the protocol each step may shift a wei.
    function testFuzz_SettleAndCollectInAnyOrderPayTheSame(uint96[6] memory steps, uint256 ways) public sane {
        EscrowId stepwise = openEscrow();
        EscrowId atOnce = openEscrow();
        uint96 highest = 0;
        for (uint256 i = 0; i < steps.length; i++) {
            uint96 amount = uint96(bound(steps[i], 0, i % 2 == 0 ? BUDGET : 1000));
            if (amount > highest) highest = amount;
            if (ways >> i & 1 == 0) settle(stepwise, 0, amount);
            else escrows.collect(voucher(stepwise, provider(0), amount));
        }
        uint256 inSteps = earned(0);
        uint256 kept = escrows.protocolFees() + escrows.feesOf(coordinator.addr);
        uint256 protocolKept = escrows.protocolFees();
        settle(atOnce, 0, highest);
        assertEq(earned(0), 2 * inSteps);
        assertEq(inSteps, net(highest));
        assertEq(escrows.protocolFees() + escrows.feesOf(coordinator.addr), 2 * kept);
        assertApproxEqAbs(escrows.protocolFees(), 2 * protocolKept, steps.length);
    }

    function testFuzz_PaidNeverExceedsDeposited(uint96[4] memory amounts) public sane {
        EscrowId id = openEscrow();
        uint256 wanted = 0;
        for (uint256 i = 0; i < amounts.length; i++) {
            settle(id, i, amounts[i]);
            assertLe(earned(i), net(amounts[i]));
            wanted += amounts[i];
        }
        assertEq(escrows.escrow(id).paid, wanted < BUDGET ? wanted : BUDGET);
    }
}
