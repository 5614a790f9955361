// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {JobEscrow} from "../../src/JobEscrow.sol";
import {Escrow, Holder, IJobEscrow, State} from "../../src/interfaces/IJobEscrow.sol";
import {SignedRelease, SignedVoucher} from "../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture, Vm} from "./EscrowFixture.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

contract CloseTest is EscrowFixture {
    function test_PaysAllAndRefundsAtOnce() public sane {
        EscrowId id = openEscrow();
        settle(id, 0, 100e18);
        uint256 before = tide.balanceOf(requester);
        vm.expectEmit();
        emit IJobEscrow.Closed(id, 650e18, true);
        close(id, releases(id, amounts(100e18, 250e18)));
        assertEq(earned(0), net(100e18));
        assertEq(earned(1), net(250e18));
        assertEq(tide.balanceOf(requester), before + 650e18);
        Escrow memory e = escrows.escrow(id);
        assertTrue(e.closed && e.released);
        assertEq(e.collectUntil, timeNow(), "the evidence window runs from now");
        assertEq(e.root, "root");
        assertState(id, State.Closed);
    }

    function test_WithoutVouchersItCancels() public sane {
        EscrowId id = openEscrow();
        uint256 before = tide.balanceOf(requester);
        close(id, new SignedRelease[](0));
        assertEq(tide.balanceOf(requester), before + BUDGET);
    }

    function test_AlsoWhileCollecting() public sane {
        EscrowId id = openEscrow();
        end(id);
        close(id, releases(id, amounts(1e18, 2e18)));
        assertState(id, State.Closed);
    }

    function test_WaitsForEveryEnrolledProvider() public sane {
        EscrowId id = openEscrow();
        enrol(id, 2);
        SignedRelease[] memory two = releases(id, amounts(100e18, 250e18));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesMissing.selector, 1, 0));
        close(id, two);
        uint96[] memory three = new uint96[](3);
        (three[0], three[1]) = (100e18, 250e18);
        close(id, releases(id, three));
        assertEq(earned(2), 0, "released with nothing");
    }

    function test_OneReleaseTwiceIsNotTwoReleases() public {
        EscrowId id = openEscrow();
        enrol(id, 0);
        enrol(id, 1);
        SignedRelease[] memory twice = new SignedRelease[](2);
        (twice[0], twice[1]) = (release(id, 0, 1e18), release(id, 0, 1e18));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesUnsorted.selector, provider(0)));
        close(id, twice);
        SignedRelease[] memory sorted = releases(id, amounts(1e18, 1e18));
        (sorted[0], sorted[1]) = (sorted[1], sorted[0]);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleasesUnsorted.selector, sorted[1].provider));
        close(id, sorted);
    }

    function test_ABoundResultKeyMayRelease() public sane {
        EscrowId id = openEscrow();
        close(id, one(releaseBy(resultKeys[0], id, provider(0), 100e18)));
        assertEq(earned(0), net(100e18));
    }

    function test_NoOtherKeyMay() public {
        EscrowId id = openEscrow();
        Vm.Wallet[3] memory others = [coordinator, providers[1], resultKeys[1]];
        for (uint256 i = 0; i < 3; i++) {
            SignedRelease[] memory all = new SignedRelease[](1);
            all[0] = releaseBy(others[i], id, provider(0), 100e18);
            vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongSigner.selector, provider(0), others[i].addr));
            close(id, all);
        }
        SignedRelease[] memory unbound = new SignedRelease[](1);
        unbound[0] = releaseBy(resultKeys[0], id, provider(0), 100e18);
        vm.prank(provider(0));
        staking.unbindKeys(resultKeys[0].addr);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongSigner.selector, provider(0), resultKeys[0].addr));
        close(id, unbound);
    }

    function test_AReleaseIsForOneEscrowOfOneContractOnOneChain() public {
        EscrowId id = openEscrow();
        EscrowId other = openEscrow();
        SignedRelease[] memory all = one(release(id, 0, 100e18));
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        close(other, all);

        JobEscrow twin = newJobEscrow(COLLECT, EVIDENCE, LONGEST);
        vm.startPrank(requester);
        tide.approve(address(twin), BUDGET);
        EscrowId same = twin.open(terms(), bytes32(0));
        vm.stopPrank();
        assertTrue(same == id, "the same requester, terms and salt");
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        vm.prank(coordinator.addr);
        twin.close(id, all, "");

        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        close(id, all);
        vm.chainId(chain);
        close(id, all);
        assertEq(earned(0), net(100e18));
    }

    function test_AReleaseIsForOneAmountAndOneProvider() public {
        EscrowId id = openEscrow();
        SignedRelease[] memory all = one(release(id, 0, 100e18));
        all[0].amount = 99e18;
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        close(id, all);
        (all[0].amount, all[0].provider) = (100e18, provider(1));
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        close(id, all);
    }

    function test_AMirroredSignatureIsRefused() public {
        EscrowId id = openEscrow();
        SignedRelease[] memory all = one(release(id, 0, 100e18));
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        uint256 s = uint256(all[0].vs) & (type(uint256).max >> 1);
        // The mirror of a low s needs the highest bit, which says the parity here.
        assertGt(order - s, type(uint256).max >> 1);
        all[0].vs = bytes32(order - s);
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        close(id, all);
        // Between half the order and that bit there is a little room.
        uint256 high = type(uint256).max >> 1;
        all[0].vs = bytes32(high);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongSigner.selector, all[0].provider, address(0)));
        close(id, all);
    }

    /// What cannot be recovered is no signature of the zero address, nor is a key that is nobody's its key.
    function test_NobodyIsNoProvider() public {
        EscrowId id = openEscrow();
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongSigner.selector, address(0), address(0)));
        close(id, one(SignedRelease(address(0), 0, 0, 0)));
        SignedRelease[] memory unbound = one(releaseBy(coordinator, id, address(0), 0));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongSigner.selector, address(0), coordinator.addr));
        close(id, unbound);
    }

    function test_ReleasesCostNoRecordOfThoseThatHaveNone() public sane {
        EscrowId id = openEscrow();
        settle(id, 0, 10e18);
        SignedRelease[] memory all = releases(id, amounts(100e18, 250e18));
        address[] memory released = releasedBy(all);
        vm.expectEmit();
        emit IJobEscrow.Released(id, released);
        close(id, all);
        Escrow memory e = escrows.escrow(id);
        assertEq(e.enrolled, 1);
        assertEq(e.paid, 350e18);
        assertEq(e.releasedBy, keccak256(abi.encodePacked(released)), "each in a word");
        assertEq(escrows.holder(id, provider(0)).paid, 100e18);
        Holder memory h = escrows.holder(id, provider(1));
        assertEq(h.paid, 0);
        assertFalse(h.enrolled);
        assertEq(earned(1), net(250e18), "paid all the same");
    }

    function test_WhoIsPaidMustBeRegistered() public sane {
        EscrowId id = openEscrow();
        Vm.Wallet memory newcomer = vm.createWallet("newcomer");
        SignedRelease[] memory all = new SignedRelease[](3);
        (all[0], all[1]) = (release(id, 0, 1e18), release(id, 1, 1e18));
        all[2] = releaseBy(newcomer, id, newcomer.addr, 1);
        sort(all);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotRegistered.selector, newcomer.addr));
        close(id, all);
        close(id, one(releaseBy(newcomer, id, newcomer.addr, 0)));
        assertTrue(escrows.escrow(id).released, "who wants nothing needs no record");
    }

    /// A release that is older than the last payment names too little, and so closes nothing.
    function test_AVoucherAfterTheReleaseIsNotLost() public sane {
        EscrowId id = openEscrow();
        SignedRelease[] memory old = new SignedRelease[](1);
        old[0] = release(id, 0, 100e18);
        escrows.collect(voucher(id, provider(0), 150e18));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ReleaseBelowPaid.selector, provider(0), 100e18, 150e18));
        close(id, old);
    }

    function test_PaysNoMoreThanThereIs() public {
        EscrowId id = openEscrow();
        SignedRelease[] memory all = releases(id, amounts(600e18, 600e18));
        address second = all[1].provider;
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.BudgetExceeded.selector, second, 600e18, 400e18));
        close(id, all);
    }

    function test_IsTheCoordinatorsAlone() public {
        // A requester that could close an escrow whose vouchers the chain does not know of would make an honest
        // coordinator an over-issuer.
        EscrowId id = openEscrow();
        SignedRelease[] memory none = new SignedRelease[](0);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotCoordinator.selector, id, requester));
        vm.prank(requester);
        escrows.close(id, none, "");
    }

    function test_NotOnceConvictedNorAfterTheWindow() public sane {
        EscrowId id = openEscrow();
        accuse(stranger, id, voucher(id, provider(0), BUDGET + 1));
        SignedRelease[] memory all = new SignedRelease[](1);
        all[0] = release(id, 0, 1e18);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.CoordinatorConvicted.selector, id));
        close(id, all);
        EscrowId late = openEscrow();
        passCollectWindow(late);
        expectState(late, State.Refundable);
        close(late, new SignedRelease[](0));
    }

    function test_NothingHappensAfterIt() public sane {
        EscrowId id = openEscrow();
        close(id, releases(id, amounts(1e18, 1e18)));
        SignedRelease[] memory again = releases(id, amounts(2e18, 2e18));
        expectState(id, State.Closed);
        close(id, again);
        expectState(id, State.Closed);
        settle(id, 0, 2e18);
        expectState(id, State.Closed);
        end(id);
        expectState(id, State.Closed);
        escrows.refund(id);
        expectState(id, State.Closed);
        enrol(id, 0);
        SignedVoucher memory v = voucher(id, provider(0), 2e18);
        expectState(id, State.Closed);
        escrows.collect(v);
    }

    function test_WhoWasLeftOutProvesTheOverIssue() public sane {
        EscrowId id = openEscrow();
        SignedVoucher memory leftOut = voucher(id, provider(2), 50e18, 1, 150e18);
        SignedRelease[] memory all = releases(id, amounts(100e18, 0));
        close(id, all);
        // 50 promised beyond the 100 that were not refunded, and a tenth of the 150 that were issued.
        assertEq(accuse(provider(2), id, leftOut, releasedBy(all)), 65e18);
        assertEq(escrows.unpaidOf(id, provider(2)), 50e18);
        passEvidenceWindow(id);
        assertEq(escrows.claimCompensation(id, list(provider(2))), 48.75e18, "three quarters of what was slashed");
    }

    /// What was promised before counts no more: neither as a piece, nor by its total, nor if it was proven before, nor
    /// by two words under one number; and there is nothing to claim for it, even where others are compensated.
    function test_WhoReleasedCountsWithItsFinalAmount() public sane {
        EscrowId id = openEscrow();
        SignedVoucher memory early = voucher(id, provider(0), 400e18, 1, 400e18);
        SignedVoucher memory absurd = voucher(id, provider(1), 5000e18, 2, 6000e18);
        accuse(stranger, id, early);
        assertEq(escrows.unpaidOf(id, provider(0)), 400e18);
        SignedRelease[] memory all = releases(id, amounts(100e18, 100e18));
        close(id, all);
        assertEq(escrows.unpaidOf(id, provider(0)), 0);
        assertEq(escrows.caseOf(id).unpaid, 0);
        assertEq(accuse(stranger, id, early, releasedBy(all)), 0);
        assertEq(accuse(stranger, id, absurd, releasedBy(all)), 0);
        assertFalse(escrows.caseOf(id).convicted);
        assertEq(tide.balanceOf(stranger), 0);

        assertGt(accuse(stranger, id, voucher(id, provider(2), 10e18), releasedBy(all)), 0, "but who was left out does");
        assertEq(accuse(stranger, id, early, releasedBy(all)), 0);
        assertEq(accuse(stranger, id, absurd, releasedBy(all)), 0);
        passEvidenceWindow(id);
        assertEq(escrows.claimCompensation(id, releasedBy(all)), 0);
        assertEq(escrows.unpaidOf(id, provider(1)), 0);
    }

    function testFuzz_EveryReleaseIsPaidExactly(uint96 a, uint96 b, uint96 before) public sane {
        EscrowId id = openEscrow();
        a = uint96(bound(a, 0, BUDGET));
        b = uint96(bound(b, 0, BUDGET - a));
        before = uint96(bound(before, 0, a));
        settle(id, 0, before);
        uint256 had = tide.balanceOf(requester);
        close(id, releases(id, amounts(a, b)));
        assertEq(earned(0), net(a));
        assertEq(earned(1), net(b));
        assertEq(tide.balanceOf(requester), had + BUDGET - a - b);
    }

    function amounts(uint96 a, uint96 b) private pure returns (uint96[] memory all) {
        all = new uint96[](2);
        (all[0], all[1]) = (a, b);
    }
}
