// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {Escrow, Holder, IJobEscrow, State} from "../../src/interfaces/IJobEscrow.sol";
import {SignedRelease, SignedVoucher} from "../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture, Vm} from "./EscrowFixture.sol";

contract AcknowledgeTest is EscrowFixture {
    function test_PaysWhatWasReleasedAndEnrols() public sane {
        EscrowId id = openEscrow();
        settle(id, 0, 30e18);
        vm.expectEmit();
        emit IJobEscrow.Paid(id, provider(0), 70e18, uint96(net(70e18)));
        vm.expectEmit();
        emit IJobEscrow.Acknowledged(id, provider(0), 100e18);
        vm.expectEmit();
        emit IJobEscrow.Enrolled(id, provider(1));
        SignedRelease[] memory two = new SignedRelease[](2);
        (two[0], two[1]) = (release(id, 0, 100e18), release(id, 1, 0));
        vm.prank(coordinator.addr);
        assertEq(escrows.acknowledge(id, two), 70e18);
        assertEq(earned(0), net(100e18));
        for (uint256 i = 0; i < 2; i++) {
            Holder memory h = escrows.holder(id, provider(i));
            assertTrue(h.enrolled && h.acknowledged);
        }
        Escrow memory e = escrows.escrow(id);
        assertEq(e.enrolled, 2);
        assertEq(e.acknowledged, 2);
        assertState(id, State.Open);
    }

    function test_CloseNeedsNoReleaseOfTheirs() public sane {
        EscrowId id = openEscrow();
        enrol(id, 2);
        acknowledge(id, release(id, 0, 100e18));
        acknowledge(id, release(id, 1, 50e18));
        SignedRelease[] memory last = one(release(id, 2, 20e18));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesMissing.selector, 1, 0));
        close(id, new SignedRelease[](0));
        close(id, last);
        assertState(id, State.Closed);
        assertEq(escrows.escrow(id).paid, 170e18);
        assertEq(escrows.escrow(id).releasedBy, keccak256(abi.encode(provider(2))), "of the closing list alone");
    }

    /// Their vouchers are passed over, those proven before too; for whom it acknowledged no list has to be shown.
    function test_AfterTheCloseTheyHaveReleasedLikeTheOthers() public sane {
        EscrowId id = openEscrow();
        SignedVoucher memory early = voucher(id, provider(0), 400e18);
        SignedVoucher memory absurd = voucher(id, provider(0), 5000e18, 2, 6000e18);
        accuse(stranger, id, early);
        acknowledge(id, release(id, 0, 100e18));
        assertEq(escrows.unpaidOf(id, provider(0)), 300e18, "until it closes the voucher has its force");
        close(id, new SignedRelease[](0));
        assertEq(escrows.unpaidOf(id, provider(0)), 0);
        assertEq(escrows.caseOf(id).unpaid, 0);
        assertEq(accuse(stranger, id, early), 0);
        assertEq(accuse(stranger, id, absurd), 0);
        assertFalse(escrows.caseOf(id).convicted);
        // Also when another is compensated.
        assertGt(accuse(stranger, id, voucher(id, provider(1), 50e18)), 0);
        passEvidenceWindow(id);
        assertEq(escrows.claimCompensation(id, list(provider(0))), 0);
        assertGt(escrows.claimCompensation(id, list(provider(1))), 0);
    }

    function test_WithoutAnEarlyCloseVouchersKeepTheirForce() public sane {
        EscrowId id = openEscrow();
        acknowledge(id, release(id, 0, 100e18));
        end(id);
        assertEq(escrows.collect(voucher(id, provider(0), 150e18)), 50e18);
        assertEq(earned(0), net(150e18));
        assertEq(accuse(stranger, id, voucher(id, provider(0), BUDGET)), 0);
        assertEq(escrows.unpaidOf(id, provider(0)), BUDGET - 150e18);
        passCollectWindow(id);
        escrows.refund(id);
        assertEq(accuse(stranger, id, voucher(id, provider(1), 10e18)), 110e18);
        assertEq(
            escrows.unpaidOf(id, provider(0)), BUDGET - 150e18, "it released, but the escrow was not closed with it"
        );
    }

    /// A release that is older than the last payment closes nothing, by either way of showing it.
    function test_ALaterPaymentTakesItBack() public sane {
        EscrowId id = openEscrow();
        SignedRelease memory old = release(id, 0, 100e18);
        acknowledge(id, old);
        acknowledge(id, release(id, 1, 10e18));
        escrows.collect(voucher(id, provider(0), 100e18));
        assertTrue(escrows.holder(id, provider(0)).acknowledged, "nothing was paid");
        escrows.collect(voucher(id, provider(0), 150e18));
        assertFalse(escrows.holder(id, provider(0)).acknowledged);
        assertEq(escrows.escrow(id).acknowledged, 1);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesMissing.selector, 1, 0));
        close(id, new SignedRelease[](0));
        skipped(id, old);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleaseBelowPaid.selector, provider(0), 100e18, 150e18));
        close(id, one(old));

        acknowledge(id, release(id, 0, 150e18));
        assertEq(escrows.escrow(id).acknowledged, 2);
        close(id, new SignedRelease[](0));
        assertEq(escrows.escrow(id).paid, 160e18);
    }

    function test_ASettlementTakesItBackToo() public sane {
        EscrowId id = openEscrow();
        acknowledge(id, release(id, 0, 100e18));
        settle(id, 0, 100e18 + 1);
        assertEq(escrows.escrow(id).acknowledged, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesMissing.selector, 1, 0));
        close(id, new SignedRelease[](0));
    }

    function test_ReleasedAgainItIsAcknowledgedOnce() public sane {
        EscrowId id = openEscrow();
        enrol(id, 1);
        SignedRelease[] memory twice = new SignedRelease[](3);
        (twice[0], twice[1], twice[2]) = (release(id, 0, 100e18), release(id, 0, 100e18), release(id, 0, 120e18));
        vm.prank(coordinator.addr);
        assertEq(escrows.acknowledge(id, twice), 120e18);
        acknowledge(id, twice[2]);
        assertEq(escrows.escrow(id).acknowledged, 1);
        assertEq(escrows.escrow(id).enrolled, 2);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesMissing.selector, 1, 0));
        close(id, one(twice[2]));
    }

    /// In the closing list it neither counts for another nor is it paid twice; a newer release there is good too.
    function testFuzz_TheClosingListMayNameThemAgain(uint96 first, uint96 second) public sane {
        EscrowId id = openEscrow();
        first = uint96(bound(first, 0, BUDGET));
        second = uint96(bound(second, first, BUDGET));
        acknowledge(id, release(id, 0, first));
        enrol(id, 1);
        SignedRelease[] memory alone = one(release(id, 0, second));
        uint256 missing = second > first ? 2 : 1;
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesMissing.selector, missing, missing - 1));
        close(id, alone);
        SignedRelease[] memory both = new SignedRelease[](2);
        (both[0], both[1]) = (release(id, 0, second), release(id, 1, 0));
        sort(both);
        close(id, both);
        assertEq(escrows.escrow(id).paid, second);
        assertEq(escrows.holder(id, provider(0)).paid, second);
        assertEq(earned(0), net(second));
    }

    function test_IsCheckedAsInAClose() public sane {
        EscrowId id = openEscrow();
        EscrowId other = openEscrow();
        skipped(id, release(other, 0, 1e18));
        skipped(id, releaseBy(coordinator, id, provider(0), 1e18));
        SignedRelease memory noSignature = release(id, 0, 1e18);
        noSignature.r = bytes32(0);
        skipped(id, noSignature);
        skipped(id, release(id, 0, BUDGET + 1));
        Vm.Wallet memory newcomer = vm.createWallet("newcomer");
        skipped(id, releaseBy(newcomer, id, newcomer.addr, 0));
        acknowledge(id, releaseBy(resultKeys[0], id, provider(0), 1e18));
        assertEq(earned(0), net(1e18), "by a bound result key");
    }

    /// One that unbinds its key, or collects more, while the list is under way holds up nobody.
    function test_OneBadReleaseHoldsUpNobody() public sane {
        EscrowId id = openEscrow();
        SignedRelease[] memory all = new SignedRelease[](4);
        all[0] = releaseBy(resultKeys[0], id, provider(0), 10e18);
        all[1] = release(id, 1, 20e18);
        all[2] = release(id, 2, 30e18);
        all[3] = release(id, 3, 40e18);
        vm.prank(provider(0));
        staking.unbindKeys(resultKeys[0].addr);
        escrows.collect(voucher(id, provider(1), 21e18));
        vm.expectEmit();
        emit IJobEscrow.ReleaseSkipped(id, provider(0), 10e18);
        vm.expectEmit();
        emit IJobEscrow.ReleaseSkipped(id, provider(1), 20e18);
        vm.prank(coordinator.addr);
        assertEq(escrows.acknowledge(id, all), 70e18);
        assertEq(escrows.escrow(id).acknowledged, 2);
        assertTrue(escrows.holder(id, provider(0)).enrolled, "no close passes it by");
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesMissing.selector, 2, 0));
        close(id, new SignedRelease[](0));
        assertFalse(escrows.holder(id, provider(1)).acknowledged);
        assertEq(earned(3), net(40e18));
    }

    function skipped(EscrowId id, SignedRelease memory r) private {
        uint256 acknowledged = escrows.escrow(id).acknowledged;
        vm.expectEmit();
        emit IJobEscrow.ReleaseSkipped(id, r.provider, r.amount);
        assertEq(acknowledge(id, r), 0);
        assertEq(escrows.escrow(id).acknowledged, acknowledged);
    }

    function test_IsTheCoordinatorsAlone() public {
        EscrowId id = openEscrow();
        SignedRelease[] memory all = one(release(id, 0, 1e18));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotCoordinator.selector, id, requester));
        vm.prank(requester);
        escrows.acknowledge(id, all);
    }

    function test_NotOnceConvictedNorAfterTheWindow() public sane {
        EscrowId id = openEscrow();
        accuse(stranger, id, voucher(id, provider(0), BUDGET + 1));
        SignedRelease memory r = release(id, 0, 1e18);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.CoordinatorConvicted.selector, id));
        acknowledge(id, r);
        EscrowId late = openEscrow();
        r = release(late, 0, 1e18);
        end(late);
        vm.warp(escrows.escrow(late).collectUntil - 1);
        acknowledge(late, r);
        vm.warp(timeNow() + 1);
        expectState(late, State.Refundable);
        acknowledge(late, r);
        escrows.refund(late);
        expectState(late, State.Closed);
        acknowledge(late, r);
    }
}
