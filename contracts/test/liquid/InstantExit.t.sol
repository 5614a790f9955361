// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ILiquidStake} from "../../src/interfaces/ILiquidStake.sol";
import {Role} from "../../src/types/Role.sol";
import {LiquidTest} from "./LiquidTest.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract InstantExit is LiquidTest {
    function setUp() public override {
        super.setUp();
        deposit(lisa, 99_000e18);
        liquid.tend();
        // 100,000 in all, 10,000 of it in the buffer.
        assertEq(liquid.state().buffer, 10_000e18);
    }

    function test_exit_pays_what_the_preview_says() public {
        uint256 assets = liquid.previewRedeem(1_000e18);
        assertLt(assets, 1_000e18);
        assertEq(redeem(lisa, 1_000e18), assets);
        uint256 shares = liquid.previewWithdraw(500e18);
        assertGt(shares, 500e18);
        vm.prank(lisa);
        assertEq(liquid.withdraw(500e18, lisa, lisa), shares);
        liquidCheck();
    }

    function test_exit_fee_streams_to_who_stays() public {
        uint256 rate = liquid.rate();
        uint256 assets = redeem(lisa, 1_000e18);
        assertEq(liquid.rate(), rate);
        assertEq(liquid.state().streaming, 1_000e18 - assets);
        skip(STREAM);
        assertGt(liquid.rate(), rate);
        liquidCheck();
    }

    function test_exit_in_pieces_costs_no_less() public {
        uint256 snapshot = vm.snapshotState();
        uint256 together = redeem(lisa, 9_000e18);
        vm.revertToState(snapshot);
        uint256 apart = 0;
        for (uint256 i = 0; i < 90; ++i) {
            apart += redeem(lisa, 100e18);
        }
        assertLe(apart, together);
        assertApproxEqAbs(apart, together, 200);
        liquidCheck();
    }

    // Entering just before earnings and leaving just after brings nothing.
    function test_delegating_just_before_a_reward_and_leaving_just_after_earns_nothing() public {
        skip(STREAM);
        deposit(leo, 1_000e18);
        earn(paul, 10_000e18);
        skip(STREAM);
        liquid.tend();
        skip(STREAM);
        // All that a stream's period can bring, and it is less than the fee.
        assertLe(redeem(leo, share.balanceOf(leo)), 1_000e18);
        liquidCheck();
    }

    function test_exit_is_bounded_by_the_buffer() public {
        assertEq(liquid.instantRoom(), 10_000e18);
        assertEq(liquid.maxWithdraw(lisa), 10_000e18);
        uint256 most = liquid.maxRedeem(lisa);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.WithdrawOverMax.selector, most, most + 1));
        liquid.redeem(most + 1, lisa, lisa);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.WithdrawOverMax.selector, 10_000e18, 10_000e18 + 1));
        liquid.withdraw(10_000e18 + 1, lisa, lisa);
        assertApproxEqAbs(redeem(lisa, most), 10_000e18, 10);
        liquidCheck();
    }

    function test_the_queue_is_served_before_the_buffer() public {
        request(lisa, 4_000e18);
        assertEq(liquid.instantRoom(), 6_000e18);
        request(lisa, 50_000e18);
        assertEq(liquid.instantRoom(), 0);
        assertEq(liquid.maxWithdraw(lisa), 0);
        assertEq(liquid.maxRedeem(lisa), 0);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.WithdrawOverMax.selector, 0, 1));
        liquid.withdraw(1, lisa, lisa);
        liquidCheck();
    }

    // Who sees a case opened cannot leave ahead of it.
    function test_no_instant_exit_while_an_open_case_could_cost_more_than_the_fee() public {
        assertTrue(liquid.isCalm());
        vm.prank(judge);
        staking.openCase(Role.Provider, paul, "case");
        assertFalse(liquid.isCalm());
        assertEq(liquid.maxWithdraw(lisa), 0);
        assertEq(liquid.maxRedeem(lisa), 0);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.WithdrawOverMax.selector, 0, 1e18));
        liquid.redeem(1e18, lisa, lisa);
        vm.prank(judge);
        staking.closeCase(Role.Provider, paul, "case");
        assertTrue(liquid.isCalm());
        redeem(lisa, 1e18);
        liquidCheck();
    }

    // A case marks for a thaw period at most, so it closes the exit no longer.
    function test_an_open_case_closes_the_instant_exit_for_a_thaw_period_at_most() public {
        vm.prank(judge);
        staking.openCase(Role.Provider, paul, "case");
        skip(THAW);
        assertTrue(liquid.isCalm());
        redeem(lisa, 1e18);
        liquidCheck();
    }

    // One of another provider, or of one with next to nothing, closes nothing.
    function test_a_case_that_costs_less_than_the_fee_closes_nothing() public {
        provider(dora, 1e18, 0);
        list(dora, 1, 3);
        vm.startPrank(judge);
        staking.openCase(Role.Provider, dora, "case");
        vm.stopPrank();
        assertTrue(liquid.isCalm());
    }

    function test_exit_for_another_uses_up_its_allowance() public {
        vm.prank(eve);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, eve, 0, 10e18));
        liquid.redeem(10e18, eve, lisa);
        vm.prank(lisa);
        share.approve(eve, 10e18);
        vm.prank(eve);
        uint256 assets = liquid.redeem(10e18, eve, lisa);
        assertEq(tide.balanceOf(eve), 10_000_000e18 + assets);
        assertEq(share.allowance(lisa, eve), 0);
        vm.prank(lisa);
        share.approve(eve, 10e18);
        uint256 shares = liquid.previewWithdraw(5e18);
        vm.prank(eve);
        liquid.withdraw(5e18, eve, lisa);
        assertEq(share.allowance(lisa, eve), 10e18 - shares);
        liquidCheck();
    }

    // A slash that nobody has looked at yet counts for who leaves.
    function test_nobody_leaves_ahead_of_a_loss() public {
        uint256 before = liquid.previewRedeem(1_000e18);
        slashDelegators(paul, 500_000);
        uint256 preview = liquid.previewRedeem(1_000e18);
        assertApproxEqRel(preview, before * 775 / 1000, 0.001e18);
        assertEq(redeem(lisa, 1_000e18), preview);
        liquidCheck();
    }

    function testFuzz_exits_pay_their_previews(uint96 paid, uint96 shares, uint96 assets) public {
        skip(STREAM);
        earn(paul, bound(paid, 0, 1_000e18));
        skip(STREAM);
        liquid.tend();
        skip(3 days);
        shares = uint96(bound(shares, 1e6, liquid.maxRedeem(lisa) / 2));
        uint256 preview = liquid.previewRedeem(shares);
        assertEq(redeem(lisa, shares), preview);
        assets = uint96(bound(assets, 1, liquid.maxWithdraw(lisa)));
        preview = liquid.previewWithdraw(assets);
        vm.prank(lisa);
        assertEq(liquid.withdraw(assets, lisa, lisa), preview);
        vm.startPrank(lisa);
        uint256 most = liquid.maxWithdraw(lisa);
        if (most > 0) liquid.withdraw(most, lisa, lisa);
        vm.stopPrank();
        liquidCheck();
    }
}
