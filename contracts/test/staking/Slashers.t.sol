// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {Ppm, PpmOverOne} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {StakingTest} from "./StakingTest.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

/// @notice Who may slash, and how much a case.
contract SlashersTest is StakingTest {
    function setUp() public override {
        super.setUp();
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        coordinator(cora, 50e18);
    }

    function test_a_slasher_reaches_only_its_own_kind_of_bond() public {
        assertEq(slashBy(judge, Role.Coordinator, cora, 1, "case"), 0);
        assertEq(slashBy(escrow, Role.Provider, paul, 1, "case"), 0);
        assertEq(slashBy(eve, Role.Provider, paul, 1, "case"), 0);
        assertEq(staking.slashable(Role.Coordinator, cora), 50e18);
        assertEq(staking.slashable(Role.Provider, paul), 200e18);
        sanityCheck();
    }

    // ------------------------------------------------------------------------------------- bounds of a case

    function test_a_case_takes_at_most_its_fraction() public {
        assertEq(byCourt(8e18, "a"), 8e18);
        assertEq(byCourt(8e18, "a"), 2e18, "a tenth of 100 in all");
        assertEq(byCourt(8e18, "a"), 0);
        IProviderStaking.Case memory c = staking.caseOf(court, Role.Provider, paul, "a");
        assertEq(c.ownBound, 10e18);
        assertEq(c.ownTaken, 10e18);
        assertEq(c.delegatedBound, 0);
        assertEq(byCourt(type(uint256).max, "b"), 9e18, "another case, of what is left");
        assertEq(valueOf(dora, paul), 100e18, "the own bond alone");
        sanityCheck();
    }

    function test_own_and_delegated_stake_have_bounds_of_their_own() public {
        vm.prank(judge);
        (uint256 own, uint256 delegated) = staking.slash(Role.Provider, paul, 120e18, "a");
        assertEq(own, 100e18);
        assertEq(delegated, 20e18);
        assertEq(slashBy(judge, Role.Provider, paul, type(uint256).max, "a"), 30e18, "half of 100 in all");
        IProviderStaking.Case memory c = staking.caseOf(judge, Role.Provider, paul, "a");
        assertEq(c.ownTaken, 100e18);
        assertEq(c.delegatedTaken, 50e18);
        sanityCheck();
    }

    function test_cases_of_slashers_and_operators_are_apart() public {
        provider(petra, 100e18, 0);
        byCourt(10e18, "a");
        assertEq(slashBy(court, Role.Provider, petra, 20e18, "a"), 10e18);
        assertEq(slash(paul, 30e18, "a"), 30e18);
        sanityCheck();
    }

    // An operator that has a case begun against itself while it has next to nothing at stake is not safe from the rest.
    function test_stake_that_comes_after_the_first_slash_answers_too() public {
        provider(petra, 10, 0);
        assertEq(slashBy(judge, Role.Provider, petra, 10, "self-made"), 10);
        bond(petra, Role.Provider, 100e18);
        assertEq(slashBy(judge, Role.Provider, petra, 70e18, "self-made"), 70e18);

        assertEq(slashBy(court, Role.Provider, petra, 100e18, "bounded"), 3e18);
        bond(petra, Role.Provider, 73e18);
        assertEq(slashBy(court, Role.Provider, petra, 100e18, "bounded"), 7.3e18, "a tenth of 103, less 3");
        sanityCheck();
    }

    function test_cases_keep_the_fraction_they_began_with() public {
        byCourt(1e18, "begun");
        set(court, Role.Provider, 1_000_000, 500_000);
        skip(THAW);
        assertEq(byCourt(type(uint256).max, "begun"), 9e18);
        assertEq(byCourt(type(uint256).max, "new"), 90e18 + 50e18);
        sanityCheck();
    }

    function test_a_removed_slasher_ends_its_cases_and_begins_none() public {
        byCourt(1e18, "begun");
        set(court, Role.Provider, 0, 0);
        bond(paul, Role.Provider, 1_000e18);
        assertEq(byCourt(1, "new"), 0);
        assertEq(byCourt(type(uint256).max, "begun"), 9e18, "and what came after is not its");
        sanityCheck();
    }

    function testFuzz_a_case_never_takes_more_than_its_fraction(uint32 own, uint96[6] memory amounts) public {
        own = uint32(bound(own, 1, 1_000_000));
        set(eve, Role.Provider, own, 0);
        skip(THAW);
        uint256 taken = 0;
        for (uint256 i = 0; i < amounts.length; ++i) {
            taken += slashBy(eve, Role.Provider, paul, bound(amounts[i], 0, 100e18), "case");
            skip(1 days);
        }
        assertLe(taken, 100e18 * uint256(own) / 1_000_000);
        sanityCheck();
    }

    // --------------------------------------------------------------------------------------- cases opened first

    function test_stake_that_comes_after_the_opening_does_not_answer() public {
        vm.expectEmit(address(staking));
        emit IProviderStaking.CaseOpened(Role.Provider, paul, "a", judge, 100e18, 50e18);
        open("a");
        bond(paul, Role.Provider, 1_000e18);
        assertEq(slashBy(judge, Role.Provider, paul, type(uint256).max, "a"), 150e18);
        assertEq(slashBy(judge, Role.Provider, paul, type(uint256).max, "a"), 0);
        sanityCheck();
    }

    function test_nobody_delegates_to_the_accused() public {
        open("a");
        assertEq(staking.standingOf(Role.Provider, paul).openCases, 1);
        assertEq(staking.delegationRoom(paul), 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.DelegationOverRoom.selector, 0, 1e18));
        delegate(dirk, paul, 1e18);
        undelegate(dora, paul, 1e18);
        vm.expectEmit(address(staking));
        emit IProviderStaking.CaseClosed(Role.Provider, paul, "a", judge);
        close("a");
        assertEq(staking.standingOf(Role.Provider, paul).openCases, 0);
        delegate(dirk, paul, 1e18);
        assertEq(slashBy(judge, Role.Provider, paul, 1e18, "a"), 0, "closed, it takes nothing");
        sanityCheck();
    }

    function test_a_case_that_nobody_closes_marks_for_a_thaw_period() public {
        open("a");
        skip(THAW - 1);
        assertEq(staking.delegationRoom(paul), 0);
        skip(1);
        assertEq(staking.delegationRoom(paul), 900e18);
        assertEq(slashBy(judge, Role.Provider, paul, 1e18, "a"), 1e18, "and takes what it may");
        sanityCheck();
    }

    function test_a_case_opens_once_by_a_slasher_and_closes_once() public {
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotSlasher.selector, Role.Provider, eve));
        vm.prank(eve);
        staking.openCase(Role.Provider, paul, "a");
        wrongPhase(IProviderStaking.CasePhase.None);
        close("a");
        open("a");
        wrongPhase(IProviderStaking.CasePhase.Open);
        open("a");
        close("a");
        wrongPhase(IProviderStaking.CasePhase.Closed);
        close("a");
        wrongPhase(IProviderStaking.CasePhase.Closed);
        open("a");
    }

    // ---------------------------------------------------------------------------------------------- counters

    function test_losses_are_counted_and_nothing_else() public {
        assertEq(staking.slashCount(), 0);
        slashBy(judge, Role.Provider, paul, 1, "a");
        slashBy(escrow, Role.Coordinator, cora, 1, "a");
        slashBy(eve, Role.Provider, paul, 1, "a");
        slashBy(judge, Role.Provider, paul, 0, "b");
        slashBy(judge, Role.Provider, petra, 1, "c");
        assertEq(staking.slashCount(), 2);
        assertEq(staking.standingOf(Role.Provider, paul).slashes, 1);
        assertEq(staking.standingOf(Role.Coordinator, cora).slashes, 1);
        assertEq(staking.standingOf(Role.Provider, petra).slashes, 0);
    }

    // ------------------------------------------------------------------------------------------------- reach

    function test_a_greater_reach_takes_effect_after_the_thaw_period() public {
        uint48 effective = uint48(vm.getBlockTimestamp()) + THAW;
        vm.expectEmit(address(staking));
        emit IProviderStaking.SlasherSet(court, Role.Provider, reach(1_000_000, 200_000), effective);
        set(court, Role.Provider, 1_000_000, 200_000);
        vm.warp(effective - 1);
        assertReach(court, TEN_PERCENT, 0);
        vm.warp(effective);
        assertReach(court, 1_000_000, 200_000);
        set(eve, Role.Provider, 1, 0);
        assertReach(eve, 0, 0);
        assertEq(slashBy(eve, Role.Provider, paul, 1, "a"), 0);
    }

    function test_what_becomes_less_does_so_at_once() public {
        set(judge, Role.Provider, 1_000_000, 100_000);
        assertReach(judge, 1_000_000, 100_000);
        set(judge, Role.Provider, 0, 0);
        assertReach(judge, 0, 0);
        set(court, Role.Provider, 1_000_000, 500_000);
        set(court, Role.Provider, 50_000, 0);
        assertReach(court, 50_000, 0);
        skip(THAW);
        assertReach(court, 50_000, 0);
    }

    function test_no_slasher_takes_more_than_half_of_delegations_nor_before_the_own_bond() public {
        outOfBounds(Role.Provider, 1_000_000, 500_001);
        outOfBounds(Role.Provider, 999_999, 1);
        outOfBounds(Role.Coordinator, 1_000_000, 1);
    }

    function test_slashers_are_the_governors() public {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, eve));
        vm.prank(eve);
        staking.setSlasher(eve, Role.Provider, reach(1, 0));
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, guardian));
        vm.prank(guardian);
        staking.setDelegationRatio(3);

        vm.startPrank(governor);
        vm.expectRevert(IProviderStaking.SlasherIsZero.selector);
        staking.setSlasher(address(0), Role.Provider, reach(1, 0));
        vm.expectRevert(abi.encodeWithSelector(PpmOverOne.selector, 1_000_001));
        staking.setSlasher(eve, Role.Provider, reach(1_000_001, 0));
        vm.stopPrank();
    }

    function byCourt(uint256 amount, bytes32 caseId) private returns (uint256) {
        return slashBy(court, Role.Provider, paul, amount, caseId);
    }

    function open(bytes32 caseId) private {
        vm.prank(judge);
        staking.openCase(Role.Provider, paul, caseId);
    }

    function close(bytes32 caseId) private {
        vm.prank(judge);
        staking.closeCase(Role.Provider, paul, caseId);
    }

    function wrongPhase(IProviderStaking.CasePhase phase) private {
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.WrongCasePhase.selector, bytes32("a"), phase));
    }

    function outOfBounds(Role role, uint32 own, uint32 delegated) private {
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.ReachOutOfBounds.selector, role, reach(own, delegated)));
        set(eve, role, own, delegated);
    }

    function set(address slasher, Role role, uint32 own, uint32 delegated) private {
        vm.prank(governor);
        staking.setSlasher(slasher, role, reach(own, delegated));
    }

    function assertReach(address slasher, uint32 own, uint32 delegated) private view {
        IProviderStaking.Reach memory found = staking.slasherReach(slasher, Role.Provider);
        assertEq(Ppm.unwrap(found.own), own);
        assertEq(Ppm.unwrap(found.delegated), delegated);
    }
}
