// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {Ppm, PpmOverOne} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {StakingTest} from "./StakingTest.sol";

contract CommissionTest is StakingTest {
    function setUp() public override {
        super.setUp();
        provider(paul, 100e18, TEN_PERCENT);
        delegate(dora, paul, 100e18);
        skip(STREAM);
    }

    function test_a_change_takes_effect_after_the_thaw_period() public {
        uint48 effective = uint48(block.timestamp) + THAW;
        vm.expectEmit(address(staking));
        emit IProviderStaking.CommissionAnnounced(paul, Ppm.wrap(1_000_000), effective);
        set(1_000_000);
        vm.warp(effective - 1);
        assertEq(inEffect(), TEN_PERCENT);
        credit(paul, 20e18);
        assertEq(delegation(paul).locked, 9e18, "paid by what was known when they came");
        vm.warp(effective + STREAM);
        assertEq(inEffect(), 1_000_000);
        uint256 before = delegation(paul).locked + delegation(paul).active;
        credit(paul, 20e18);
        assertEq(delegation(paul).locked + delegation(paul).active, before);
        sanityCheck();
    }

    function test_who_leaves_at_the_announcement_is_out_when_it_takes_effect() public {
        set(1_000_000);
        (ThawId thawId,) = undelegateAll(dora, paul);
        vm.warp(staking.operatorRecord(paul).nextCommissionAt);
        assertEq(withdraw(dora, thawId), 100e18);
        sanityCheck();
    }

    function test_a_new_change_replaces_one_that_waits_and_waits_anew() public {
        set(500_000);
        skip(THAW - 1);
        set(400_000);
        skip(1);
        assertEq(inEffect(), TEN_PERCENT, "the first never comes into effect");
        skip(THAW + STREAM - 2);
        assertEq(inEffect(), TEN_PERCENT);
        skip(1);
        assertEq(inEffect(), 400_000);
    }

    function test_what_is_in_effect_stays_while_the_next_waits() public {
        set(500_000);
        skip(THAW + STREAM);
        set(0);
        assertEq(inEffect(), 500_000);
        skip(THAW);
        assertEq(inEffect(), 0, "a lower one holds for all pay at once");
    }

    function test_it_changes_at_once_while_nobody_is_delegated() public {
        provider(petra, 100e18, TEN_PERCENT);
        vm.expectEmit(address(staking));
        emit IProviderStaking.CommissionAnnounced(petra, Ppm.wrap(700_000), uint48(block.timestamp));
        vm.startPrank(petra);
        staking.setCommission(Ppm.wrap(700_000));
        assertEq(Ppm.unwrap(staking.operatorRecord(petra).commission), 700_000);
        staking.setCommission(Ppm.wrap(800_000));
        vm.stopPrank();
        delegate(dora, petra, 1e18);
        assertEq(Ppm.unwrap(staking.operatorRecord(petra).commission), 800_000);
        vm.prank(petra);
        staking.setCommission(Ppm.wrap(900_000));
        assertEq(Ppm.unwrap(staking.operatorRecord(petra).commission), 800_000);
    }

    function test_only_providers_and_only_fractions() public {
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Provider, eve));
        vm.prank(eve);
        staking.setCommission(Ppm.wrap(1));
        vm.expectRevert(abi.encodeWithSelector(PpmOverOne.selector, 1_000_001));
        set(1_000_001);
    }

    function testFuzz_no_provider_set_parameter_can_make_a_slash_or_a_credit_revert(uint32 first, uint32 next) public {
        first = uint32(bound(first, 0, 1_000_000));
        provider(petra, 100e18, first);
        delegate(dora, petra, 100e18);
        vm.startPrank(petra);
        staking.setCommission(Ppm.wrap(uint32(bound(next, 0, 1_000_000))));
        staking.setMetadata(Role.Provider, bytes32(type(uint256).max));
        vm.stopPrank();
        assertEq(credit(petra, 3e18), 3e18);
        skip(THAW);
        assertEq(credit(petra, 3e18), 3e18);
        uint256 all = staking.slashable(Role.Provider, petra);
        assertApproxEqAbs(slash(petra, type(uint256).max), all, 4);
        sanityCheck();
    }

    function set(uint32 commission) private {
        vm.prank(paul);
        staking.setCommission(Ppm.wrap(commission));
    }

    function inEffect() private view returns (uint32) {
        return Ppm.unwrap(staking.operatorRecord(paul).commission);
    }
}
