// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {delegationPool} from "../../src/types/PoolId.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId, toThawId} from "../../src/types/ThawId.sol";
import {StakingTest} from "./StakingTest.sol";

contract UndelegateTest is StakingTest {
    function setUp() public override {
        super.setUp();
        provider(paul, 1_000_000e18, 0);
    }

    function test_an_exit_is_set_aside_and_named() public {
        delegate(dora, paul, 10e18);
        uint256 shares = sharesOf(dora, paul);
        ThawId expected = toThawId(delegationPool(paul), 0, 0);
        vm.expectEmit(address(staking));
        emit IProviderStaking.Thawed(delegationPool(paul), dora, shares / 2, 5e18, expected);
        (ThawId thawId, uint256 amount) = undelegate(dora, paul, shares / 2);
        assertEq(amount, 5e18);
        assertEq(ThawId.unwrap(thawId), ThawId.unwrap(expected));
        IProviderStaking.ThawRequest memory request = staking.thawRequest(thawId);
        assertEq(request.owner, dora);
        assertEq(request.end, block.timestamp + THAW);
        assertEq(request.value, 5e18);
        assertEq(staking.stakeOf(Role.Provider, paul).delegatedThawing, 5e18);
        sanityCheck();
    }

    function testFuzz_entering_and_leaving_never_gains(uint96 there, uint96 amount, uint96 pay, uint32 wait) public {
        delegate(dirk, paul, bound(there, 1, 4_000_000e18));
        credit(paul, uint96(bound(pay, 0, 1_000_000e18)));
        skip(wait);
        amount = uint96(bound(amount, 1e12, 5_000_000e18));
        delegate(dora, paul, amount);
        (, uint256 back) = undelegateAll(dora, paul);
        assertLe(back, amount);
        sanityCheck();
    }

    function test_exit_works_from_an_unbonded_provider_while_entries_are_paused() public {
        delegate(dora, paul, 10e18);
        unbondAll(paul, Role.Provider);
        vm.prank(guardian);
        staking.pause(7 days);
        (, uint256 amount) = undelegateAll(dora, paul);
        assertEq(amount, 10e18);
        sanityCheck();
    }

    function test_nobody_fills_anothers_request_list() public {
        delegate(dora, paul, 10e18);
        delegate(eve, paul, 10e18);
        (ThawId doras,) = undelegateAll(dora, paul);
        for (uint256 i = 0; i < 50; ++i) {
            undelegate(eve, paul, 1e18);
        }
        skip(THAW);
        uint256 before = gasleft();
        withdraw(dora, doras);
        assertLt(before - gasleft(), 100_000, "what others asked for is no part of the cost");
        sanityCheck();
    }

    function test_shares_worth_nothing_leave_without_a_request() public {
        delegate(dora, paul, 1e18);
        (ThawId thawId, uint256 amount) = undelegate(dora, paul, 1);
        assertEq(amount, 0);
        assertTrue(ThawId.unwrap(thawId) == 0);
        sanityCheck();
    }

    // What has not streamed goes with the last one: neither the operator nor a stranger finds it there.
    function test_the_last_to_leave_takes_what_streams() public {
        delegate(dora, paul, 1_000_000e18);
        skip(STREAM);
        credit(paul, 200e18);
        skip(STREAM / 2);
        (ThawId thawId, uint256 amount) = undelegateAll(dora, paul);
        assertEq(amount, 1_000_100e18);
        assertEq(earned(paul), 100e18);
        assertEq(staking.thawRequest(thawId).value, amount);
        IProviderStaking.PoolState memory p = delegation(paul);
        assertEq(p.active + p.locked + p.shares, 0);
        delegate(eve, paul, 1e18);
        assertEq(valueOf(eve, paul), 1e18);
        sanityCheck();
    }

    // Else whoever enters after the others have left, and leaves again, would take along what is theirs or the operator's.
    function test_who_came_of_late_takes_only_what_it_brought() public {
        delegate(dora, paul, 1_000e18);
        skip(STREAM);
        undelegateAll(dora, paul);
        delegate(eve, paul, 1_000e18);
        credit(paul, 500e18);
        uint256 streaming = delegation(paul).locked;
        assertGt(streaming, 0);
        uint256 before = earned(paul);
        vm.expectEmit(address(staking));
        emit IProviderStaking.LeftToOperator(delegationPool(paul), streaming);
        (, uint256 amount) = undelegateAll(eve, paul);
        assertEq(amount, 1_000e18);
        assertEq(earned(paul) - before, streaming);
        sanityCheck();
    }

    function test_thaw_end_cannot_change() public {
        delegate(dora, paul, 10e18);
        (ThawId first,) = undelegate(dora, paul, sharesOf(dora, paul) / 2);
        uint48 end = staking.thawRequest(first).end;
        skip(5 days);
        undelegateAll(dora, paul);
        slash(paul, 1e18);
        assertEq(staking.thawRequest(first).end, end);
        sanityCheck();
    }
}
