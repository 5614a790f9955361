// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {IEntryPause} from "../../src/interfaces/IEntryPause.sol";
import {State, Terms} from "../../src/interfaces/IJobEscrow.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture} from "./EscrowFixture.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

contract PauseTest is EscrowFixture {
    function test_HoldsUpEntriesAlone() public sane {
        EscrowId id = openEscrow();
        EscrowId other = openEscrow();
        vm.prank(guardian);
        escrows.pause(7 days);
        bytes memory paused = abi.encodeWithSelector(IEntryPause.EntriesArePaused.selector, timeNow() + 7 days);
        Terms memory t = terms();
        vm.startPrank(requester);
        vm.expectRevert(paused);
        escrows.open(t, "other");
        vm.expectRevert(paused);
        escrows.deposit(id, 1);
        vm.stopPrank();

        enrol(id, 0);
        settle(id, 0, 100e18);
        escrows.collect(voucher(id, provider(1), 100e18));
        accuse(stranger, id, voucher(id, provider(2), BUDGET));
        assertTrue(escrows.caseOf(id).convicted, "a slash is never paused");
        vm.prank(coordinator.addr);
        escrows.close(other, releases(other, new uint96[](0)), "");
        assertState(other, State.Closed);
        vm.prank(coordinator.addr);
        escrows.withdrawFees();
        escrows.withdrawProtocolFees();
        vm.warp(timeNow() + COLLECT);
        escrows.refund(id);
        assertState(id, State.Closed);
        assertLt(timeNow(), escrows.pausedUntil());
    }

    function test_EndsByItself() public sane {
        vm.prank(guardian);
        escrows.pause(1 days);
        vm.warp(timeNow() + 1 days);
        assertState(openEscrow(), State.Open);
    }

    function test_AGuardianClosesAndTheGovernorOpens() public sane {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger));
        vm.prank(stranger);
        escrows.pause(1 days);
        vm.prank(guardian);
        escrows.pause(1 days);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, guardian));
        vm.prank(guardian);
        escrows.unpause();
        vm.prank(governor);
        escrows.unpause();
        assertState(openEscrow(), State.Open);
    }
}
