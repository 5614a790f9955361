// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IEntryPause} from "../../src/interfaces/IEntryPause.sol";
import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {SharePool} from "../../src/libraries/SharePool.sol";
import {Role} from "../../src/types/Role.sol";
import {StakingTest} from "./StakingTest.sol";

contract DelegateTest is StakingTest {
    function test_anyone_delegates_to_a_provider() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 30e18);
        delegate(dirk, paul, 70e18);
        assertEq(valueOf(dora, paul), 30e18);
        assertEq(valueOf(dirk, paul), 70e18);
        assertEq(staking.slashable(Role.Provider, paul), 200e18);
        sanityCheck();
    }

    function test_nobody_delegates_to_who_is_no_provider() public {
        coordinator(cora, 100e18);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Provider, cora));
        delegate(dora, cora, 1e18);
    }

    function testFuzz_entry_pulls_exactly_the_preview(uint96 there, uint96 pay, uint96 amount, uint32 wait) public {
        there = uint96(bound(there, 1, 5_000_000e18));
        pay = uint96(bound(pay, 0, 1_000_000e18));
        amount = uint96(bound(amount, 1e12, 5_000_000e18));
        provider(paul, 5_000_000e18, 0);
        delegate(dirk, paul, there);
        credit(paul, pay);
        skip(wait);
        uint256 preview = staking.previewDelegate(paul, amount);
        uint256 before = tide.balanceOf(dora);
        assertEq(delegate(dora, paul, amount), preview);
        assertEq(before - tide.balanceOf(dora), amount);
        sanityCheck();
    }

    function testFuzz_delegation_stays_within_the_ratio_to_the_own_bond(uint96 bonded, uint8 ratio, uint96 first)
        public
    {
        ratio = uint8(bound(ratio, 1, 20));
        bonded = uint96(bound(bonded, 1, 400_000e18));
        vm.prank(governor);
        staking.setDelegationRatio(ratio);
        provider(paul, bonded, 0);
        uint256 most = uint256(ratio) * bonded;
        first = uint96(bound(first, 1, most));
        assertEq(staking.delegationRoom(paul), most);
        delegate(dora, paul, first);
        uint256 room = most - first;
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.DelegationOverRoom.selector, room, room + 1));
        delegate(dora, paul, room + 1);
        if (room > 0) delegate(dora, paul, room);
        assertEq(staking.delegationRoom(paul), 0);
        sanityCheck();
    }

    function test_a_provider_says_how_much_may_be_delegated_to_it() public {
        registerProvider(paul, 0);
        bond(paul, Role.Provider, 100e18);
        assertEq(staking.delegationRoom(paul), 0, "nothing, until it opens its pool");
        refused(0, 1e18);
        vm.expectEmit(address(staking));
        emit IProviderStaking.MaxDelegatedSet(paul, 50e18);
        allow(paul, 50e18);
        refused(50e18, 50e18 + 1);
        delegate(dora, paul, 40e18);
        refused(10e18, 10e18 + 1);
        allow(paul, 0);
        refused(0, 1);
        undelegate(dora, paul, 1e18);
        assertApproxEqAbs(valueOf(dora, paul), 40e18, 1e15, "those who are there stay and leave as they like");
        allow(paul, type(uint96).max);
        assertApproxEqAbs(staking.delegationRoom(paul), 960e18, 1e15, "and the ratio holds besides");
        sanityCheck();
    }

    function test_only_a_provider_opens_its_pool() public {
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Provider, eve));
        allow(eve, 1);
    }

    // ---------------------------------------------------------------------------------- up to the room

    function test_nobody_makes_a_deposit_fail_by_filling_the_room() public {
        provider(paul, 10e18, 0);
        delegate(eve, paul, 70e18);
        (uint256 entered, uint256 shares) = delegateUpTo(dora, 50e18, 30_000e18);
        assertEq(entered, 30e18);
        assertEq(shares, 30_000e18);
        assertEq(valueOf(dora, paul), 30e18);
        assertEq(tide.balanceOf(dora), 10_000_000e18 - 30e18);
        (entered, shares) = delegateUpTo(dora, 50e18, 0);
        assertEq(entered + shares, 0, "no room is no reason to fail");
        sanityCheck();
    }

    function test_who_wants_shares_gets_them_or_nothing_happens() public {
        provider(paul, 10e18, 0);
        delegate(eve, paul, 70e18);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.TooFewShares.selector, 30_000e18, 30_000e18 + 1));
        delegateUpTo(dora, 50e18, 30_000e18 + 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Provider, petra));
        vm.prank(dora);
        staking.delegateUpTo(petra, 50e18, 0);
        vm.prank(guardian);
        staking.pause(1 days);
        vm.expectPartialRevert(IEntryPause.EntriesArePaused.selector);
        delegateUpTo(dora, 1e18, 0);
    }

    // A share that a puppet made dear, and a room that another filled but for less.
    function test_a_room_of_less_than_a_share_is_none() public {
        provider(paul, 1e15, 0);
        delegate(eve, paul, 1e15);
        skip(STREAM);
        for (uint256 i = 0; i < 20; ++i) {
            donate(paul, 1_000e18);
            skip(STREAM);
        }
        bond(paul, Role.Provider, delegation(paul).active / 10 + 1);
        allow(paul, uint96(delegation(paul).active) + 5);
        assertEq(staking.previewDelegate(paul, 5), 0);
        (uint256 entered, uint256 shares) = delegateUpTo(dora, 1e18, 0);
        assertEq(entered + shares, 0);
        sanityCheck();
    }

    function delegateUpTo(address who, uint256 amount, uint256 minShares) private returns (uint256, uint256) {
        vm.prank(who);
        return staking.delegateUpTo(paul, amount, minShares);
    }

    function refused(uint256 room, uint256 amount) private {
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.DelegationOverRoom.selector, room, amount));
        delegate(dirk, paul, amount);
    }

    function test_thawing_bond_attracts_no_delegation() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 500e18);
        unbondAll(paul, Role.Provider);
        assertEq(staking.delegationRoom(paul), 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.DelegationOverRoom.selector, 0, 1));
        delegate(dirk, paul, 1);
        undelegateAll(dora, paul);
        sanityCheck();
    }

    function test_the_ratio_is_governed_within_bounds() public {
        vm.startPrank(governor);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.RatioOutOfBounds.selector, 0));
        staking.setDelegationRatio(0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.RatioOutOfBounds.selector, 21));
        staking.setDelegationRatio(21);
        staking.setDelegationRatio(20);
        assertEq(staking.delegationRatio(), 20);
    }

    function testFuzz_nobodys_entry_lowers_anothers_value(uint96 mine, uint96 pay, uint96 theirs, uint32 wait) public {
        provider(paul, 5_000_000e18, 100_000);
        delegate(dora, paul, bound(mine, 1, 5_000_000e18));
        credit(paul, uint96(bound(pay, 0, 1_000_000e18)));
        skip(wait);
        uint256 before = valueOf(dora, paul);
        delegate(dirk, paul, bound(theirs, 1e12, 5_000_000e18));
        assertGe(valueOf(dora, paul), before);
        undelegate(dirk, paul, sharesOf(dirk, paul) / 3);
        assertGe(valueOf(dora, paul), before);
        undelegateAll(dirk, paul);
        assertGe(valueOf(dora, paul), before);
        sanityCheck();
    }

    function test_delegating_works_when_everything_is_thawing() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 50e18);
        undelegateAll(dora, paul);
        assertEq(delegation(paul).active, 0);
        delegate(dirk, paul, 10e18);
        assertEq(valueOf(dirk, paul), 10e18);
        assertEq(delegation(paul).thawing, 50e18);
        sanityCheck();
    }

    // The classic theft: own the only share, make it dear, and round a later deposit down. Here a reward that would
    // go to fewer than MIN_REWARDED_SHARES goes to the provider instead, so that no price comes of it.
    function testFuzz_no_donation_raises_the_minimum_deposit(uint96 pay, uint96 gift, uint32 seed) public {
        pay = uint96(bound(pay, 1, 100_000_000e18));
        gift = uint96(bound(gift, 1, 100_000_000e18));
        provider(paul, 1e18, 0);
        delegate(eve, paul, bound(seed, 1, type(uint32).max));
        unbondAll(paul, Role.Provider);
        credit(paul, pay);
        tide.transfer(address(staking), gift);
        skip(STREAM);
        assertEq(staking.previewDelegate(paul, 1), 1000, "a wei still buys what it bought");
    }

    // And where the reward is shared, whoever then leaves does not leave it to a few shares.
    function testFuzz_a_reward_left_behind_makes_no_share_dear(uint96 pay, uint64 stay) public {
        pay = uint96(bound(pay, 1e18, 500_000_000e18));
        stay = uint64(bound(stay, 1, 1e18));
        provider(paul, 1e18, 0);
        delegate(eve, paul, 1e18);
        unbondAll(paul, Role.Provider);
        credit(paul, pay);
        undelegate(eve, paul, sharesOf(eve, paul) - stay);
        skip(STREAM);
        IProviderStaking.PoolState memory p = delegation(paul);
        uint256 least = (p.active + p.shares + SharePool.VIRTUAL_SHARES) / (p.shares + SharePool.VIRTUAL_SHARES);
        assertLe(least, 1e9, "the least deposit is under a billionth TIDE");
        assertGt(staking.previewDelegate(paul, 1e9), 0);
    }
}
