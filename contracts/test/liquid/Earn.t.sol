// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ILiquidStake} from "../../src/interfaces/ILiquidStake.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {LiquidTest} from "./LiquidTest.sol";

/// @notice Earnings, the fee on them, losses, and what is governed.
contract Earn is LiquidTest {
    function setUp() public override {
        super.setUp();
        deposit(lisa, 99_000e18);
        liquid.tend();
        skip(STREAM);
    }

    function test_a_harvest_changes_no_value_and_streams() public {
        earn(paul, 100e18);
        skip(STREAM);
        uint256 rate = liquid.rate();
        liquid.harvest();
        assertEq(liquid.rate(), rate);
        assertApproxEqAbs(liquid.state().streaming, 90e18, 2);
        skip(STREAM / 2);
        assertApproxEqAbs(liquid.totalAssets(), 100_055e18, 1e12);
        skip(STREAM / 2);
        // A tenth is the treasury's, which has it as shares.
        assertApproxEqAbs(liquid.totalAssets(), 100_100e18, 2);
        assertApproxEqRel(liquid.convertToAssets(share.balanceOf(treasury)), 10e18, 0.001e18);
        liquidCheck();
    }

    function test_real_pay_of_jobs_raises_the_rate() public {
        uint256 rate = liquid.rate();
        credit(paul, 1_000e18);
        skip(STREAM);
        liquid.tend();
        skip(STREAM);
        assertGt(liquid.rate(), rate);
        liquidCheck();
    }

    function test_the_daily_cap_stretches_what_came_at_once() public {
        earn(paul, 10_000e18);
        skip(STREAM);
        liquid.harvest();
        ILiquidStake.State memory s = liquid.state();
        // 9,000 at a thousandth of 101,000 a day.
        assertApproxEqAbs(s.streamEnd, block.timestamp + uint256(9_000 days) / 101, 2);
        skip(1 days);
        assertLe(liquid.totalAssets(), s.assets * 1_001 / 1_000 + 1);
        liquidCheck();
    }

    function test_dust_cannot_put_off_what_is_on_its_way() public {
        earn(paul, 100e18);
        skip(STREAM);
        liquid.harvest();
        uint48 end = liquid.state().streamEnd;
        skip(STREAM / 2);
        for (uint256 i = 0; i < 50; ++i) {
            vm.prank(lisa);
            liquid.redeem(1e6, lisa, lisa);
        }
        assertLe(liquid.state().streamEnd, end + 1 minutes);
        liquidCheck();
    }

    function test_a_loss_counts_at_once_and_takes_what_streams_first() public {
        earn(paul, 100e18);
        skip(STREAM);
        liquid.harvest();
        uint256 assets = liquid.totalAssets();
        uint256 streaming = liquid.state().streaming;
        uint256 taken = slashDelegators(paul, 1_000);
        assertLt(taken, streaming);
        assertEq(liquid.totalAssets(), assets, "less than what streams");
        assertApproxEqAbs(liquid.state().streaming, streaming - taken, 1);
        taken = slashDelegators(paul, 100_000);
        liquid.sync();
        assertEq(liquid.state().streaming, 0);
        assertLt(liquid.totalAssets(), assets);
        liquidCheck();
    }

    // A slash reaches active, thawing and moved stake here as with other delegators, and never the buffer.
    function test_a_slash_reaches_active_and_thawing_stake_and_not_the_buffer() public {
        request(lisa, 50_000e18);
        liquid.draw();
        ILiquidStake.Position memory before = liquid.positionOf(paul);
        assertGt(before.thawing, 0);
        uint256 buffer = liquid.state().buffer;
        slashDelegators(paul, 500_000);
        liquid.sync();
        ILiquidStake.Position memory p = liquid.positionOf(paul);
        assertApproxEqAbs(p.known, before.known / 2, 2);
        assertApproxEqAbs(p.thawing, before.thawing / 2, 2);
        assertEq(liquid.state().buffer, buffer);
        assertEq(liquid.positionOf(petra).known, before.known);
        liquidCheck();
    }

    function test_no_fee_before_losses_are_earned_back() public {
        uint256 taken = slashDelegators(paul, 10_000);
        liquid.sync();
        assertApproxEqAbs(liquid.state().toRecover, taken, 1);
        earn(paul, taken / 2);
        skip(STREAM);
        liquid.harvest();
        assertEq(share.balanceOf(treasury), 0);
        earn(paul, taken);
        skip(STREAM);
        liquid.harvest();
        assertEq(liquid.state().toRecover, 0);
        assertApproxEqRel(liquid.convertToAssets(share.balanceOf(treasury)), taken / 20, 0.01e18);
        liquidCheck();
    }

    function test_who_leaves_takes_its_part_of_losses_along() public {
        slashDelegators(paul, 100_000);
        liquid.sync();
        uint256 lost = liquid.state().toRecover;
        uint256 part = share.balanceOf(lisa) / 20;
        uint256 supply = share.totalSupply();
        redeem(lisa, part);
        assertApproxEqAbs(liquid.state().toRecover, lost - lost * part / supply, 1);
        liquidCheck();
    }

    // Nothing is left but what a half of a half leaves; then newcomers would pay for nothing.
    function test_after_a_loss_of_nearly_all_nobody_enters_until_it_is_recapitalised() public {
        loseTheBuffer();
        for (uint256 i = 0; i < 30; ++i) {
            slashDelegators(paul, 500_000);
            slashDelegators(petra, 500_000);
        }
        assertLt(liquid.rate(), 1e15);
        assertEq(liquid.maxDeposit(leo), 0);
        vm.prank(leo);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.DepositOverMax.selector, 0, 1e18));
        liquid.deposit(1e18, leo);
        uint256 least = share.totalSupply() / 1_000 - liquid.totalAssets();
        vm.startPrank(leo);
        vm.expectRevert();
        liquid.recapitalise(least / 2);
        liquid.recapitalise(least + 1e18);
        assertGe(liquid.rate(), 1e15);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.RecapitalisationInvalid.selector, 0));
        liquid.recapitalise(1e18);
        uint256 shares = liquid.deposit(1e18, leo);
        vm.stopPrank();
        assertApproxEqAbs(liquid.convertToAssets(shares), 1e18, 1e4);
        liquidCheck();
    }

    function test_the_rate_is_written_down() public {
        uint48 then = uint48(block.timestamp);
        liquid.sync();
        uint256 rate = liquid.rate();
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.NotYetPast.selector, then));
        liquid.rateAt(then);
        skip(1 days);
        slashDelegators(paul, 500_000);
        liquid.sync();
        skip(1);
        assertEq(liquid.rateAt(then), rate);
        assertLt(liquid.rateAt(then + 1 days), rate);
        liquidCheck();
    }

    function test_parameters_have_bounds_in_code() public {
        ILiquidStake.Params[10] memory wrong;
        for (uint256 i = 0; i < wrong.length; ++i) {
            wrong[i] = usual();
        }
        wrong[0].performanceFee = Ppm.wrap(200_001);
        wrong[1].dailyCap = Ppm.wrap(0);
        // Seven times a day's earnings are more than the least fee.
        wrong[2].dailyCap = Ppm.wrap(1_001);
        wrong[3].minExitFee = Ppm.wrap(6_999);
        wrong[4].maxExitFee = Ppm.wrap(100_001);
        wrong[5].maxExitFee = Ppm.wrap(6_999);
        wrong[6].bufferTarget = Ppm.wrap(250_001);
        wrong[7].providerCap = Ppm.wrap(500_001);
        wrong[8].operatorCap = Ppm.wrap(499_999);
        wrong[9].bondMultiple = 21;
        vm.startPrank(governor);
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ILiquidStake.ParamsOutOfBounds.selector, wrong[i]));
            liquid.setParams(wrong[i]);
        }
        ILiquidStake.Params memory p = usual();
        p.bufferTarget = Ppm.wrap(200_000);
        liquid.setParams(p);
        vm.expectRevert(ILiquidStake.TreasuryIsZero.selector);
        liquid.setTreasury(address(0));
        liquid.setTreasury(eve);
        vm.stopPrank();
        assertEq(liquid.treasury(), eve);
        assertEq(liquid.state().bufferTarget, 20_000e18);
        vm.expectRevert();
        liquid.setParams(p);
        liquidCheck();
    }

    // The buffer cannot be slashed, so it leaves by the exit.
    // The fee of each exit stays, so it takes some.
    function loseTheBuffer() private {
        for (uint256 i = 0; i < 40; ++i) {
            uint256 most = liquid.maxRedeem(lisa);
            if (most < 1e9) return;
            redeem(lisa, most);
        }
    }
}
