// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {SharePool} from "../../src/libraries/SharePool.sol";
import {bondPool} from "../../src/types/PoolId.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {StakingTest} from "./StakingTest.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract BondTest is StakingTest {
    function test_a_bond_answers_for_the_role_it_was_made_in() public {
        registerProvider(paul, 0);
        vm.prank(paul);
        staking.registerCoordinator(METADATA);
        bond(paul, Role.Provider, 100e18);
        bond(paul, Role.Coordinator, 40e18);
        assertEq(staking.slashable(Role.Provider, paul), 100e18);
        assertEq(staking.slashable(Role.Coordinator, paul), 40e18);
        sanityCheck();
    }

    function test_only_the_registered_bond() public {
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Provider, eve));
        bond(eve, Role.Provider, 1e18);
        registerProvider(paul, 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Coordinator, paul));
        bond(paul, Role.Coordinator, 1e18);
    }

    function testFuzz_entry_pulls_exactly_the_preview(uint96 first, uint96 second) public {
        first = uint96(bound(first, 1, 5_000_000e18));
        second = uint96(bound(second, 1, 5_000_000e18));
        provider(paul, first, 0);
        uint256 preview = staking.previewBond(Role.Provider, paul, second);
        uint256 before = tide.balanceOf(paul);
        assertEq(bond(paul, Role.Provider, second), preview);
        assertEq(before - tide.balanceOf(paul), second);
        sanityCheck();
    }

    function test_nothing_cannot_be_bonded() public {
        registerProvider(paul, 0);
        vm.expectRevert(IProviderStaking.ZeroAmount.selector);
        bond(paul, Role.Provider, 0);
    }

    function test_a_bond_without_money_or_allowance_changes_nothing() public {
        registerProvider(paul, 0);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        bond(paul, Role.Provider, 10_000_001e18);
        vm.prank(paul);
        tide.approve(address(staking), 0);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        bond(paul, Role.Provider, 1);
        assertEq(staking.slashable(Role.Provider, paul), 0);
        sanityCheck();
    }

    function testFuzz_what_was_bonded_comes_back(uint96 amount, uint32 extra) public {
        amount = uint96(bound(amount, 1, 10_000_000e18));
        provider(paul, amount, 0);
        (ThawId thawId, uint256 set) = unbondAll(paul, Role.Provider);
        assertEq(set, amount, "alone in a pool, nothing is lost to rounding");
        assertEq(staking.stakeOf(Role.Provider, paul).bondThawing, amount, "it answers still");
        skip(THAW + uint256(extra));
        assertEq(withdraw(paul, thawId), amount);
        assertEq(tide.balanceOf(paul), 10_000_000e18);
        assertEq(tide.balanceOf(address(staking)), 0);
        sanityCheck();
    }

    function test_no_more_shares_leave_than_are_held() public {
        provider(paul, 1e18, 0);
        uint256 held = staking.sharesOf(bondPool(Role.Provider, paul), paul);
        assertEq(held, 1e18 * SharePool.VIRTUAL_SHARES);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotEnoughShares.selector, held, held + 1));
        vm.prank(paul);
        staking.unbond(Role.Provider, held + 1);
        vm.expectRevert(IProviderStaking.ZeroAmount.selector);
        vm.prank(paul);
        staking.unbond(Role.Provider, 0);
    }

    function test_no_donation_reaches_a_pool() public {
        provider(paul, 1, 0);
        tide.transfer(address(staking), 1_000_000e18);
        assertEq(staking.slashable(Role.Provider, paul), 1);
        assertEq(staking.previewBond(Role.Provider, paul, 1), 1000, "the least deposit is what it was");
        assertEq(accountedFor() + 1_000_000e18, tide.balanceOf(address(staking)), "counted nowhere");
    }
}
