// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

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
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.DelegationOverRatio.selector, room, room + 1));
        delegate(dora, paul, room + 1);
        if (room > 0) delegate(dora, paul, room);
        assertEq(staking.delegationRoom(paul), 0);
        sanityCheck();
    }

    function test_thawing_bond_attracts_no_delegation() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 500e18);
        unbondAll(paul, Role.Provider);
        assertEq(staking.delegationRoom(paul), 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.DelegationOverRatio.selector, 0, 1));
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
