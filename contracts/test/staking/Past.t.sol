// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {PoolId, bondPool, delegationPool} from "../../src/types/PoolId.sol";
import {Role} from "../../src/types/Role.sol";
import {StakingTest} from "./StakingTest.sol";

/// @notice What was at stake at a time: for juries, and for votes of those who stake.
contract PastTest is StakingTest {
    uint48 private start;

    function setUp() public override {
        super.setUp();
        start = uint48(vm.getBlockTimestamp());
    }

    function test_own_bonds_of_each_and_of_all() public {
        provider(paul, 100e18, 0);
        skip(10);
        provider(petra, 30e18, 0);
        coordinator(cora, 1_000e18);
        skip(10);
        slash(paul, 40e18);
        skip(10);
        unbondAll(petra, Role.Provider);
        skip(10);
        assertEq(bondedAt(paul, start - 1), 0);
        assertEq(bondedAt(paul, start), 100e18);
        assertEq(bondedAt(paul, start + 19), 100e18);
        assertEq(bondedAt(paul, start + 20), 60e18);
        assertEq(bondedAt(petra, start + 9), 0);
        assertEq(bondedAt(petra, start + 29), 30e18);
        assertEq(bondedAt(petra, start + 30), 0, "what thaws is not active");
        assertEq(staking.bondedAt(start - 1), 0);
        assertEq(staking.bondedAt(start), 100e18);
        assertEq(staking.bondedAt(start + 10), 130e18, "of providers alone");
        assertEq(staking.bondedAt(start + 20), 90e18);
        assertEq(staking.bondedAt(start + 30), 60e18);
        assertEq(staking.tokensAt(bondPool(Role.Coordinator, cora), start + 10), 1_000e18);
    }

    function test_stake_of_holders_follows_entries_exits_and_slashes() public {
        provider(paul, 100e18, 0);
        delegate(dora, paul, 300e18);
        skip(10);
        delegate(dirk, paul, 100e18);
        skip(10);
        slash(paul, 300e18);
        skip(10);
        undelegate(dora, paul, sharesOf(dora, paul) / 3);
        skip(10);
        assertEq(stakeAt(dora, start - 1), 0);
        assertEq(stakeAt(dora, start + 19), 300e18);
        assertEq(stakeAt(dirk, start + 9), 0);
        assertEq(stakeAt(dirk, start + 19), 100e18);
        assertApproxEqAbs(stakeAt(dora, start + 20), 150e18, 1e6);
        assertApproxEqAbs(stakeAt(dirk, start + 20), 50e18, 1e6);
        assertApproxEqAbs(stakeAt(dora, start + 30), 100e18, 1e6);
        assertEq(staking.stakeAt(bondPool(Role.Provider, paul), paul, start), 100e18, "own bonds too");
    }

    function test_an_era_that_ended_divides_shares_of_before() public {
        coordinator(cora, 1_000e18);
        PoolId pool = bondPool(Role.Coordinator, cora);
        skip(10);
        slashBy(escrow, Role.Coordinator, cora, 1_000e18 - 1e12 + 1e6, "case");
        assertEq(staking.poolOf(pool).era, 1);
        skip(10);
        bond(cora, Role.Coordinator, 5e18);
        skip(10);
        assertEq(staking.stakeAt(pool, cora, start), 1_000e18);
        assertApproxEqRel(staking.stakeAt(pool, cora, start + 10), 1e12 - 1e6, 1e12);
        assertApproxEqRel(staking.stakeAt(pool, cora, start + 20), 5e18 + 1e12 - 1e6, 1e12);
    }

    function testFuzz_no_more_is_anybodys_than_there_was(uint96[6] memory amounts, uint96 cut) public {
        provider(paul, 2_000_000e18, 0);
        address[3] memory people = [dora, dirk, eve];
        for (uint256 i = 0; i < 6; ++i) {
            delegate(people[i % 3], paul, bound(amounts[i], 1e12, 2_000_000e18));
            if (i == 2) slash(paul, 2_000_000e18 + bound(cut, 0, delegation(paul).active / 2));
            if (i == 2) bond(paul, Role.Provider, 2_000_000e18);
            if (i == 4) undelegate(dora, paul, sharesOf(dora, paul) / 3 + 1);
            skip(1);
            uint48 time = uint48(vm.getBlockTimestamp()) - 1;
            uint256 sum = 0;
            for (uint256 k = 0; k < 3; ++k) {
                uint256 stake = stakeAt(people[k], time);
                assertApproxEqRel(stake + 1e9, valueOf(people[k], paul) + 1e9, 1e12);
                sum += stake;
            }
            assertLe(sum, staking.tokensAt(delegationPool(paul), time));
            assertEq(staking.tokensAt(delegationPool(paul), time), delegation(paul).active);
        }
    }

    function test_the_present_is_not_past() public {
        provider(paul, 100e18, 0);
        bytes memory refusal = abi.encodeWithSelector(IProviderStaking.NotYetPast.selector, start);
        vm.expectRevert(refusal);
        staking.bondedAt(start);
        vm.expectRevert(refusal);
        staking.tokensAt(bondPool(Role.Provider, paul), start);
        vm.expectRevert(refusal);
        staking.stakeAt(bondPool(Role.Provider, paul), paul, start);
    }

    function bondedAt(address who, uint48 time) private view returns (uint256) {
        return staking.tokensAt(bondPool(Role.Provider, who), time);
    }

    function stakeAt(address who, uint48 time) private view returns (uint256) {
        return staking.stakeAt(delegationPool(paul), who, time);
    }
}
