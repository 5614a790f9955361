// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {Escrow, IJobEscrow, State} from "../../src/interfaces/IJobEscrow.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture} from "./EscrowFixture.sol";

contract EndTest is EscrowFixture {
    function test_EitherPartyStartsTheWindow() public sane {
        address[2] memory parties = [requester, coordinator.addr];
        for (uint256 i = 0; i < 2; i++) {
            EscrowId id = openEscrow();
            vm.warp(timeNow() + 1 hours);
            vm.expectEmit();
            emit IJobEscrow.Ended(id, parties[i], timeNow() + COLLECT);
            vm.prank(parties[i]);
            escrows.end(id);
            assertState(id, State.Collecting);
            vm.warp(timeNow() + COLLECT - 1);
            assertState(id, State.Collecting);
            vm.warp(timeNow() + 1);
            assertState(id, State.Refundable);
        }
    }

    function test_NobodyElseMay() public {
        EscrowId id = openEscrow();
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotParty.selector, id, provider(0)));
        vm.prank(provider(0));
        escrows.end(id);
    }

    function test_OnlyOnce() public sane {
        EscrowId id = openEscrow();
        end(id);
        uint48 until = escrows.escrow(id).collectUntil;
        vm.warp(timeNow() + 1 hours);
        expectState(id, State.Collecting);
        end(id);
        assertEq(escrows.escrow(id).collectUntil, until, "the window did not grow");
        vm.warp(until);
        expectState(id, State.Refundable);
        end(id);
        escrows.refund(id);
        expectState(id, State.Closed);
        end(id);
    }

    /// So the last evidence comes before a bond that was active at the opening has thawed, even if nobody acts.
    function test_TheDeadlineEndsByItself() public sane {
        EscrowId id = openEscrow();
        uint48 deadline = terms().deadline;
        vm.warp(deadline - 1);
        assertState(id, State.Open);
        vm.warp(deadline);
        assertState(id, State.Collecting);
        expectState(id, State.Collecting);
        end(id);
        vm.warp(deadline + COLLECT);
        assertState(id, State.Refundable);
        vm.prank(stranger);
        escrows.refund(id);
        assertState(id, State.Closed);
    }

    function test_TheUnknownHasNoEnd() public {
        EscrowId unknown = EscrowId.wrap("unknown");
        expectState(unknown, State.None);
        end(unknown);
    }
}
