// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {bondPool} from "../../src/types/PoolId.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {StakingTest} from "./StakingTest.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract CreditTest is StakingTest {
    function test_own_and_delegated_stake_earn_the_same_before_commission() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 300e18);
        skip(STREAM);
        credit(paul, 40e18);
        assertEq(earned(paul), 10e18);
        assertEq(delegation(paul).locked, 30e18);
        sanityCheck();
    }

    function test_commission_is_taken_of_the_delegators_part_alone() public {
        provider(paul, 100e18, 200_000);
        delegate(dora, paul, 300e18);
        skip(STREAM);
        credit(paul, 40e18);
        assertEq(earned(paul), 10e18 + 6e18);
        assertEq(delegation(paul).locked, 24e18);
        sanityCheck();
    }

    function testFuzz_splits_sum_exactly(uint96 own, uint96 others, uint96 pay, uint32 commission) public {
        own = uint96(bound(own, 1, 5_000_000e18));
        others = uint96(bound(others, 1, 5_000_000e18));
        if (others > uint256(own) * 10) others = uint96(uint256(own) * 10);
        pay = uint96(bound(pay, 1, 10_000_000e18));
        commission = uint32(bound(commission, 0, 1_000_000));
        provider(paul, own, commission);
        delegate(dora, paul, others);
        skip(STREAM);
        uint256 before = tide.balanceOf(address(this));
        assertEq(credit(paul, pay), pay);
        assertEq(before - tide.balanceOf(address(this)), pay);
        assertEq(earned(paul) + delegation(paul).locked, pay);
        assertLe(delegation(paul).locked, others, "what is there at most doubles");
        sanityCheck();
    }

    function test_without_delegators_all_is_the_providers() public {
        provider(paul, 100e18, 0);
        credit(paul, 7e18);
        assertEq(earned(paul), 7e18);
        delegate(dora, paul, 1e15 - 1);
        skip(STREAM);
        credit(paul, 7e18);
        assertEq(earned(paul), 14e18, "nor with less than a thousandth TIDE of delegation");
        sanityCheck();
    }

    function test_without_an_own_bond_the_provider_has_its_commission() public {
        provider(paul, 100e18, 250_000);
        delegate(dora, paul, 300e18);
        skip(STREAM);
        unbondAll(paul, Role.Provider);
        credit(paul, 40e18);
        assertEq(earned(paul), 10e18);
        sanityCheck();
    }

    // A slash made the shares worth next to nothing; a puppet leaves with all but one, and nothing is behind that one.
    function test_a_provider_whose_shares_hold_nothing_is_paid() public {
        provider(paul, 1e18, 0);
        delegate(eve, paul, 1e18);
        slash(paul, 2e18 - 1e12);
        undelegate(eve, paul, sharesOf(eve, paul) - 1);
        IProviderStaking.PoolState memory p = delegation(paul);
        assertEq(p.shares, 1);
        assertEq(p.active + p.locked, 0);
        assertEq(staking.stakeOf(Role.Provider, paul).bonded, 0);
        assertEq(credit(paul, 5e18), 5e18);
        assertEq(earned(paul), 5e18);
        sanityCheck();
    }

    function test_a_reward_streams_in_over_the_period() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        skip(STREAM);
        credit(paul, 14e18);
        assertEq(valueOf(dora, paul), 100e18);
        for (uint256 day = 1; day <= 7; ++day) {
            skip(1 days);
            assertApproxEqAbs(valueOf(dora, paul), 100e18 + day * 1e18, 1, "a seventh a day");
        }
        skip(1 days);
        assertApproxEqAbs(valueOf(dora, paul), 107e18, 1);
        sanityCheck();
    }

    function testFuzz_delegating_just_before_a_reward_and_leaving_just_after_earns_nothing(uint96 mine, uint96 pay)
        public
    {
        provider(paul, 5_000_000e18, 0);
        delegate(dirk, paul, 1_000_000e18);
        skip(STREAM);
        mine = uint96(bound(mine, 1, 10_000_000e18));
        delegate(dora, paul, mine);
        credit(paul, uint96(bound(pay, 1, 100_000_000e18)));
        (, uint256 back) = undelegateAll(dora, paul);
        assertLe(back, mine);
        skip(STREAM);
        assertGe(valueOf(dirk, paul), 1_000_000e18, "who stays has it");
        sanityCheck();
    }

    function test_dust_does_not_put_off_a_stream() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        skip(STREAM);
        credit(paul, 14e18);
        uint48 end = delegation(paul).streamEnd;
        for (uint256 i = 0; i < 50; ++i) {
            skip(1 hours);
            credit(paul, 2);
        }
        assertLe(delegation(paul).streamEnd, end + 1);
        vm.warp(end + 1);
        assertApproxEqAbs(valueOf(dora, paul), 107e18, 60);
        sanityCheck();
    }

    // A puppet's share, made dear by pay that the puppet gets back, is no reason to count the delegators as dust.
    function test_a_price_driven_up_by_a_puppet_takes_no_pay_from_delegators() public {
        driveUpThePrice();
        bond(paul, Role.Provider, 250e18);
        delegate(dora, paul, 899e18);
        undelegateAll(eve, paul);
        assertLt(delegation(paul).shares, 1e18, "few shares");
        skip(STREAM);

        uint256 before = earned(paul);
        credit(paul, 100e18);
        uint256 due = 100e18 * uint256(899) / (899 + 250);
        // The puppet's rounding and the bond's hundred-thousandth TIDE stay in it.
        assertApproxEqRel(delegation(paul).locked, due, 0.005e18);
        assertEq(earned(paul) - before + delegation(paul).locked, 100e18);
        skip(STREAM);
        assertApproxEqRel(valueOf(dora, paul), 899e18 + due, 0.005e18);
        sanityCheck();
    }

    function test_a_puppet_that_leaves_does_not_take_the_stream_along() public {
        driveUpThePrice();
        bond(paul, Role.Provider, 1000e18);
        delegate(dora, paul, 990e18);
        skip(STREAM);
        credit(paul, 300e18);
        uint256 streaming = delegation(paul).locked;
        uint256 before = earned(paul);
        undelegateAll(eve, paul);
        assertLt(delegation(paul).shares, 1e18, "few shares");
        assertEq(delegation(paul).locked, streaming);
        assertEq(earned(paul), before);
        skip(STREAM);
        assertApproxEqRel(valueOf(dora, paul), 990e18 + streaming, 1e12);
        sanityCheck();
    }

    // A thousand TIDE on the thousandth of one that eve, a puppet of paul's, has delegated: twice as much each week.
    function driveUpThePrice() private {
        provider(paul, 1e14, 0);
        delegate(eve, paul, 1e15);
        skip(STREAM);
        while (delegation(paul).active < 1000e18) {
            donate(paul, 1000e18);
            skip(STREAM);
        }
        assertEq(delegation(paul).locked, 0);
    }

    // ------------------------------------------------------------------- by the stake that had been there

    function test_a_bond_of_the_moment_earns_nothing() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 1_000e18);
        skip(STREAM);
        bond(paul, Role.Provider, 1_000_000e18);
        credit(paul, 1_100e18);
        assertEq(earned(paul), 100e18, "as before the bond");
        skip(STREAM);
        credit(paul, 1_000e18);
        assertApproxEqRel(earned(paul) - 100e18, 998e18, 0.001e18, "it counts once it has been there");
        sanityCheck();
    }

    function test_a_delegation_of_the_moment_earns_nothing() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        skip(STREAM);
        delegate(dirk, paul, 800e18);
        credit(paul, 100e18);
        assertEq(earned(paul), 50e18);
        sanityCheck();
    }

    function test_stake_that_has_left_does_not_count() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        skip(STREAM);
        uint256 shares = staking.sharesOf(bondPool(Role.Provider, paul), paul);
        vm.prank(paul);
        staking.unbond(Role.Provider, shares / 2);
        credit(paul, 30e18);
        assertEq(earned(paul), 10e18);
        slash(paul, 100e18);
        credit(paul, 30e18);
        assertEq(earned(paul), 10e18, "what was slashed has left, too");
        sanityCheck();
    }

    function test_without_stake_that_had_been_there_all_is_the_providers() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        skip(STREAM - 1);
        credit(paul, 30e18);
        assertEq(earned(paul), 30e18);
        skip(1);
        credit(paul, 30e18);
        assertEq(earned(paul), 45e18);
        sanityCheck();
    }

    // What streamed to those who stayed counts as theirs, whether somebody enters or not.
    function test_rewards_that_have_streamed_in_count() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        skip(STREAM);
        credit(paul, 200e18);
        skip(STREAM);
        assertEq(earned(paul), 100e18);
        credit(paul, 30e18);
        assertEq(earned(paul), 110e18, "100 of 300");
        delegate(dirk, paul, 1e18);
        skip(STREAM);
        delegate(dirk, paul, 700e18);
        credit(paul, 321e18);
        assertApproxEqAbs(earned(paul), 110e18 + 321e18 * uint256(100) / 321, 1, "100 of 321");
        sanityCheck();
    }

    function test_a_payment_at_most_doubles_what_is_delegated() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        skip(STREAM);
        credit(paul, 1_000e18);
        assertEq(delegation(paul).locked, 100e18);
        assertEq(earned(paul), 900e18);
        sanityCheck();
    }

    // Pay for work that was done under a lower commission, held back until the higher one is in effect.
    function test_pay_that_is_held_back_meets_the_commission_of_its_time() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 100e18);
        vm.prank(paul);
        staking.setCommission(Ppm.wrap(1_000_000));
        skip(THAW + STREAM - 1);
        credit(paul, 20e18);
        assertEq(earned(paul), 10e18);
        uint256 snapshot = vm.snapshotState();
        vm.prank(paul);
        staking.setCommission(Ppm.wrap(500_000));
        skip(THAW - 1);
        assertEq(Ppm.unwrap(staking.operatorRecord(paul).commission), 0, "nor by another announcement");
        vm.revertToState(snapshot);
        skip(1);
        uint256 before = earned(paul);
        credit(paul, 20e18);
        assertEq(earned(paul) - before, 20e18);
        sanityCheck();
    }

    function test_one_bad_payee_holds_up_nobody() public {
        provider(paul, 100e18, 0);
        provider(petra, 100e18, 1_000_000);
        IProviderStaking.Credit[] memory credits = new IProviderStaking.Credit[](6);
        credits[0] = IProviderStaking.Credit(paul, 5e18);
        credits[1] = IProviderStaking.Credit(eve, 7e18);
        credits[2] = IProviderStaking.Credit(address(0), 7e18);
        credits[3] = IProviderStaking.Credit(petra, 6e18);
        credits[4] = IProviderStaking.Credit(paul, 1e18);
        credits[5] = IProviderStaking.Credit(petra, 0);
        vm.expectEmit(address(staking));
        emit IProviderStaking.CreditSkipped(eve, address(this), 7e18);
        assertEq(staking.credit(credits), 12e18, "not pulled for those who are no providers");
        assertEq(earned(paul), 6e18);
        assertEq(earned(petra), 6e18);
        assertEq(earned(eve), 0);
        sanityCheck();
    }

    function test_rewards_credit_only_tokens_that_arrived() public {
        provider(paul, 100e18, 0);
        IProviderStaking.Credit[] memory credits = new IProviderStaking.Credit[](1);
        credits[0] = IProviderStaking.Credit(paul, 11_000_000e18);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        vm.prank(eve);
        staking.credit(credits);
        credits[0].amount = type(uint96).max;
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        vm.prank(eve);
        staking.credit(credits);
        assertEq(earned(paul), 0);
        sanityCheck();
    }

    function test_pay_is_credited_while_entries_are_paused() public {
        provider(paul, 100e18, 0);
        vm.prank(guardian);
        staking.pause(7 days);
        assertEq(credit(paul, 1e18), 1e18);
        sanityCheck();
    }
}
