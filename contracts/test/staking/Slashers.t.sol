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
        vm.prank(judge);
        assertEq(staking.slash(Role.Coordinator, cora, 1, "case"), 0);
        vm.prank(escrow);
        assertEq(staking.slash(Role.Provider, paul, 1, "case"), 0);
        vm.prank(eve);
        assertEq(staking.slash(Role.Provider, paul, 1, "case"), 0);
        assertEq(staking.slashable(Role.Coordinator, cora), 50e18);
        assertEq(staking.slashable(Role.Provider, paul), 200e18);
        sanityCheck();
    }

    function test_a_case_takes_at_most_its_fraction() public {
        assertEq(byCourt(15e18, "a"), 15e18);
        assertEq(byCourt(15e18, "a"), 5e18, "a tenth of 200 in all");
        assertEq(byCourt(15e18, "a"), 0);
        IProviderStaking.Case memory c = staking.caseOf(court, Role.Provider, paul, "a");
        assertEq(c.bound, 20e18);
        assertEq(c.taken, 20e18);
        assertEq(byCourt(type(uint256).max, "b"), 18e18, "another case, of what is left");
        sanityCheck();
    }

    function test_cases_of_slashers_and_operators_are_apart() public {
        provider(petra, 100e18, 0);
        byCourt(20e18, "a");
        vm.prank(court);
        assertEq(staking.slash(Role.Provider, petra, 20e18, "a"), 10e18);
        assertEq(slash(paul, 30e18, "a"), 30e18);
        sanityCheck();
    }

    // An operator that opens a case against itself while it has next to nothing at stake is not safe from the rest.
    function test_stake_that_comes_after_the_first_slash_answers_too() public {
        provider(petra, 10, 0);
        assertEq(slash(petra, 10, "self-made"), 10);
        bond(petra, Role.Provider, 100e18);
        assertEq(slash(petra, 70e18, "self-made"), 70e18);

        vm.prank(court);
        assertEq(staking.slash(Role.Provider, petra, 100e18, "bounded"), 3e18);
        bond(petra, Role.Provider, 73e18);
        vm.prank(court);
        assertEq(staking.slash(Role.Provider, petra, 100e18, "bounded"), 7.3e18, "a tenth of 103, less 3");
        sanityCheck();
    }

    function test_open_cases_keep_the_fraction_they_were_opened_with() public {
        byCourt(1e18, "open");
        set(court, Role.Provider, 1_000_000);
        assertEq(byCourt(type(uint256).max, "open"), 19e18);
        assertEq(byCourt(type(uint256).max, "new"), 180e18);
        sanityCheck();
    }

    function test_a_removed_slasher_ends_its_open_cases_and_begins_none() public {
        byCourt(1e18, "open");
        set(court, Role.Provider, 0);
        bond(paul, Role.Provider, 1_000e18);
        assertEq(byCourt(1, "new"), 0);
        assertEq(byCourt(type(uint256).max, "open"), 19e18, "and what came after is not its");
        sanityCheck();
    }

    function testFuzz_a_case_never_takes_more_than_its_fraction(uint32 reach, uint96[6] memory amounts) public {
        reach = uint32(bound(reach, 1, 1_000_000));
        set(eve, Role.Provider, reach);
        uint256 all = staking.slashable(Role.Provider, paul);
        uint256 taken = 0;
        for (uint256 i = 0; i < amounts.length; ++i) {
            vm.prank(eve);
            taken += staking.slash(Role.Provider, paul, bound(amounts[i], 0, 100e18), "case");
            skip(1 days);
        }
        assertLe(taken, all * reach / 1_000_000);
        sanityCheck();
    }

    function test_slashers_are_the_governors() public {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, eve));
        vm.prank(eve);
        staking.setSlasher(eve, Role.Provider, Ppm.wrap(1));
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, guardian));
        vm.prank(guardian);
        staking.setDelegationRatio(3);

        vm.startPrank(governor);
        vm.expectRevert(IProviderStaking.SlasherIsZero.selector);
        staking.setSlasher(address(0), Role.Provider, Ppm.wrap(1));
        vm.expectRevert(abi.encodeWithSelector(PpmOverOne.selector, 1_000_001));
        staking.setSlasher(eve, Role.Provider, Ppm.wrap(1_000_001));
        vm.stopPrank();
    }

    function byCourt(uint256 amount, bytes32 caseId) private returns (uint256) {
        vm.prank(court);
        return staking.slash(Role.Provider, paul, amount, caseId);
    }

    function set(address slasher, Role role, uint32 reach) private {
        vm.prank(governor);
        staking.setSlasher(slasher, role, Ppm.wrap(reach));
    }
}
