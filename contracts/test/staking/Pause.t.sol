// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IEntryPause} from "../../src/interfaces/IEntryPause.sol";
import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {StakingTest} from "./StakingTest.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

contract PauseTest is StakingTest {
    function setUp() public override {
        super.setUp();
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
    }

    function test_every_entry_is_closed_and_opens_by_itself() public {
        pause(2 days);
        uint48 until = uint48(block.timestamp) + 2 days;
        IProviderStaking.KeyBinding memory keys = keysFor(petra, "key");
        bytes memory closed = abi.encodeWithSelector(IEntryPause.EntriesArePaused.selector, until);
        vm.startPrank(petra);
        vm.expectRevert(closed);
        staking.registerProvider(METADATA, Ppm.wrap(0), keys);
        vm.expectRevert(closed);
        staking.registerCoordinator(METADATA);
        vm.expectRevert(closed);
        staking.bond(Role.Provider, 1);
        vm.expectRevert(closed);
        staking.delegate(paul, 1);
        vm.warp(until - 1);
        vm.expectRevert(closed);
        staking.delegate(paul, 1e18);
        vm.warp(until);
        staking.delegate(paul, 1e18);
        vm.stopPrank();
        sanityCheck();
    }

    function test_no_way_out_is_ever_closed() public {
        (ThawId thawId,) = undelegate(dora, paul, sharesOf(dora, paul) / 2);
        skip(THAW - 1 days);
        pause(7 days);
        undelegateAll(dora, paul);
        unbondAll(paul, Role.Provider);
        assertEq(slash(paul, 1e18), 1e18);
        assertEq(credit(paul, 1e18), 1e18);
        skip(1 days);
        assertGt(withdraw(dora, thawId), 0);
        vm.prank(paul);
        assertGt(staking.withdrawEarnings(), 0);
        assertGt(staking.pausedUntil(), block.timestamp);
        sanityCheck();
    }

    function testFuzz_a_pause_is_followed_by_as_long_a_time_without(uint32 duration, uint32 wait) public {
        duration = uint32(bound(duration, 1, 7 days));
        wait = uint32(bound(wait, 0, 20 days));
        uint48 start = uint48(block.timestamp);
        pause(duration);
        skip(wait);
        if (wait < 2 * duration) {
            vm.expectRevert(abi.encodeWithSelector(IEntryPause.PauseTooSoon.selector, uint256(start) + 2 * duration));
        }
        pause(1);
    }

    function test_the_governor_lifts_a_pause_and_the_rest_counts_as_it_was() public {
        pause(4 days);
        skip(1 days);
        vm.prank(governor);
        staking.unpause();
        delegate(dirk, paul, 1e18);
        assertEq(staking.nextPauseAt(), block.timestamp + 1 days);
        vm.expectRevert(IEntryPause.NotPaused.selector);
        vm.prank(governor);
        staking.unpause();
    }

    function test_a_pause_has_bounds_and_owners() public {
        vm.expectRevert(abi.encodeWithSelector(IEntryPause.PauseOutOfBounds.selector, 0, 7 days));
        pause(0);
        vm.expectRevert(abi.encodeWithSelector(IEntryPause.PauseOutOfBounds.selector, 7 days + 1, 7 days));
        pause(7 days + 1);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, eve));
        vm.prank(eve);
        staking.pause(1);
        pause(1 days);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, guardian));
        vm.prank(guardian);
        staking.unpause();
    }

    function pause(uint32 duration) private {
        vm.prank(guardian);
        staking.pause(duration);
    }
}
