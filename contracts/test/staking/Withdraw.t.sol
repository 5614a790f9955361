// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {StakingTest} from "./StakingTest.sol";

contract WithdrawTest is StakingTest {
    function setUp() public override {
        super.setUp();
        provider(paul, 1_000_000e18, 0);
        delegate(dora, paul, 100e18);
    }

    function test_not_a_second_before_the_end() public {
        (ThawId thawId,) = undelegateAll(dora, paul);
        uint48 end = uint48(block.timestamp) + THAW;
        vm.warp(end - 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.StillThawing.selector, thawId, end));
        withdraw(dora, thawId);
        vm.warp(end);
        assertEq(withdraw(dora, thawId), 100e18);
        assertEq(staking.thawRequest(thawId).owner, address(0));
        sanityCheck();
    }

    function test_only_the_owner_and_only_once() public {
        (ThawId thawId,) = undelegateAll(dora, paul);
        skip(THAW);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotThawOwner.selector, thawId));
        withdraw(eve, thawId);

        ThawId[] memory twice = new ThawId[](2);
        twice[0] = thawId;
        twice[1] = thawId;
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotThawOwner.selector, thawId));
        vm.prank(dora);
        staking.withdraw(twice);

        withdraw(dora, thawId);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotThawOwner.selector, thawId));
        withdraw(dora, thawId);
        sanityCheck();
    }

    function test_an_id_that_was_never_given_pays_nobody() public {
        vm.expectPartialRevert(IProviderStaking.NotThawOwner.selector);
        withdraw(dora, ThawId.wrap(bytes32(uint256(7))));
    }

    function test_many_requests_of_many_pools_at_once() public {
        provider(petra, 1_000_000e18, 0);
        delegate(dora, petra, 11e18);
        ThawId[] memory ids = new ThawId[](3);
        (ids[0],) = undelegate(dora, paul, sharesOf(dora, paul) / 4);
        (ids[1],) = undelegateAll(dora, petra);
        skip(1 days);
        (ids[2],) = undelegateAll(dora, paul);
        skip(THAW);
        uint256 before = tide.balanceOf(dora);
        vm.prank(dora);
        assertEq(staking.withdraw(ids), 111e18);
        assertEq(tide.balanceOf(dora) - before, 111e18);
        sanityCheck();
    }

    function test_it_waits_for_its_owner_for_ever() public {
        (ThawId thawId,) = undelegateAll(dora, paul);
        skip(THAW);
        slash(paul, type(uint256).max);
        skip(3650 days);
        assertEq(withdraw(dora, thawId), 100e18);
        sanityCheck();
    }

    function test_every_queued_exit_completes_also_after_a_full_slash() public {
        (ThawId thawId,) = undelegate(dora, paul, sharesOf(dora, paul) / 2);
        slash(paul, type(uint256).max);
        assertLe(valueOf(dora, paul), 1, "what did not leave is lost");
        skip(THAW);
        assertLe(withdraw(dora, thawId), 1);
        sanityCheck();
    }

    function test_earnings_are_the_operators_own_call() public {
        credit(paul, 10e18);
        uint256 mine = earned(paul);
        uint256 before = tide.balanceOf(paul);
        vm.prank(paul);
        assertEq(staking.withdrawEarnings(), mine);
        assertEq(tide.balanceOf(paul) - before, mine);
        vm.prank(paul);
        assertEq(staking.withdrawEarnings(), 0);
        vm.prank(eve);
        assertEq(staking.withdrawEarnings(), 0);
        sanityCheck();
    }
}
