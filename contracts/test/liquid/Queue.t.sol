// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7540Redeem, IERC7540RedeemTransferable} from "../../src/interfaces/IERC7540.sol";
import {IExitQueue} from "../../src/interfaces/IExitQueue.sol";
import {ILiquidStake} from "../../src/interfaces/ILiquidStake.sol";
import {Role} from "../../src/types/Role.sol";
import {LiquidTest} from "./LiquidTest.sol";
import {IERC20Errors, IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

/// @notice Exits by request, from the request to the claim.
contract Queue is LiquidTest {
    function setUp() public override {
        super.setUp();
        deposit(lisa, 90_000e18);
        deposit(leo, 9_000e18);
        liquid.tend();
        skip(STREAM);
    }

    function test_a_request_takes_the_shares_and_says_when() public {
        vm.expectEmit(true, true, true, true, address(queue));
        emit IERC7540Redeem.RedeemRequest(lisa, lisa, 1, lisa, 1_000e18);
        uint256 id = request(lisa, 1_000e18);
        assertEq(id, 1);
        assertEq(share.balanceOf(address(queue)), 1_000e18);
        assertEq(queue.pendingRedeemRequest(id, lisa), 1_000e18);
        assertEq(queue.pendingRedeemRequest(id, leo), 0);
        assertEq(queue.claimableRedeemRequest(id, lisa), 0);
        assertEq(queue.ownerOf(id), lisa);
        assertEq(queue.balanceOf(lisa), 1);
        IExitQueue.Request memory r = queue.requestOf(id);
        assertEq(r.shares, 1_000e18);
        assertEq(r.assets, 1_000e18);
        // The end of the epoch and a thaw period.
        assertEq(r.latestClaimAt, (block.timestamp / EPOCH + 1) * EPOCH + THAW);
        assertEq(r.latestClaimAt, queue.latestClaimIfRequestedNow());
        liquidCheck();
    }

    function test_a_request_is_claimed_from_the_buffer_where_that_has_it() public {
        uint256 id = request(lisa, 1_000e18);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.TooEarly.selector, id, block.timestamp + WAIT));
        queue.finalise(id);
        skip(WAIT);
        queue.finalise(id);
        assertEq(queue.claimableRedeemRequest(id, lisa), 1_000e18);
        assertEq(queue.pendingRedeemRequest(id, lisa), 0);
        assertEq(queue.maxRedeem(lisa), 1_000e18);
        assertEq(queue.maxWithdraw(lisa), 1_000e18);
        uint256 before = tide.balanceOf(lisa);
        assertEq(claim(lisa, id), 1_000e18);
        assertEq(tide.balanceOf(lisa), before + 1_000e18);
        assertEq(queue.balanceOf(lisa), 0);
        assertEq(queue.claimableRedeemRequest(id, lisa), 0);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NotClaimable.selector, id));
        queue.claim(ids(id), lisa);
        liquidCheck();
    }

    // Nobody's help is needed but calls that anybody can make.
    function test_every_queued_exit_completes_by_its_latest_date() public {
        uint256 id = request(lisa, 90_000e18);
        uint48 latest = queue.requestOf(id).latestClaimAt;
        liquid.tend();
        skip(EPOCH);
        liquid.tend();
        vm.warp(latest);
        liquid.tend();
        queue.finalise(id);
        assertEq(claim(lisa, id), 90_000e18);
        liquidCheck();
    }

    function test_every_queued_exit_completes_also_after_a_full_slash() public {
        uint256 id = request(lisa, 90_000e18);
        liquid.tend();
        for (uint256 i = 0; i < 100; ++i) {
            slashDelegators(paul, 500_000);
            slashDelegators(petra, 500_000);
        }
        vm.warp(queue.requestOf(id).latestClaimAt);
        liquid.tend();
        queue.finalise(id);
        // What was in the buffer is shared by all.
        assertApproxEqRel(claim(lisa, id), 9_000e18, 0.001e18);
        liquidCheck();
    }

    function test_who_waits_loses_what_all_lose_and_gains_nothing() public {
        uint256 id = request(lisa, 1_000e18);
        earn(paul, 50e18);
        skip(STREAM);
        liquid.tend();
        skip(STREAM);
        assertGt(liquid.rate(), 1e18);
        uint256 snapshot = vm.snapshotState();
        queue.finalise(id);
        assertEq(claim(lisa, id), 1_000e18);
        assertGt(liquid.state().streaming, 0, "what it would have gained streams to who stays");
        liquidCheck();
        vm.revertToState(snapshot);
        slashDelegators(paul, 500_000);
        uint256 worth = liquid.convertToAssets(1_000e18);
        assertLt(worth, 1_000e18);
        queue.finalise(id);
        assertApproxEqAbs(claim(lisa, id), worth, 1);
        liquidCheck();
    }

    // One that asked when a share was dear, one when it was cheap: each gets the lesser of its own and of all.
    function test_a_batch_locks_the_lesser_sum_and_sends_back_what_is_over() public {
        uint256 first = request(lisa, 1_000e18);
        slashDelegators(paul, 200_000);
        uint256 second = request(leo, 1_000e18);
        uint256 low = queue.requestOf(second).assets;
        earn(petra, 5_000e18);
        skip(STREAM);
        liquid.tend();
        skip(20 * STREAM);
        liquid.tend();
        uint256 now_ = liquid.convertToAssets(1_000e18);
        assertGt(now_, low);
        assertLt(now_, 1_000e18);
        uint256 locked = queue.finalise(second);
        assertApproxEqAbs(locked, 1_000e18 + low < 2 * now_ ? 1_000e18 + low : 2 * now_, 1);
        assertApproxEqAbs(claim(lisa, first), now_, 1);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NothingToSweep.selector, second));
        queue.sweep(second);
        assertEq(claim(leo, second), low);
        uint256 left = queue.lockedAssets();
        assertApproxEqAbs(left, locked - now_ - low, 1);
        uint256 streaming = liquid.state().streaming;
        assertEq(queue.sweep(second), left);
        assertEq(liquid.state().streaming, streaming + left);
        assertEq(queue.lockedAssets(), 0);
        liquidCheck();
    }

    function test_requests_are_finalised_in_their_order() public {
        uint256 a = request(lisa, 1_000e18);
        uint256 b = request(leo, 1_000e18);
        uint256 c = request(lisa, 1_000e18);
        skip(WAIT);
        queue.finalise(b);
        assertEq(queue.claimableRedeemRequest(a, lisa), 1_000e18);
        assertEq(queue.claimableRedeemRequest(b, leo), 1_000e18);
        assertEq(queue.claimableRedeemRequest(c, lisa), 0);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NothingToFinalise.selector, a));
        queue.finalise(a);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NothingToFinalise.selector, c + 1));
        queue.finalise(c + 1);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NotClaimable.selector, c));
        queue.claim(ids(c), lisa);
        liquidCheck();
    }

    function test_finalising_needs_a_buffer_that_has_it() public {
        uint256 id = request(lisa, 50_000e18);
        skip(WAIT);
        uint256 buffer = liquid.state().buffer;
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.BufferTooSmall.selector, buffer, 50_000e18));
        queue.finalise(id);
        liquidCheck();
    }

    function test_what_comes_in_serves_the_queue_and_is_not_delegated() public {
        uint256 id = request(lisa, 50_000e18);
        deposit(leo, 60_000e18);
        liquid.spread();
        assertGe(liquid.state().buffer, 50_000e18);
        skip(WAIT);
        queue.finalise(id);
        assertEq(claim(lisa, id), 50_000e18);
        liquidCheck();
    }

    // Open cases hold what is not final, and not for ever.
    function test_an_open_case_holds_requests_until_their_latest_date_and_claims_never() public {
        uint256 done = request(lisa, 100e18);
        uint256 id = request(lisa, 100e18);
        skip(WAIT);
        queue.finalise(done);
        vm.prank(judge);
        staking.openCase(Role.Provider, paul, "first");
        uint48 latest = queue.requestOf(id).latestClaimAt;
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.CaseOpen.selector, id, latest));
        queue.finalise(id);
        assertEq(claim(lisa, done), 100e18);
        vm.warp(latest - 1);
        vm.prank(judge);
        staking.openCase(Role.Provider, paul, "second");
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.CaseOpen.selector, id, latest));
        queue.finalise(id);
        skip(1);
        queue.finalise(id);
        assertEq(claim(lisa, id), 100e18);
        liquidCheck();
    }

    function test_claims_in_part_and_several_in_one_call() public {
        uint256 a = request(lisa, 100e18);
        uint256 b = request(lisa, 200e18);
        skip(WAIT);
        queue.finalise(b);
        vm.startPrank(lisa);
        assertEq(queue.redeem(30e18, lisa, lisa), 30e18);
        assertEq(queue.claimableRedeemRequest(a, lisa), 70e18);
        // Over the end of the first into the second.
        assertEq(queue.withdraw(120e18, lisa, lisa), 120e18);
        assertEq(queue.balanceOf(lisa), 1);
        assertEq(queue.claimableRedeemRequest(b, lisa), 150e18);
        assertEq(queue.maxRedeem(lisa), 150e18);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.ClaimOverMax.selector, 150e18, 150e18 + 1));
        queue.redeem(150e18 + 1, lisa, lisa);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.ClaimOverMax.selector, 150e18, 150e18 + 1));
        queue.withdraw(150e18 + 1, lisa, lisa);
        assertEq(queue.redeem(150e18, lisa, lisa), 150e18);
        vm.stopPrank();
        assertEq(queue.requestsOf(lisa).length, 0);
        liquidCheck();
    }

    function test_requests_can_be_handed_on_both_ways() public {
        uint256 id = request(lisa, 100e18);
        vm.prank(eve);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NotOperatorOf.selector, lisa, eve));
        queue.transferRedeemRequest(id, lisa, eve);
        vm.expectEmit(true, true, true, true, address(queue));
        emit IERC7540RedeemTransferable.TransferRedeemRequest(id, lisa, leo, 100e18);
        vm.prank(lisa);
        queue.transferRedeemRequest(id, lisa, leo);
        assertEq(queue.pendingRedeemRequest(id, lisa), 0);
        assertEq(queue.pendingRedeemRequest(id, leo), 100e18);
        assertEq(queue.ownerOf(id), leo);
        vm.prank(leo);
        queue.approve(dora, id);
        assertEq(queue.getApproved(id), dora);
        vm.prank(dora);
        queue.safeTransferFrom(leo, eve, id);
        assertEq(queue.ownerOf(id), eve);
        assertEq(queue.getApproved(id), address(0));
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InsufficientApproval.selector, dora, id));
        queue.transferFrom(eve, dora, id);
        skip(WAIT);
        queue.finalise(id);
        vm.prank(eve);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NotPending.selector, id, eve));
        queue.transferRedeemRequest(id, eve, leo);
        assertEq(claim(eve, id), 100e18);
        liquidCheck();
    }

    function test_an_operator_is_one_by_both_standards() public {
        vm.prank(lisa);
        queue.setOperator(dora, true);
        assertTrue(queue.isOperator(lisa, dora));
        assertTrue(queue.isApprovedForAll(lisa, dora));
        vm.prank(dora);
        uint256 id = queue.requestRedeem(100e18, lisa, lisa);
        skip(WAIT);
        queue.finalise(id);
        vm.prank(dora);
        queue.redeem(100e18, dora, lisa);
        assertEq(tide.balanceOf(dora), 10_000_000e18 + 100e18);
        vm.prank(lisa);
        queue.setApprovalForAll(dora, false);
        assertFalse(queue.isOperator(lisa, dora));
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, dora, 0, 100e18));
        queue.requestRedeem(100e18, lisa, lisa);
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NotOperatorOf.selector, lisa, dora));
        queue.redeem(1, dora, lisa);
        vm.prank(dora);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NotOperatorOf.selector, lisa, dora));
        queue.withdraw(1, dora, lisa);
        liquidCheck();
    }

    function test_an_allowance_of_shares_lets_request_for_oneself() public {
        vm.prank(lisa);
        share.approve(dora, 100e18);
        vm.prank(dora);
        uint256 id = queue.requestRedeem(100e18, dora, lisa);
        assertEq(queue.ownerOf(id), dora);
        assertEq(share.allowance(lisa, dora), 0);
        liquidCheck();
    }

    function test_no_third_party_fills_a_victims_request_list() public {
        vm.prank(leo);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NotOperatorOf.selector, lisa, leo));
        queue.requestRedeem(1e18, lisa, leo);
        vm.prank(leo);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.RequestTooSmall.selector, 1e15));
        queue.requestRedeem(1e15 - 1, leo, leo);
    }

    // Dust that is given to somebody stands behind what it has; and it claims by name in any case.
    function test_gifts_do_not_hold_up_claims() public {
        uint256 id = request(lisa, 1_000e18);
        for (uint256 i = 0; i < 50; ++i) {
            uint256 dust = request(leo, 1e15);
            vm.prank(leo);
            queue.transferFrom(leo, lisa, dust);
        }
        skip(WAIT);
        queue.finalise(id + 50);
        vm.prank(lisa);
        assertEq(queue.redeem(1_000e18, lisa, lisa), 1_000e18);
        assertEq(queue.balanceOf(lisa), 50);
        liquidCheck();
    }

    function test_the_list_survives_any_order_of_leaving() public {
        uint256[] memory mine = new uint256[](5);
        for (uint256 i = 0; i < 5; ++i) {
            mine[i] = request(lisa, (i + 1) * 1e18);
        }
        vm.startPrank(lisa);
        queue.transferFrom(lisa, leo, mine[2]);
        queue.transferFrom(lisa, leo, mine[4]);
        queue.transferFrom(lisa, leo, mine[0]);
        vm.stopPrank();
        assertEq(queue.requestsOf(lisa), pair(mine[1], mine[3]));
        uint256[] memory leos = queue.requestsOf(leo);
        assertEq(leos.length, 3);
        assertEq(leos[0], mine[2]);
        assertEq(leos[1], mine[4]);
        assertEq(leos[2], mine[0]);
        vm.prank(leo);
        queue.transferFrom(leo, leo, mine[4]);
        assertEq(queue.requestsOf(leo)[2], mine[4]);
        skip(WAIT);
        queue.finalise(mine[4]);
        claim(leo, mine[0]);
        assertEq(queue.requestsOf(leo), pair(mine[2], mine[4]));
        liquidCheck();
    }

    function test_redeem_vaults_have_no_previews_and_take_nothing_in() public {
        vm.expectRevert(IExitQueue.NoPreview.selector);
        queue.previewRedeem(1);
        vm.expectRevert(IExitQueue.NoPreview.selector);
        queue.previewWithdraw(1);
        assertEq(queue.maxDeposit(lisa), 0);
        assertEq(queue.maxMint(lisa), 0);
        bytes memory elsewhere = abi.encodeWithSelector(IExitQueue.EntersElsewhere.selector, address(liquid));
        vm.expectRevert(elsewhere);
        queue.deposit(1, lisa);
        vm.expectRevert(elsewhere);
        queue.mint(1, lisa);
        vm.expectRevert(elsewhere);
        queue.previewDeposit(1);
        vm.expectRevert(elsewhere);
        queue.previewMint(1);
        assertEq(queue.asset(), address(tide));
        assertEq(queue.share(), address(share));
        assertEq(queue.totalAssets(), liquid.totalAssets());
        assertEq(queue.convertToAssets(1e18), liquid.convertToAssets(1e18));
        assertEq(queue.convertToShares(1e18), liquid.convertToShares(1e18));
    }

    function test_only_the_queue_settles() public {
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.NotExitQueue.selector, address(this)));
        liquid.settleExits(1, 1);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.NotExitQueue.selector, address(this)));
        liquid.takeBack(1);
    }

    function testFuzz_claims_of_a_batch_never_exceed_what_it_locked(uint96[6] memory amounts, uint32[6] memory slashes)
        public
    {
        uint256 locked = 0;
        uint256 claimed = 0;
        uint256[] memory all = new uint256[](6);
        for (uint256 i = 0; i < 6; ++i) {
            all[i] = request(lisa, bound(amounts[i], 1e15, 300e18));
            slashDelegators(paul, uint32(bound(slashes[i], 0, 20_000)));
        }
        skip(WAIT);
        locked = queue.finalise(all[5]);
        for (uint256 i = 0; i < 6; ++i) {
            uint256 worth = queue.requestOf(all[i]).assets;
            uint256 gets = claim(lisa, all[i]);
            claimed += gets;
            assertLe(gets, worth);
        }
        assertLe(claimed, locked);
        assertLe(locked - claimed, 6 + locked / 10);
        liquidCheck();
    }

    function ids(uint256 id) private pure returns (uint256[] memory one) {
        one = new uint256[](1);
        one[0] = id;
    }

    function pair(uint256 a, uint256 b) private pure returns (uint256[] memory two) {
        two = new uint256[](2);
        (two[0], two[1]) = (a, b);
    }
}
