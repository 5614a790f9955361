// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../../src/interfaces/IProviderStaking.sol";
import {SharePool} from "../../../src/libraries/SharePool.sol";
import {PoolId, PoolKind, toPoolId} from "../../../src/types/PoolId.sol";
import {Role} from "../../../src/types/Role.sol";
import {ThawId} from "../../../src/types/ThawId.sol";
import {StakingTest} from "../StakingTest.sol";
import {MovingHandler} from "./MovingHandler.sol";

/// @notice What holds whatever anybody does. Each name is a loss that somebody once had.
/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: deep.invariant.fail-on-revert = true
contract StakingInvariants is StakingTest {
    MovingHandler private handler;
    uint256 private atStart;

    function setUp() public override {
        super.setUp();
        address[] memory operators = new address[](3);
        (operators[0], operators[1], operators[2]) = (paul, petra, cora);
        address[] memory holders = new address[](4);
        (holders[0], holders[1], holders[2], holders[3]) = (dora, dirk, eve, paul);
        address[] memory slashers = new address[](3);
        (slashers[0], slashers[1], slashers[2]) = (judge, court, escrow);
        provider(paul, 10_000e18, TEN_PERCENT);
        provider(petra, 1, 0);
        coordinator(cora, 10_000e18);
        vm.prank(paul);
        staking.registerCoordinator(METADATA);
        atStart = tide.balanceOf(address(staking));
        handler = new MovingHandler(staking, tide, guardian, governor, operators, holders, slashers);
        targetContract(address(handler));
    }

    function invariant_every_call_did_what_it_must() public view {
        assertEq(handler.broken(), "");
    }

    function invariant_conservation_to_the_wei() public view {
        uint256 held = tide.balanceOf(address(staking));
        assertEq(held, accountedFor() + handler.donated(), "pools + earned, and what nobody counts");
        assertEq(
            held + handler.paid() + handler.slashed() + handler.burned(),
            atStart + handler.pulled() + handler.donated(),
            "what came in is here, was paid, slashed or burned"
        );
    }

    function invariant_shares_of_all_holders_are_the_pools() public view {
        for (uint256 o = 0; o < handler.operatorCount(); ++o) {
            address operator = handler.operators(o);
            for (uint8 kind = 0; kind < 3; ++kind) {
                PoolId pool = toPoolId(PoolKind(kind), operator);
                uint256 sum = 0;
                uint256 value = 0;
                for (uint256 i = 0; i < handler.holderCount(); ++i) {
                    sum += staking.sharesOf(pool, handler.holders(i));
                    value += staking.valueOf(pool, handler.holders(i));
                }
                // Operators hold their own bonds; one of them delegates, too.
                if (PoolKind(kind) != PoolKind.Delegation) {
                    sum = staking.sharesOf(pool, operator);
                    value = staking.valueOf(pool, operator);
                }
                if (PoolKind(kind) == PoolKind.Delegation) sum += handler.sharesOfMoves(operator);
                IProviderStaking.PoolState memory p = staking.poolOf(pool);
                assertLe(sum, p.shares);
                assertLe(p.shares - sum, _unowned(p, PoolKind(kind)));
                assertLe(value, p.active);
            }
        }
    }

    function invariant_thawing_is_at_most_the_tokens_set_aside() public view {
        for (uint256 o = 0; o < handler.operatorCount(); ++o) {
            for (uint8 kind = 0; kind < 3; ++kind) {
                PoolId pool = toPoolId(PoolKind(kind), handler.operators(o));
                uint256 claims = 0;
                for (uint256 i = 0; i < handler.requestCount(); ++i) {
                    (ThawId id, PoolId from,,,,, bool withdrawn) = handler.requests(i);
                    if (PoolId.unwrap(from) == PoolId.unwrap(pool) && !withdrawn) {
                        claims += staking.thawRequest(id).value;
                    }
                }
                assertLe(claims, staking.poolOf(pool).thawing);
            }
        }
    }

    function invariant_what_moved_answers_at_its_source_until_its_end() public view {
        for (uint256 o = 0; o < 2; ++o) {
            uint256 kept = 0;
            for (uint256 i = 0; i < handler.moveCount(); ++i) {
                IProviderStaking.Move memory m = staking.moveOf(handler.moves(i));
                if (m.from == handler.operators(o) && block.timestamp < m.end) kept += m.kept;
            }
            uint256 moved = staking.stakeOf(Role.Provider, handler.operators(o)).moved;
            assertLe(kept, moved);
            assertLe(moved - kept, 10 * handler.moveCount() + 1);
        }
    }

    function invariant_thaw_end_cannot_change_nor_the_value_after_it() public view {
        for (uint256 i = 0; i < handler.requestCount(); ++i) {
            (ThawId id,,, uint48 end, uint256 finalValue, bool isFinal,) = handler.requests(i);
            IProviderStaking.ThawRequest memory request = staking.thawRequest(id);
            assertEq(request.end, end);
            if (isFinal) assertEq(request.value, finalValue);
        }
    }

    function invariant_share_ratio_is_bounded_and_the_minimum_deposit_is_small() public view {
        for (uint256 o = 0; o < handler.operatorCount(); ++o) {
            for (uint8 kind = 0; kind < 3; ++kind) {
                IProviderStaking.PoolState memory p = staking.poolOf(toPoolId(PoolKind(kind), handler.operators(o)));
                uint256 shares = p.shares + SharePool.VIRTUAL_SHARES;
                assertLe(shares, SharePool.MAX_SHARES_PER_TOKEN * (p.active + 1));
                assertLe(p.active / shares, 1e10, "a share never gets dear");
                // Each slash rounds the two apart by at most two wei. An era's end makes shares few at once.
                if (p.era == 0 && p.shares < SharePool.MIN_REWARDED_SHARES) assertLe(p.locked, p.active + 1000);
            }
        }
    }

    // Stops the world: whoever wants to leave leaves, and gets what was set aside. Before, everybody can be paid.
    function afterInvariant() public {
        credit(paul, 1e18);
        credit(petra, 1e18);
        handler.settleAll();
        for (uint256 o = 0; o < handler.operatorCount(); ++o) {
            address operator = handler.operators(o);
            for (uint256 i = 0; i < handler.holderCount(); ++i) {
                address holder = handler.holders(i);
                if (sharesOf(holder, operator) > 0) undelegateAll(holder, operator);
            }
            for (uint8 role = 0; role < 2; ++role) {
                if (staking.sharesOf(toPoolId(PoolKind(role), operator), operator) > 0) {
                    unbondAll(operator, Role(role));
                }
            }
        }
        skip(THAW);
        for (uint256 i = 0; i < handler.requestCount(); ++i) {
            (ThawId id,, address owner,,,, bool withdrawn) = handler.requests(i);
            if (!withdrawn) withdraw(owner, id);
        }
        for (uint256 i = 0; i < handler.moveCount(); ++i) {
            if (staking.moveOf(handler.moves(i)).owner != address(0)) staking.settleMove(handler.moves(i));
        }
        for (uint256 o = 0; o < handler.operatorCount(); ++o) {
            for (uint256 i = 0; i < handler.holderCount(); ++i) {
                // What settled as shares.
                if (sharesOf(handler.holders(i), handler.operators(o)) > 0) {
                    undelegateAll(handler.holders(i), handler.operators(o));
                }
            }
        }
        for (uint256 o = 0; o < handler.operatorCount(); ++o) {
            vm.prank(handler.operators(o));
            staking.withdrawEarnings();
            for (uint8 kind = 0; kind < 3; ++kind) {
                IProviderStaking.PoolState memory p = staking.poolOf(toPoolId(PoolKind(kind), handler.operators(o)));
                assertLe(p.shares, _unowned(p, PoolKind(kind)), "nobody has shares");
                assertEq(p.locked, 0, "nothing streams to nobody");
                // With shares that are nobody's stays what they and the virtual ones hold, at a price below 1e10.
                assertLe(p.active, p.shares == 0 ? 0 : 1e13, "nothing is stuck in a pool");
            }
        }
    }

    // Each end of an era rounds every holder's shares down, so that at most one for each holder is nobody's.
    function _unowned(IProviderStaking.PoolState memory p, PoolKind kind) private view returns (uint256) {
        if (p.era == 0) return 0;
        // A move is a holder, too.
        return kind == PoolKind.Delegation ? handler.holderCount() + handler.moveCount() : 1;
    }
}
