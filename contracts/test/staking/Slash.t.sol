// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {bondPool, delegationPool} from "../../src/types/PoolId.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {StakingTest} from "./StakingTest.sol";

/// @notice What a slash takes, and from whom. Who may slash is in Slashers.t.sol.
contract SlashTest is StakingTest {
    // -------------------------------------------------------------------------------------- the order

    function test_the_own_bond_comes_first() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 500e18);
        assertEq(slash(paul, 60e18), 60e18);
        assertEq(staking.stakeOf(Role.Provider, paul).bonded, 40e18);
        assertEq(valueOf(dora, paul), 500e18);

        assertEq(slash(paul, 60e18), 60e18);
        assertEq(staking.stakeOf(Role.Provider, paul).bonded, 0);
        assertEq(valueOf(dora, paul), 480e18);
        assertEq(tide.balanceOf(judge), 120e18);
        sanityCheck();
    }

    function test_the_own_thawing_bond_does_not_hide_behind_delegators() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 500e18);
        (ThawId thawId,) = unbondAll(paul, Role.Provider);
        assertEq(slash(paul, 100e18), 100e18);
        assertEq(valueOf(dora, paul), 500e18);
        assertEq(staking.thawRequest(thawId).value, 0);
        sanityCheck();
    }

    function test_active_locked_and_thawing_delegation_are_taken_alike() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 400e18);
        delegate(dirk, paul, 400e18);
        skip(STREAM);
        (ThawId thawId,) = undelegateAll(dirk, paul);
        credit(paul, 500e18);
        assertEq(delegation(paul).locked, 400e18);
        // A hundred of the bond, and half of 400 active, 400 locked, 400 thawing.
        assertEq(slash(paul, 700e18), 700e18);
        assertApproxEqAbs(valueOf(dora, paul), 200e18, 1);
        assertApproxEqAbs(delegation(paul).locked, 200e18, 1);
        assertApproxEqAbs(staking.thawRequest(thawId).value, 200e18, 1);
        sanityCheck();
    }

    function test_a_coordinators_slash_reaches_its_coordinators_bond_alone() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        coordinator(paul, 30e18);
        assertEq(slashBy(escrow, Role.Coordinator, paul, 500e18, "case"), 30e18);
        assertEq(staking.slashable(Role.Provider, paul), 200e18);
        assertEq(slash(paul, 500e18), 200e18 - 1, "half and half and half, but for a wei");
        sanityCheck();
    }

    // -------------------------------------------------------------------------------- clips, never reverts

    function testFuzz_slash_clips_and_never_reverts(
        uint96 own,
        uint96 others,
        uint96 pay,
        uint96 out,
        uint32 wait,
        uint256 amount
    ) public {
        own = uint96(bound(own, 1, 5_000_000e18));
        others = uint96(bound(others, 1, 10 * uint256(own) < 5_000_000e18 ? 10 * uint256(own) : 5_000_000e18));
        provider(paul, own, 0);
        uint256 shares = delegate(dora, paul, others);
        credit(paul, uint96(bound(pay, 0, 10_000_000e18)));
        undelegate(dora, paul, bound(out, 1, shares));
        skip(bound(wait, 0, 2 * THAW));
        uint256 all = staking.slashable(Role.Provider, paul);
        uint256 expected = amount < all ? amount : all;
        uint256 taken = slash(paul, amount);
        assertApproxEqAbs(taken, expected, 4, "of delegations the last wei of each part stays");
        assertEq(tide.balanceOf(judge), taken);
        assertLe(staking.slashable(Role.Provider, paul), all - taken);
        sanityCheck();
    }

    function test_whom_nobody_knows_has_nothing_to_take() public {
        assertEq(slash(eve, 1e18), 0);
        assertEq(slashBy(escrow, Role.Coordinator, address(0), 1e18, "case"), 0);
        registerProvider(paul, 0);
        assertEq(slash(paul, 1e18), 0);
        sanityCheck();
    }

    function test_a_slash_is_never_paused() public {
        provider(paul, 100e18, 0);
        vm.prank(guardian);
        staking.pause(7 days);
        assertEq(slash(paul, 1e18), 1e18);
        sanityCheck();
    }

    // ------------------------------------------------------------------------- exactly the thaw period

    function testFuzz_slashable_for_exactly_the_window(uint32 when) public {
        provider(paul, 1, 0);
        provider(petra, 1_000_000e18, 0);
        delegate(dora, petra, 100e18);
        unbondAll(petra, Role.Provider);
        skip(1);
        (ThawId thawId,) = undelegateAll(dora, petra);
        uint256 start = block.timestamp;
        // Half of the runs at the boundary itself.
        uint256 moment = when % 2 == 0 ? start + bound(when, 0, 2 * THAW) : start + THAW - 2 + (when % 5);
        vm.warp(moment);
        uint256 own = staking.stakeOf(Role.Provider, petra).bondThawing;
        slash(petra, own + 40e18);
        vm.warp(start + 3 * THAW);
        assertEq(withdraw(dora, thawId), moment < start + THAW ? 60e18 : 100e18);
        sanityCheck();
    }

    function test_a_second_before_the_end_and_at_the_end() public {
        provider(paul, 1, 0);
        delegate(dora, paul, 10);
        (ThawId thawId,) = undelegateAll(dora, paul);
        uint48 end = staking.thawRequest(thawId).end;
        uint256 snapshot = vm.snapshotState();
        vm.warp(end - 1);
        assertEq(slash(paul, 6), 6);
        assertEq(staking.thawRequest(thawId).value, 5);
        vm.revertToState(snapshot);
        vm.warp(end);
        assertEq(slash(paul, 6), 1, "the bond alone");
        assertEq(withdraw(dora, thawId), 10);
        sanityCheck();
    }

    function test_within_one_second_the_order_counts() public {
        provider(paul, 1e18, 0);
        delegate(dora, paul, 10e18);
        slash(paul, 2e18);
        (ThawId after_, uint256 amount) = undelegate(dora, paul, sharesOf(dora, paul) / 2);
        assertApproxEqAbs(amount, 4.5e18, 1, "slashed as active");
        assertEq(staking.thawRequest(after_).value, amount, "and not again as thawing");
        slash(paul, 4.5e18);
        assertApproxEqAbs(staking.thawRequest(after_).value, 2.25e18, 2, "the next one in that second takes half");
        (ThawId third, uint256 rest) = undelegateAll(dora, paul);
        skip(THAW);
        assertApproxEqAbs(withdraw(dora, after_), 2.25e18, 2);
        assertApproxEqAbs(withdraw(dora, third), rest, 1);
        sanityCheck();
    }

    function test_each_of_many_thaws_feels_the_slashes_of_its_own_window() public {
        provider(paul, 1_000_000e18, 0);
        delegate(dora, paul, 300e18);
        unbondAll(paul, Role.Provider);
        skip(THAW);
        uint256 third = sharesOf(dora, paul) / 3;
        (ThawId first,) = undelegate(dora, paul, third);
        skip(20 days);
        (ThawId second,) = undelegate(dora, paul, third);
        assertEq(slash(paul, 150e18), 150e18); // all three at half
        skip(8 days);
        assertEq(slash(paul, 50e18), 50e18); // the first is out; 50 + 50 at half
        skip(20 days);
        assertEq(slash(paul, 10e18), 10e18); // the second is out, too
        assertApproxEqAbs(withdraw(dora, first), 50e18, 2);
        assertApproxEqAbs(withdraw(dora, second), 25e18, 2);
        assertApproxEqAbs(valueOf(dora, paul), 15e18, 2);
        sanityCheck();
    }

    function testFuzz_thawing_is_at_most_the_tokens_set_aside_after_every_slash(uint96[8] memory steps) public {
        provider(paul, 1, 0);
        provider(petra, 5_000_000e18, 0);
        unbondAll(paul, Role.Provider);
        delegate(dora, petra, 5_000_000e18);
        unbondAll(petra, Role.Provider);
        skip(THAW);
        ThawId[] memory ids = new ThawId[](8);
        for (uint256 i = 0; i < 8; ++i) {
            uint256 held = sharesOf(dora, petra);
            if (held == 0) break;
            (ids[i],) = undelegate(dora, petra, bound(steps[i], 1, held));
            slash(petra, bound(uint256(keccak256(abi.encode(steps[i]))), 0, staking.slashable(Role.Provider, petra)));
            uint256 claims = 0;
            for (uint256 k = 0; k <= i; ++k) {
                if (ThawId.unwrap(ids[k]) != 0) claims += staking.thawRequest(ids[k]).value;
            }
            assertLe(claims, delegation(petra).thawing);
            assertLe(staking.stakeOf(Role.Provider, petra).delegatedThawing, delegation(petra).thawing);
            skip(steps[i] % (THAW / 4));
        }
        sanityCheck();
    }

    // -------------------------------------------------------------------------------- death and new eras

    function test_after_a_full_slash_old_thaws_and_shares_dilute_nobody() public {
        provider(paul, 100e18, 0);
        vm.prank(paul);
        (ThawId old,) = staking.unbond(Role.Provider, 40_000e18);
        vm.expectEmit(address(staking));
        emit IProviderStaking.EraEnded(bondPool(Role.Provider, paul), 0, 7);
        vm.expectEmit(address(staking));
        emit IProviderStaking.ThawEraEnded(bondPool(Role.Provider, paul), 0, 5);
        assertEq(slash(paul, type(uint256).max), 100e18);

        assertEq(staking.sharesOf(bondPool(Role.Provider, paul), paul), 0);
        bond(paul, Role.Provider, 50e18);
        assertEq(staking.valueOf(bondPool(Role.Provider, paul), paul), 50e18);
        vm.prank(paul);
        (ThawId fresh,) = staking.unbond(Role.Provider, 25_000e18);
        skip(THAW);
        assertEq(withdraw(paul, old), 0);
        assertEq(withdraw(paul, fresh), 25e18);
        assertEq(staking.valueOf(bondPool(Role.Provider, paul), paul), 25e18);
        sanityCheck();
    }

    function test_old_holders_begin_anew_with_what_they_bring() public {
        provider(paul, 100e18, 0);
        slash(paul, type(uint256).max);
        uint256 shares = bond(paul, Role.Provider, 1e18);
        assertEq(
            staking.sharesOf(bondPool(Role.Provider, paul), paul), shares, "dead shares do not add up with live ones"
        );
        assertEq(staking.valueOf(bondPool(Role.Provider, paul), paul), 1e18);
        sanityCheck();
    }

    // A case takes at most half of what others have, so that many leave a wei of it.
    function test_of_delegations_nearly_all_can_be_lost() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        delegate(dirk, paul, 100e18);
        undelegateAll(dirk, paul);
        assertEq(slashBy(judge, Role.Provider, paul, type(uint256).max, "one"), 200e18);
        assertEq(slash(paul, type(uint256).max), 100e18 - 1);
        assertLe(valueOf(dora, paul), 1);
        bond(paul, Role.Provider, 100e18);
        delegate(eve, paul, 50e18);
        assertApproxEqAbs(valueOf(eve, paul), 50e18, 1);
        sanityCheck();
    }

    function test_thaws_that_were_over_outlive_a_full_slash() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        (ThawId over,) = undelegate(dora, paul, sharesOf(dora, paul) / 2);
        skip(THAW);
        (ThawId waiting,) = undelegateAll(dora, paul);
        assertEq(slash(paul, type(uint256).max), 150e18 - 1);
        assertEq(withdraw(dora, over), 50e18);
        skip(THAW);
        assertLe(withdraw(dora, waiting), 1);
        assertLe(delegation(paul).thawing, 1);
        sanityCheck();
    }

    function testFuzz_share_ratio_stays_bounded_under_repeated_near_total_slashes(uint96 amount, uint8 left) public {
        amount = uint96(bound(amount, 1e15, 100_000e18));
        provider(paul, 100_000e18, 0);
        for (uint256 i = 0; i < 12; ++i) {
            delegate(dora, paul, amount);
            slash(paul, staking.slashable(Role.Provider, paul) - left, bytes32(i));
            IProviderStaking.PoolState memory p = delegation(paul);
            assertLe(p.shares + 1e3, 1e9 * (p.active + 1));
            // A newcomer gets what it pays for, whatever was before.
            bond(paul, Role.Provider, 100_000e18);
            delegate(dirk, paul, 1e18);
            assertApproxEqAbs(valueOf(dirk, paul), 1e18, 1);
            undelegateAll(dirk, paul);
        }
        sanityCheck();
    }

    function test_what_a_slash_leaves_stays_its_owners() public {
        coordinator(cora, 1_000e18);
        vm.expectEmit(address(staking));
        emit IProviderStaking.EraEnded(bondPool(Role.Coordinator, cora), 0, 1);
        assertEq(slashBy(escrow, Role.Coordinator, cora, 1_000e18 - 1e12 + 1e6, "case"), 1_000e18 - 1e12 + 1e6);
        (ThawId thawId,) = unbondAll(cora, Role.Coordinator);
        skip(THAW);
        assertApproxEqAbs(withdraw(cora, thawId), 1e12 - 1e6, 1, "a billionth");
        assertEq(staking.poolOf(bondPool(Role.Coordinator, cora)).shares, 0);
        sanityCheck();
    }

    // A pool whose shares once lost nearly all they can lose, and then newcomers and a slash like any other.
    function test_a_small_slash_takes_no_more_from_newcomers_for_the_losses_before_them() public {
        provider(paul, 1e16, 0);
        delegate(eve, paul, 1e17);
        slash(paul, 1e16 + 1e17 - 100_000_100_000, "first");
        assertEq(delegation(paul).era, 0);
        bond(paul, Role.Provider, 100_000e18);
        delegate(dora, paul, 999_999e18);
        (ThawId own,) = unbondAll(paul, Role.Provider);
        skip(THAW);
        withdraw(paul, own);
        uint256 supply = tide.totalSupply();
        assertEq(slash(paul, 10e18, "second"), 10e18);
        assertEq(delegation(paul).era, 1);
        assertApproxEqAbs(valueOf(dora, paul) + valueOf(eve, paul), 999_989e18 + 100_000_100_000, 3);
        assertApproxEqAbs(valueOf(dora, paul), 999_989e18, 2e9, "but for the entry's rounding, a share");
        assertEq(tide.totalSupply(), supply, "nothing is burned");

        (ThawId thawId, uint256 amount) = undelegateAll(dora, paul);
        skip(THAW);
        assertEq(withdraw(dora, thawId), amount);
        sanityCheck();
    }

    function test_what_a_slash_leaves_of_thaws_stays_their_owners() public {
        coordinator(cora, 10_000e18);
        (ThawId thawId,) = unbondAll(cora, Role.Coordinator);
        vm.expectEmit(address(staking));
        emit IProviderStaking.ThawEraEnded(bondPool(Role.Coordinator, cora), 0, 1);
        assertEq(slashBy(escrow, Role.Coordinator, cora, 10_000e18 - 1e12, "case"), 10_000e18 - 1e12);
        skip(THAW);
        assertEq(withdraw(cora, thawId), 1e12);
        sanityCheck();
    }

    // The same where a queue of thaws once lost nearly all it can lose.
    function test_a_small_slash_takes_no_more_from_new_thaws_for_the_losses_before_them() public {
        provider(paul, 1e16, 0);
        delegate(eve, paul, 1e17);
        undelegateAll(eve, paul);
        slash(paul, 1e16 + 1e17 - 100_000_200, "first");
        assertEq(delegation(paul).thawEra, 0);
        skip(60 days);
        bond(paul, Role.Provider, 100_000e18);
        delegate(dora, paul, 1_000_000e18);
        unbondAll(paul, Role.Provider);
        (ThawId thawId,) = undelegateAll(dora, paul);
        assertEq(slash(paul, 100_000e18 + 10e18, "second"), 100_010e18);
        assertEq(delegation(paul).thawEra, 1);
        skip(THAW);
        assertApproxEqAbs(withdraw(dora, thawId), 999_990e18, 2);
        sanityCheck();
    }
}
