// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {IJobEscrow, State} from "../../src/interfaces/IJobEscrow.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture} from "./EscrowFixture.sol";

contract EnrolTest is EscrowFixture {
    function test_NamesProvidersOnce() public sane {
        EscrowId id = openEscrow();
        address[] memory all = new address[](3);
        (all[0], all[1], all[2]) = (provider(0), provider(1), provider(0));
        vm.expectEmit();
        emit IJobEscrow.Enrolled(id, provider(0));
        vm.expectEmit();
        emit IJobEscrow.Enrolled(id, provider(1));
        vm.startPrank(coordinator.addr);
        escrows.enrol(id, all);
        escrows.enrol(id, all);
        vm.stopPrank();
        assertEq(escrows.escrow(id).enrolled, 2);
        assertTrue(escrows.holder(id, provider(0)).enrolled);
        assertFalse(escrows.holder(id, provider(2)).enrolled);
    }

    function test_WhoIsNotRegisteredIsSkipped() public sane {
        EscrowId id = openEscrow();
        address[] memory all = new address[](2);
        (all[0], all[1]) = (stranger, provider(1));
        vm.expectEmit();
        emit IJobEscrow.PayeeSkipped(id, stranger);
        vm.prank(coordinator.addr);
        escrows.enrol(id, all);
        assertEq(escrows.escrow(id).enrolled, 1);
        assertFalse(escrows.holder(id, stranger).enrolled);
    }

    function test_PaymentsAndVouchersEnrolToo() public sane {
        EscrowId id = openEscrow();
        settle(id, 0, 1e18);
        escrows.collect(voucher(id, provider(1), 1e18));
        accuse(stranger, id, voucher(id, provider(2), 1e18));
        escrows.collect(voucher(id, provider(3), 0));
        assertEq(escrows.escrow(id).enrolled, 4);
        for (uint256 i = 0; i < 4; i++) {
            assertTrue(escrows.holder(id, provider(i)).enrolled);
        }
    }

    function test_IsTheCoordinatorsAlone() public {
        EscrowId id = openEscrow();
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotCoordinator.selector, id, requester));
        vm.prank(requester);
        escrows.enrol(id, list(provider(0)));
    }

    function test_WhileVouchersArePaid() public sane {
        EscrowId id = openEscrow();
        end(id);
        enrol(id, 0);
        passCollectWindow(id);
        expectState(id, State.Refundable);
        enrol(id, 1);
        assertEq(escrows.escrow(id).enrolled, 1);
    }
}
