// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {delegationPool, movedFrom} from "../../src/types/PoolId.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {StakingTest} from "./StakingTest.sol";

/// @notice Stake that goes to another provider at once, and what it answers for.
contract Redelegate is StakingTest {
    function setUp() public override {
        super.setUp();
        provider(paul, 1_000e18, TEN_PERCENT);
        provider(petra, 1_000e18, TEN_PERCENT);
        delegate(dora, paul, 100e18);
    }

    function test_redelegate_moves_at_once() public {
        uint256 all = sharesOf(dora, paul);
        vm.expectEmit(false, true, true, false, address(staking));
        emit IProviderStaking.Redelegated(ThawId.wrap(0), dora, petra, paul, 100e18, 0);
        (ThawId id, uint256 amount, uint256 entered) = redelegate(dora, paul, petra, all);
        assertEq(amount, 100e18);
        assertEq(sharesOf(dora, paul), 0);
        assertEq(delegation(paul).active + delegation(paul).thawing, 0);
        assertEq(delegation(petra).active, 100e18);
        assertEq(staking.stakeOf(Role.Provider, paul).moved, 100e18);
        IProviderStaking.Move memory m = staking.moveOf(id);
        assertEq(m.owner, dora);
        assertEq(m.from, paul);
        assertEq(m.to, petra);
        assertEq(m.end, block.timestamp + THAW);
        assertEq(m.shares, entered);
        assertEq(m.kept, 100e18);
        sanityCheck();
    }

    function test_redelegate_becomes_stake_as_any_after_the_thaw_period() public {
        (ThawId id,, uint256 entered) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        skip(THAW - 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.StillThawing.selector, id, block.timestamp + 1));
        staking.settleMove(id);
        skip(1);
        vm.prank(eve);
        (uint256 shares, uint256 paid, uint256 forfeited) = staking.settleMove(id);
        assertEq(shares, entered);
        assertEq(paid + forfeited, 0);
        assertEq(sharesOf(dora, petra), entered);
        assertEq(staking.stakeOf(Role.Provider, paul).moved, 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NoSuchMove.selector, id));
        staking.settleMove(id);
        sanityCheck();
    }

    // Who left ahead of a slash loses what who stayed loses.
    function test_redelegate_stays_slashable_at_the_source() public {
        delegate(dirk, paul, 100e18);
        (ThawId id,,) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        skip(THAW - 1);
        // All of the own bond, and a quarter of both delegations.
        uint256 taken = slashBy(judge, Role.Provider, paul, 1_050e18, "case");
        assertEq(taken, 1_025e18, "of the delegations the half that is here is paid");
        assertEq(valueOf(dirk, paul), 75e18);
        assertEq(staking.moveOf(id).kept, 75e18);
        assertEq(staking.stakeOf(Role.Provider, paul).moved, 75e18);
        assertEq(staking.slashCount(), 1);
        skip(1);
        uint256 supply = tide.totalSupply();
        (, uint256 paid, uint256 forfeited) = staking.settleMove(id);
        assertEq(paid, 0);
        assertApproxEqAbs(forfeited, 25e18, 1);
        assertEq(tide.totalSupply(), supply - forfeited);
        assertApproxEqAbs(valueOf(dora, petra), 75e18, 1);
        sanityCheck();
    }

    function test_redelegate_by_all_is_no_way_out() public {
        (ThawId id,,) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        assertEq(slashBy(judge, Role.Provider, paul, 2_000e18, "case"), 1_000e18);
        assertEq(staking.moveOf(id).kept, 50e18, "a case takes half of the delegations");
        assertEq(staking.caseOf(judge, Role.Provider, paul, "case").delegatedTaken, 50e18);
        sanityCheck();
    }

    function test_redelegate_is_slashable_at_the_source_not_a_second_longer() public {
        (ThawId id,,) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        skip(THAW);
        slashBy(judge, Role.Provider, paul, 2_000e18, "case");
        assertEq(staking.moveOf(id).kept, 100e18);
        staking.settleMove(id);
        assertEq(valueOf(dora, petra), 100e18);
        sanityCheck();
    }

    function test_redelegate_is_slashable_at_both() public {
        (ThawId id,,) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        slashBy(judge, Role.Provider, paul, 2_000e18, "case");
        assertEq(slashBy(judge, Role.Provider, petra, 2_000e18, "case"), 1_050e18);
        skip(THAW);
        staking.settleMove(id);
        assertApproxEqAbs(valueOf(dora, petra), 25e18, 1);
        sanityCheck();
    }

    function test_redelegated_stake_can_leave_at_once_and_waits_as_any() public {
        (ThawId id,,) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        skip(1 days);
        vm.prank(eve);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotMoveOwner.selector, id));
        staking.undelegateMoved(id);
        vm.prank(dora);
        (ThawId thawId, uint256 amount) = staking.undelegateMoved(id);
        assertEq(amount, 100e18);
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotMoveOwner.selector, id));
        staking.undelegateMoved(id);
        slashBy(judge, Role.Provider, paul, 2_000e18, "case");
        skip(THAW - 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.StillThawing.selector, thawId, block.timestamp + 1));
        staking.settleMove(id);
        skip(1);
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotThawOwner.selector, thawId));
        staking.withdraw(only(thawId));
        uint256 before = tide.balanceOf(dora);
        (uint256 shares, uint256 paid, uint256 forfeited) = staking.settleMove(id);
        assertEq(shares, 0);
        assertEq(paid, 50e18);
        assertEq(forfeited, 50e18);
        assertEq(tide.balanceOf(dora), before + 50e18);
        assertEq(delegation(petra).thawing, 0);
        sanityCheck();
    }

    function test_redelegate_of_what_is_lost_but_for_a_wei_still_settles() public {
        (ThawId id,,) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        // Half of what petra's delegators have, again and again, and all of what paul's answer with.
        slash(petra, type(uint96).max);
        slash(paul, type(uint96).max);
        assertEq(delegation(petra).active, 1);
        vm.prank(dora);
        (ThawId thawId, uint256 amount) = staking.undelegateMoved(id);
        assertLe(amount, 1);
        if (ThawId.unwrap(thawId) == 0) {
            vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NoSuchMove.selector, id));
            staking.settleMove(id);
        } else {
            skip(THAW);
            (, uint256 paid, uint256 forfeited) = staking.settleMove(id);
            assertEq(paid, 0, "what paul's slashes left rounds to nothing");
            assertEq(forfeited, amount);
        }
        assertEq(staking.moveOf(id).owner, address(0));
        sanityCheck();
    }

    function test_redelegate_is_an_entry() public {
        uint256 all = sharesOf(dora, paul);
        vm.startPrank(dora);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.SameProvider.selector, paul));
        staking.redelegate(paul, paul, all, 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Provider, eve));
        staking.redelegate(paul, eve, all, 0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotEnoughShares.selector, all, all + 1));
        staking.redelegate(paul, petra, all + 1, 0);
        vm.expectRevert(IProviderStaking.ZeroAmount.selector);
        staking.redelegate(paul, petra, 0, 0);
        uint256 gives = staking.previewDelegate(petra, 100e18);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.TooFewShares.selector, gives, gives + 1));
        staking.redelegate(paul, petra, all, gives + 1);
        vm.stopPrank();
        allow(petra, 99e18);
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.DelegationOverRoom.selector, 99e18, 100e18));
        staking.redelegate(paul, petra, all, 0);
        allow(petra, type(uint96).max);
        vm.prank(judge);
        staking.openCase(Role.Provider, petra, "open");
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.DelegationOverRoom.selector, 0, 100e18));
        staking.redelegate(paul, petra, all, 0);
        vm.prank(guardian);
        staking.pause(1 days);
        vm.prank(dora);
        vm.expectRevert();
        staking.redelegate(paul, petra, all, 0);
        sanityCheck();
    }

    // A case that was opened before the stake went away reaches it.
    function test_redelegate_after_a_case_opened_is_no_way_out() public {
        vm.prank(judge);
        staking.openCase(Role.Provider, paul, "open");
        (ThawId id,,) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        slashBy(judge, Role.Provider, paul, 2_000e18, "open");
        assertEq(staking.moveOf(id).kept, 50e18);
        sanityCheck();
    }

    // The last who leaves a pool takes along what streams, here as by a thaw.
    function test_redelegate_takes_along_what_streams() public {
        skip(STREAM);
        donate(paul, 50e18);
        (, uint256 amount,) = redelegate(dora, paul, petra, sharesOf(dora, paul));
        assertEq(amount, 150e18);
        assertEq(delegation(paul).active + delegation(paul).locked, 0);
        sanityCheck();
    }

    function testFuzz_redelegate_loses_the_same_part_as_who_stays(uint96 stays, uint96 goes, uint96 taken) public {
        stays = uint96(bound(stays, 1e15, 1_000e18));
        goes = uint96(bound(goes, 1e15, 1_000e18));
        delegate(dirk, paul, stays);
        delegate(eve, paul, goes);
        (ThawId id,,) = redelegate(eve, paul, petra, sharesOf(eve, paul));
        uint256 behind = delegation(paul).active;
        uint256 moved = staking.stakeOf(Role.Provider, paul).moved;
        taken = uint96(bound(taken, 0, (behind + moved) / 2));
        uint256 paid = slashBy(judge, Role.Provider, paul, 1_000e18 + uint256(taken), "case");
        uint256 lost = moved - staking.stakeOf(Role.Provider, paul).moved;
        assertApproxEqAbs(paid - 1_000e18 + lost, taken, 2, "together what the case takes");
        assertApproxEqAbs(lost * behind, (paid - 1_000e18) * moved, 3 * (behind + moved), "the same part of each");
        skip(THAW);
        staking.settleMove(id);
        assertApproxEqAbs(valueOf(eve, petra), moved - lost, 3);
        sanityCheck();
    }

    function test_moves_are_named_apart_from_requests_to_leave() public {
        (ThawId id,,) = redelegate(dora, paul, petra, sharesOf(dora, paul) / 2);
        (ThawId thawId,) = undelegateAll(dora, paul);
        assertTrue(ThawId.unwrap(id) != ThawId.unwrap(thawId));
        assertEq(staking.sharesOf(movedFrom(paul), dora), 0);
        assertEq(staking.poolOf(delegationPool(petra)).active, 50e18);
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotThawOwner.selector, id));
        staking.withdraw(only(id));
        sanityCheck();
    }

    function redelegate(address who, address from, address to, uint256 shares)
        private
        returns (ThawId id, uint256 amount, uint256 entered)
    {
        vm.prank(who);
        return staking.redelegate(from, to, shares, 0);
    }
}
