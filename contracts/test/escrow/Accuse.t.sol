// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {Case, IJobEscrow, State, Terms} from "../../src/interfaces/IJobEscrow.sol";
import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {SignedRelease, SignedVoucher, Voucher} from "../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {EscrowFixture, Vm} from "./EscrowFixture.sol";

contract AccuseTest is EscrowFixture {
    function test_PiecesAreKeptUntilTheyAreTooMuch() public sane {
        EscrowId id = openEscrow();
        vm.expectEmit();
        emit IJobEscrow.VoucherProven(id, provider(0), 600e18);
        assertEq(accuse(stranger, id, voucher(id, provider(0), 600e18)), 0);
        assertEq(accuse(stranger, id, voucher(id, provider(1), 400e18)), 0, "all of it, and no more");
        Case memory c = escrows.caseOf(id);
        assertEq(c.unpaid, BUDGET);
        assertFalse(c.convicted);
        assertState(id, State.Open);

        SignedVoucher memory last = voucher(id, provider(2), 100e18);
        vm.expectEmit();
        emit IJobEscrow.OverIssueProven(id, coordinator.addr, stranger, 100e18, 200e18);
        assertEq(accuse(stranger, id, last), 200e18, "the excess, and a tenth of all that was deposited");
        c = escrows.caseOf(id);
        assertTrue(c.convicted);
        assertEq(c.slashed, 200e18);
        assertEq(c.pot, 150e18);
        assertEq(tide.balanceOf(stranger), 10e18, "a twentieth");
        assertEq(staking.slashable(Role.Coordinator, coordinator.addr), BOND - 200e18);
    }

    /// The conviction, which ends the escrow and stops an early close, does not hang on there being something to take.
    function test_ConvictsWithoutAReachToTheBond() public sane {
        bytes4[] memory governed = new bytes4[](1);
        governed[0] = staking.setSlasher.selector;
        authority.setTargetFunctionRole(address(staking), governed, GOVERNOR);
        vm.prank(governor);
        staking.setSlasher(address(escrows), Role.Coordinator, IProviderStaking.Reach(Ppm.wrap(0), Ppm.wrap(0)));
        EscrowId id = openEscrow();
        SignedVoucher memory v = voucher(id, provider(0), BUDGET + 1);
        vm.expectEmit();
        emit IJobEscrow.OverIssueProven(id, coordinator.addr, stranger, 1, 0);
        assertEq(accuse(stranger, id, v), 0);
        assertTrue(escrows.caseOf(id).convicted);
        assertState(id, State.Collecting);
        assertEq(staking.slashable(Role.Coordinator, coordinator.addr), BOND);
    }

    function test_ManyAtOnce() public sane {
        EscrowId id = openEscrow();
        SignedVoucher[] memory all = new SignedVoucher[](4);
        for (uint256 i = 0; i < 3; i++) {
            all[i] = voucher(id, provider(i), 400e18);
        }
        all[3] = all[0];
        assertEq(escrows.accuse(id, all, nobody()), 300e18);
        assertEq(escrows.caseOf(id).unpaid, 1200e18, "the same one twice counts once");
    }

    function test_PaymentsWithoutVouchersCountToo() public sane {
        EscrowId id = openEscrow();
        settle(id, 0, 1000e18);
        assertEq(accuse(provider(1), id, voucher(id, provider(1), 30e18)), 130e18);
        assertEq(escrows.unpaidOf(id, provider(1)), 30e18);
    }

    function test_ATotalOverTheDepositsIsEnough() public sane {
        EscrowId id = openEscrow();
        assertEq(accuse(stranger, id, voucher(id, provider(0), 10e18, 1, BUDGET)), 0);
        assertEq(accuse(stranger, id, voucher(id, provider(0), 11e18, 2, BUDGET + 7e18)), 107e18);
        assertEq(escrows.caseOf(id).unpaid, 11e18);
    }

    function test_TwoVouchersOfOneNumberAreEnough() public sane {
        EscrowId id = openEscrow();
        SignedVoucher memory a = voucher(id, provider(0), 10e18, 7, 100e18);
        SignedVoucher memory b = voucher(id, provider(1), 10e18, 7, 90e18);
        vm.prank(stranger);
        assertEq(escrows.accuseConflict(a, b, nobody()), 10e18, "a tenth of what was issued");
        assertTrue(escrows.caseOf(id).convicted);
        vm.prank(stranger);
        assertEq(escrows.accuseConflict(b, a, nobody()), 0, "once");
    }

    function test_WhatIsNoConflict() public {
        EscrowId id = openEscrow();
        SignedVoucher memory a = voucher(id, provider(0), 10e18, 7, 100e18);
        vm.expectRevert(IJobEscrow.NoConflict.selector);
        escrows.accuseConflict(a, a, nobody());
        SignedVoucher memory next = voucher(id, provider(0), 10e18, 8, 100e18);
        vm.expectRevert(IJobEscrow.NoConflict.selector);
        escrows.accuseConflict(a, next, nobody());
        EscrowId other = openEscrow();
        SignedVoucher memory elsewhere = voucher(other, provider(0), 11e18, 7, 100e18);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongEscrow.selector, id, other));
        escrows.accuseConflict(a, elsewhere, nobody());
        SignedVoucher memory forged = signed(providers[0], Voucher(id, provider(0), 11e18, 7, 100e18));
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        escrows.accuseConflict(a, forged, nobody());
        assertFalse(escrows.caseOf(id).convicted);
    }

    /// Nobody makes an honest coordinator guilty by putting money in, and nobody makes a guilty one pay more by it.
    function test_ADepositDoesNotRaiseThePenalty() public sane {
        EscrowId id = openEscrow();
        SignedVoucher memory a = voucher(id, provider(0), 10e18, 7, 20e18);
        SignedVoucher memory b = voucher(id, provider(1), 10e18, 7, 20e18);
        vm.prank(requester);
        escrows.deposit(id, 50 * BUDGET);
        assertEq(escrows.accuseConflict(a, b, nobody()), 2e18);
    }

    function test_FurtherPiecesRaiseTheExcessAndThePenaltyComesOnce() public sane {
        EscrowId id = openEscrow();
        assertEq(accuse(stranger, id, voucher(id, provider(0), BUDGET, 1, BUDGET + 1)), 100e18 + 1);
        assertEq(accuse(stranger, id, voucher(id, provider(1), 50e18)), 50e18 - 1);
        assertEq(accuse(stranger, id, voucher(id, provider(1), 50e18)), 0, "nothing new");
        assertEq(accuse(stranger, id, voucher(id, provider(1), 70e18)), 20e18);
        assertEq(escrows.caseOf(id).slashed, 170e18);
    }

    function test_PaymentsAfterwardsChangeNothingOfTheExcess() public sane {
        EscrowId id = openEscrow();
        accuse(stranger, id, voucher(id, provider(0), 700e18));
        accuse(stranger, id, voucher(id, provider(1), 700e18));
        assertEq(escrows.caseOf(id).unpaid, 1400e18);
        escrows.collect(voucher(id, provider(0), 700e18));
        escrows.collect(voucher(id, provider(1), 700e18));
        assertEq(escrows.caseOf(id).unpaid, 400e18);
        assertEq(escrows.unpaidOf(id, provider(0)), 0);
        assertEq(escrows.unpaidOf(id, provider(1)), 400e18);
        assertEq(accuse(stranger, id, voucher(id, provider(1), 700e18)), 0);
        assertEq(escrows.caseOf(id).slashed, 500e18);
    }

    function test_ConvictionEndsTheEscrow() public sane {
        EscrowId id = openEscrow();
        vm.expectEmit();
        emit IJobEscrow.Ended(id, stranger, timeNow() + COLLECT);
        accuse(stranger, id, voucher(id, provider(0), BUDGET + 1));
        assertState(id, State.Collecting);
        expectState(id, State.Collecting);
        vm.prank(requester);
        escrows.deposit(id, 1);
        escrows.collect(voucher(id, provider(0), 1e18));
        assertEq(earned(0), net(1e18), "vouchers are paid still");
    }

    function test_ConvictionInTheWindowDoesNotLengthenIt() public sane {
        EscrowId id = openEscrow();
        end(id);
        uint48 until = escrows.escrow(id).collectUntil;
        vm.warp(until - 1);
        accuse(stranger, id, voucher(id, provider(0), BUDGET + 1));
        assertEq(escrows.escrow(id).collectUntil, until);
    }

    function testFuzz_TheSlashIsAtMostTheBondAndAtMostWhatIsDue(uint96 bond, uint96 first, uint96 second) public sane {
        Vm.Wallet memory other = vm.createWallet("other coordinator");
        feeTakers.push(other.addr);
        bond = uint96(bound(bond, 0, 3 * BUDGET));
        becomeCoordinator(other.addr, bond);
        Terms memory t = terms();
        (t.coordinator, t.voucherKey) = (other.addr, other.addr);
        EscrowId id = openEscrow(t, "");
        first = uint96(bound(first, 0, BUDGET));
        second = uint96(bound(second, 0, BUDGET));
        uint256 taken = accuse(stranger, id, signed(other, Voucher(id, provider(0), first, 1, 0)));
        taken += accuse(stranger, id, signed(other, Voucher(id, provider(1), second, 2, 0)));
        uint256 issued = uint256(first) + second;
        uint256 due = issued > BUDGET ? issued - BUDGET + BUDGET / 10 : 0;
        assertEq(taken, due < bond ? due : bond);
        // Verifier reward <= cut x really slashed, and of anything a fifth burns.
        assertEq(tide.balanceOf(stranger), taken / 20);
        assertEq(escrows.caseOf(id).pot, taken - taken / 20 - (taken + 4) / 5);
    }

    function test_ABondThatComesLaterPaysTheRest() public sane {
        Vm.Wallet memory other = vm.createWallet("other coordinator");
        becomeCoordinator(other.addr, 1e18);
        Terms memory t = terms();
        (t.coordinator, t.voucherKey) = (other.addr, other.addr);
        EscrowId id = openEscrow(t, "");
        SignedVoucher memory v = signed(other, Voucher(id, provider(0), BUDGET, 1, 2 * BUDGET));
        assertEq(accuse(stranger, id, v), 1e18);
        addBond(other.addr, 5000e18);
        assertEq(accuse(stranger, id, v), 1099e18, "what was short");
        assertEq(accuse(stranger, id, v), 0);
    }

    function test_ACoordinatorWithoutABondIsConvictedForNothing() public sane {
        Terms memory t = terms();
        Vm.Wallet memory bondless = vm.createWallet("bondless");
        (t.coordinator, t.voucherKey) = (bondless.addr, bondless.addr);
        EscrowId id = openEscrow(t, "");
        SignedVoucher memory v = signed(bondless, Voucher(id, provider(0), 1, 1, 2 * BUDGET));
        assertEq(accuse(stranger, id, v), 0);
        assertTrue(escrows.caseOf(id).convicted);
        assertState(id, State.Collecting);
    }

    function testFuzz_EvidenceIsTakenUntilTheWindowEnds(uint48 when) public sane {
        EscrowId id = openEscrow();
        SignedVoucher memory v = voucher(id, provider(0), 2 * BUDGET);
        uint48 until = escrows.escrow(id).collectUntil + EVIDENCE;
        when = uint48(bound(when, until - 2, until + 2));
        passCollectWindow(id);
        escrows.refund(id);
        vm.warp(when);
        if (when >= until) vm.expectRevert(abi.encodeWithSelector(IJobEscrow.EvidenceOver.selector, id, until));
        accuse(stranger, id, v);
        assertEq(escrows.caseOf(id).convicted, when < until);
    }

    /// The bond starts to thaw in the second in which the longest escrow opens, and is within reach of the last
    /// evidence all the same.
    function test_ABondThatWasActiveAtTheOpeningIsWithinReachToTheLast() public sane {
        Terms memory t = terms();
        t.deadline = timeNow() + LONGEST;
        EscrowId id = openEscrow(t, "");
        vm.prank(coordinator.addr);
        staking.unbond(Role.Coordinator, 1000 * BOND);
        vm.warp(t.deadline + COLLECT + EVIDENCE - 1);
        assertEq(accuse(stranger, id, voucher(id, provider(0), 3 * BUDGET)), 2100e18);
    }

    function test_AfterTheRefundAllDepositsAreStillTheCover() public sane {
        EscrowId id = openEscrow();
        passCollectWindow(id);
        escrows.refund(id);
        assertEq(accuse(stranger, id, voucher(id, provider(0), BUDGET)), 0, "it did not collect: nobody's fraud");
        assertEq(accuse(stranger, id, voucher(id, provider(1), 1e18)), 101e18);
        assertEq(escrows.escrow(id).enrolled, 0, "a closed escrow enrols nobody");
    }

    /// A single voucher over all deposits proves its excess, yet shares in the pot only as if it were just those.
    function test_AHugeVoucherDoesNotCrowdOutTheOthers() public sane {
        EscrowId id = openEscrow();
        assertEq(accuse(stranger, id, voucher(id, provider(0), 4 * BUDGET)), 3 * BUDGET + BUDGET / 10);
        assertEq(escrows.unpaidOf(id, provider(0)), BUDGET);
    }

    function test_OnlyWhatTheCoordinatorSignedToSomebodyThatIsThere() public {
        EscrowId id = openEscrow();
        SignedVoucher memory forged = signed(providers[0], Voucher(id, provider(0), 2 * BUDGET, 1, 0));
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        accuse(stranger, id, forged);
        SignedVoucher memory elsewhere = voucher(openEscrow(), provider(0), 2 * BUDGET);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongEscrow.selector, id, elsewhere.voucher.escrow));
        accuse(stranger, id, elsewhere);
        SignedVoucher memory toNobody = voucher(id, stranger, 2 * BUDGET);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotRegistered.selector, stranger));
        accuse(stranger, id, toNobody);
        passCollectWindow(id);
        escrows.refund(id);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotRegistered.selector, stranger));
        accuse(stranger, id, toNobody);
        EscrowId unknown = EscrowId.wrap("unknown");
        expectState(unknown, State.None);
        escrows.accuse(unknown, new SignedVoucher[](0), nobody());
    }

    /// The list is told by `Released`; without the right one no evidence is taken of an escrow that was closed early.
    function test_TheListOfThoseThatReleased() public {
        EscrowId id = openEscrow();
        SignedVoucher memory v = voucher(id, provider(4), 10e18);
        address[] memory some = list(provider(0));
        expectWrongList(id, 0, some);
        accuse(stranger, id, v, some);

        uint96[] memory amounts = new uint96[](3);
        (amounts[0], amounts[1]) = (1e18, 2e18);
        SignedRelease[] memory all = releases(id, amounts);
        close(id, all);
        address[] memory right = releasedBy(all);
        bytes32 kept = keccak256(abi.encodePacked(right));
        expectWrongList(id, kept, nobody());
        accuse(stranger, id, v);
        expectWrongList(id, kept, some);
        accuse(stranger, id, v, some);
        address[] memory turned = releasedBy(all);
        (turned[0], turned[1]) = (turned[1], turned[0]);
        expectWrongList(id, kept, turned);
        accuse(stranger, id, v, turned);
        SignedVoucher memory a = voucher(id, provider(4), 10e18, 7, 0);
        SignedVoucher memory b = voucher(id, provider(4), 11e18, 7, 0);
        expectWrongList(id, kept, nobody());
        escrows.accuseConflict(a, b, nobody());
        assertGt(accuse(stranger, id, v, right), 0);
    }

    function test_AnEarlyCloseOfNobodyHasAnEmptyList() public sane {
        EscrowId id = openEscrow();
        close(id, new SignedRelease[](0));
        assertEq(escrows.escrow(id).releasedBy, 0);
        SignedVoucher memory v = voucher(id, provider(0), 10e18);
        address[] memory some = list(provider(0));
        expectWrongList(id, 0, some);
        accuse(stranger, id, v, some);
        assertEq(accuse(stranger, id, v), 11e18);
    }

    /// Each of a list is found in it, and nobody else.
    function testFuzz_TheListPassesOverThoseInItAlone(uint256 size) public sane {
        EscrowId id = openEscrow();
        while (providers.length < 12) {
            addProvider();
        }
        size = bound(size, 0, 11);
        SignedRelease[] memory all = releases(id, new uint96[](size));
        close(id, all);
        address[] memory released = releasedBy(all);
        for (uint256 i = 0; i < size; i++) {
            assertEq(accuse(stranger, id, voucher(id, provider(i), 1e18), released), 0);
        }
        for (uint256 i = size; i < 12; i++) {
            assertGt(accuse(stranger, id, voucher(id, provider(i), 1e18), released), 0);
        }
    }

    /// Against those that released, two words under one number convict as before: it is no matter of what is owed.
    function test_AConflictIsNoMatterOfWhoReleased() public sane {
        EscrowId id = openEscrow();
        SignedVoucher memory a = voucher(id, provider(0), 10e18, 7, 0);
        SignedVoucher memory b = voucher(id, provider(0), 11e18, 7, 0);
        SignedRelease[] memory all = one(release(id, 0, 10e18));
        close(id, all);
        vm.prank(stranger);
        assertEq(escrows.accuseConflict(a, b, releasedBy(all)), 1e18, "a tenth of what was paid");
        assertTrue(escrows.caseOf(id).convicted);
        assertEq(escrows.unpaidOf(id, provider(0)), 0);
    }

    function testFuzz_WhoIssuesWithinTheDepositsIsNeverConvicted(uint96[4] memory parts, uint256 way) public sane {
        EscrowId id = openEscrow();
        uint96 total = 0;
        for (uint256 i = 0; i < 4; i++) {
            uint96 part = uint96(bound(parts[i], 0, BUDGET - total));
            total += part;
            SignedVoucher memory v = voucher(id, provider(i), part, uint64(i), total);
            if (way >> i & 1 == 0) settle(id, i, part);
            if (way >> i & 2 == 0) escrows.collect(v);
            assertEq(accuse(stranger, id, v), 0);
        }
        assertFalse(escrows.caseOf(id).convicted);
        assertEq(staking.slashable(Role.Coordinator, coordinator.addr), BOND);
    }

    function expectWrongList(EscrowId id, bytes32 kept, address[] memory shown) private {
        bytes32 found = shown.length == 0 ? bytes32(0) : keccak256(abi.encodePacked(shown));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongReleasedList.selector, id, kept, found));
    }
}
