// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IExitQueue} from "../../../src/interfaces/IExitQueue.sol";
import {ILiquidStake} from "../../../src/interfaces/ILiquidStake.sol";
import {IRateFeed} from "../../../src/interfaces/IRateFeed.sol";
import {delegationPool} from "../../../src/types/PoolId.sol";
import {LiquidTest} from "../LiquidTest.sol";
import {LiquidHandler} from "./LiquidHandler.sol";

/// @notice What holds of stTIDE whatever anybody does, over the staking contract as it is. Each name is a loss that somebody
/// once had.
/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: deep.invariant.fail-on-revert = true
contract LiquidInvariants is LiquidTest {
    LiquidHandler private handler;

    function setUp() public override {
        super.setUp();
        address[] memory holders = new address[](3);
        (holders[0], holders[1], holders[2]) = (lisa, leo, eve);
        address[] memory providers = new address[](2);
        (providers[0], providers[1]) = (paul, petra);
        deposit(lisa, 50_000e18);
        deposit(leo, 50_000e18);
        liquid.tend();
        skip(STREAM);
        handler = new LiquidHandler(
            LiquidHandler.World(tide, staking, share, liquid, queue, judge, guardian), holders, providers
        );
        targetContract(address(handler));
    }

    function invariant_every_call_did_what_it_must() public view {
        assertEq(handler.broken(), "");
    }

    function invariant_balances_are_pools_and_locked_to_the_wei() public view {
        ILiquidStake.State memory s = liquid.state();
        assertEq(s.buffer + handler.given(address(liquid)), tide.balanceOf(address(liquid)), "buffer and gifts");
        assertEq(
            queue.lockedAssets() + handler.given(address(queue)), tide.balanceOf(address(queue)), "locked and gifts"
        );
        assertEq(queue.pendingShares(), share.balanceOf(address(queue)), "shares that wait are here");
    }

    function invariant_the_total_is_the_sum_of_its_parts_and_covered() public {
        uint256 snapshot = vm.snapshotState();
        liquid.sync();
        ILiquidStake.State memory s = liquid.state();
        uint256 known = s.buffer;
        uint256 worth = s.buffer;
        for (uint256 i = 0; i < liquid.providerCount(); ++i) {
            address where = liquid.providerAt(i);
            ILiquidStake.Position memory p = liquid.positionOf(where);
            known += uint256(p.known) + p.thawing;
            uint256 value = staking.valueOf(delegationPool(where), address(liquid));
            // An entry rounds down, by less than a share.
            worth += value > p.known ? value : uint256(p.known);
            assertGe(value + 1e11, p.known, "nothing is known that is not there");
            uint256 thawing = 0;
            ILiquidStake.Thaw[] memory thaws = liquid.thawsOf(where);
            for (uint256 j = 0; j < thaws.length; ++j) {
                assertEq(staking.thawRequest(thaws[j].id).value, thaws[j].known);
                thawing += thaws[j].known;
            }
            assertEq(thawing, p.thawing);
            worth += thawing;
            assertLe(thaws.length, 6, "a look is over few requests");
        }
        assertEq(s.assets + s.streaming, known);
        assertLe(s.assets + s.streaming, worth);
        vm.revertToState(snapshot);
    }

    function invariant_shares_of_all_holders_are_the_supply() public view {
        uint256 sum = share.balanceOf(address(queue)) + share.balanceOf(treasury) + share.balanceOf(address(0xdead));
        for (uint256 i = 0; i < handler.holderCount(); ++i) {
            sum += share.balanceOf(handler.holders(i));
        }
        assertEq(sum, share.totalSupply());
    }

    function invariant_claims_never_exceed_what_is_locked() public view {
        (uint256 last,) = queue.counts();
        uint256 claims = 0;
        for (uint256 id = 1; id <= last; ++id) {
            claims += queue.requestOf(id).assetsLeft;
        }
        assertLe(claims, queue.lockedAssets());
    }

    function invariant_no_third_party_fills_a_victims_request_list() public view {
        (uint256 last,) = queue.counts();
        uint256 listed = 0;
        for (uint256 i = 0; i < handler.holderCount(); ++i) {
            uint256[] memory ids = queue.requestsOf(handler.holders(i));
            assertEq(ids.length, queue.balanceOf(handler.holders(i)));
            for (uint256 j = 0; j < ids.length; ++j) {
                assertEq(queue.ownerOf(ids[j]), handler.holders(i));
            }
            listed += ids.length;
        }
        uint256 open = 0;
        for (uint256 id = 1; id <= last; ++id) {
            if (queue.requestOf(id).owner != address(0)) ++open;
        }
        assertEq(listed, open);
    }

    function invariant_a_rate_is_never_zero_or_extreme() public {
        uint256 rate = liquid.rate();
        if (rate < 1e15 || rate > 1e21) {
            vm.expectRevert(abi.encodeWithSelector(IRateFeed.RateOutOfBounds.selector, rate));
            feed.getRate();
        } else {
            assertEq(feed.getRate(), rate);
        }
        if (rate < 0.999e15) assertEq(liquid.maxDeposit(lisa), 0);
    }

    function invariant_protocol_contracts_never_vote() public view {
        assertEq(share.getVotes(address(queue)) + share.getVotes(address(liquid)), 0);
        assertEq(share.delegates(address(queue)), address(0));
        assertEq(share.delegates(address(liquid)), address(0));
    }

    // Everybody leaves, whatever state things are in: every queued exit completes by its latest date, or a thaw period later
    // where a provider was slashed, and every claim is paid.
    function afterInvariant() public {
        uint256 latest = queue.latestClaimIfRequestedNow();
        for (uint256 i = 0; i < handler.holderCount(); ++i) {
            uint256 held = share.balanceOf(handler.holders(i));
            if (held >= 1e15) request(handler.holders(i), held);
        }
        (uint256 last, uint256 done) = queue.counts();
        liquid.tend();
        // A slash can leave what thaws short of what is owed: the rest thaws from the next epoch on.
        if (handler.did("slash") > 0) latest += EPOCH + THAW;
        while (block.timestamp < latest) {
            uint256 next = (block.timestamp / EPOCH + 1) * EPOCH;
            vm.warp(next < latest ? next : latest);
            liquid.tend();
        }
        if (last > done) queue.finalise(last);
        for (uint256 id = 1; id <= last; ++id) {
            IExitQueue.Request memory r = queue.requestOf(id);
            if (r.owner == address(0)) continue;
            assertTrue(r.claimable, "every queued exit completes");
            assertEq(claim(r.owner, id), r.assetsLeft);
        }
        for (uint256 id = 1; id <= last; ++id) {
            try queue.sweep(id) {} catch {}
        }
        assertEq(queue.lockedAssets(), 0, "nothing is stuck in the queue");
        assertEq(queue.pendingShares(), 0);
    }
}
