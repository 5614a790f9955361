// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {Case, IJobEscrow, State} from "../../src/interfaces/IJobEscrow.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture} from "./EscrowFixture.sol";

contract CompensateTest is EscrowFixture {
    function test_SharesThePotInProportion() public sane {
        EscrowId id = overIssued(600e18, 900e18);
        // 500 too much and a penalty of 100; three quarters of it.
        assertEq(escrows.caseOf(id).pot, 450e18);
        passEvidenceWindow(id);
        vm.expectEmit();
        emit IJobEscrow.Compensated(id, provider(0), 180e18);
        assertEq(escrows.claimCompensation(id, list(provider(0))), 180e18);
        assertEq(escrows.claimCompensation(id, list(provider(1))), 270e18);
        assertEq(earned(0), 180e18, "without fees");
        assertEq(earned(1), 270e18);
        assertEq(escrows.caseOf(id).pot, 0);
    }

    function test_EachIsPaidOnce() public sane {
        EscrowId id = overIssued(600e18, 900e18);
        passEvidenceWindow(id);
        address[] memory all = new address[](4);
        (all[0], all[1], all[2], all[3]) = (provider(0), provider(0), stranger, provider(3));
        assertEq(escrows.claimCompensation(id, all), 180e18);
        assertEq(escrows.claimCompensation(id, all), 0);
        assertEq(escrows.unpaidOf(id, provider(0)), 0);
    }

    function test_NobodyGetsMoreThanItIsUnpaidAndTheRestBurns() public sane {
        EscrowId id = openEscrow();
        accuse(stranger, id, voucher(id, provider(0), 10e18, 1, 2 * BUDGET));
        assertEq(escrows.caseOf(id).pot, 825e18);
        passEvidenceWindow(id);
        uint256 supply = tide.totalSupply();
        vm.expectEmit();
        emit IJobEscrow.SurplusBurned(id, 815e18);
        assertEq(escrows.claimCompensation(id, list(provider(0))), 10e18);
        assertEq(tide.totalSupply(), supply - 815e18);
    }

    function test_WhatNobodyIsOwedBurns() public sane {
        EscrowId id = openEscrow();
        accuse(stranger, id, voucher(id, provider(0), 0, 1, 2 * BUDGET));
        passEvidenceWindow(id);
        assertEq(escrows.burnSurplus(id), 825e18);
        assertEq(escrows.burnSurplus(id), 0);
        assertEq(escrows.caseOf(id).pot, 0);
    }

    function test_WhatWasCollectedLaterIsNotCompensated() public sane {
        EscrowId id = overIssued(600e18, 900e18);
        escrows.collect(voucher(id, provider(0), 600e18));
        escrows.collect(voucher(id, provider(1), 900e18));
        assertEq(escrows.caseOf(id).unpaid, 500e18);
        passEvidenceWindow(id);
        assertEq(escrows.claimCompensation(id, list(provider(0))), 0);
        assertEq(escrows.claimCompensation(id, list(provider(1))), 450e18);
    }

    function test_NotBeforeAllEvidenceIsIn() public sane {
        EscrowId id = overIssued(600e18, 900e18);
        uint256 until = escrows.escrow(id).collectUntil + EVIDENCE;
        vm.warp(until - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.EvidenceOpen.selector, id, until));
        escrows.claimCompensation(id, list(provider(0)));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.EvidenceOpen.selector, id, until));
        escrows.burnSurplus(id);
        EscrowId unknown = EscrowId.wrap("unknown");
        expectState(unknown, State.None);
        escrows.claimCompensation(unknown, list(provider(0)));
    }

    function test_PiecesWithoutAConvictionAreWorthNothing() public sane {
        EscrowId id = openEscrow();
        accuse(stranger, id, voucher(id, provider(0), BUDGET));
        passEvidenceWindow(id);
        assertEq(escrows.claimCompensation(id, list(provider(0))), 0);
        assertEq(earned(0), 0);
    }

    /// Provider-verifier collusion still burns a share: the coordinator's own prover and the coordinator's own
    /// providers get back at most four fifths of what it lost.
    function testFuzz_ACoordinatorThatAccusesItselfLosesAFifth(uint96 a, uint96 b) public sane {
        a = uint96(bound(a, 0, BUDGET));
        b = uint96(bound(b, BUDGET - a + 1, BUDGET + 1));
        EscrowId id = overIssued(a, b);
        uint256 slashed = escrows.caseOf(id).slashed;
        passEvidenceWindow(id);
        escrows.claimCompensation(id, list(provider(0)));
        escrows.claimCompensation(id, list(provider(1)));
        uint256 back = earned(0) + earned(1) + tide.balanceOf(stranger);
        assertLe(back, slashed - slashed / 5);
    }

    function testFuzz_TheSharesAreAllOfThePotInAnyOrder(uint96[4] memory amounts, uint256 order) public sane {
        EscrowId id = openEscrow();
        for (uint256 i = 0; i < 4; i++) {
            accuse(stranger, id, voucher(id, provider(i), uint96(bound(amounts[i], 0, BUDGET))));
        }
        Case memory c = escrows.caseOf(id);
        passEvidenceWindow(id);
        uint256 paid = 0;
        for (uint256 i = 0; i < 4; i++) {
            uint256 who = (i + order % 4) % 4;
            uint256 unpaid = escrows.unpaidOf(id, provider(who));
            uint256 share = escrows.claimCompensation(id, list(provider(who)));
            assertLe(share, unpaid);
            if (c.unpaid > 0) assertApproxEqAbs(share, min(unpaid, uint256(c.pot) * unpaid / c.unpaid), 4);
            paid += share;
        }
        assertEq(paid, min(c.pot, c.unpaid));
        assertEq(escrows.caseOf(id).pot, 0);
    }

    function overIssued(uint96 a, uint96 b) private returns (EscrowId id) {
        id = openEscrow();
        accuse(stranger, id, voucher(id, provider(0), a));
        accuse(stranger, id, voucher(id, provider(1), b));
    }

    function min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
