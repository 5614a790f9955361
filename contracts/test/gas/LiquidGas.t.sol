// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {LiquidTest} from "../liquid/LiquidTest.sol";

/// @notice What each call costs, written to snapshots/Liquid.json, as in StakingGas. "first" means that the caller had
/// nothing of the kind before.
/// forge-config: default.isolate = true
contract LiquidGas is LiquidTest {
    function setUp() public override {
        super.setUp();
        deposit(lisa, 90_000e18);
        liquid.tend();
        // Earnings stream in, as they do most of the time.
        skip(STREAM);
        earn(paul, 100e18);
        skip(STREAM);
        liquid.tend();
        skip(1 days);
    }

    function test_gas_deposit() public {
        deposit(leo, 10e18);
        vm.snapshotGasLastCall("Liquid", "deposit_first");
        skip(1 hours);
        deposit(leo, 10e18);
        uint256 gas = vm.snapshotGasLastCall("Liquid", "deposit");
        assertLe(gas, 130_000, "docs/benchmarks.md");
        vm.prank(leo);
        liquid.mint(10e18, leo);
        vm.snapshotGasLastCall("Liquid", "mint");
        liquidCheck();
    }

    function test_gas_instant_exit() public {
        redeem(lisa, 10e18);
        vm.snapshotGasLastCall("Liquid", "redeem");
        vm.prank(lisa);
        liquid.withdraw(10e18, lisa, lisa);
        vm.snapshotGasLastCall("Liquid", "withdraw");
        liquidCheck();
    }

    function test_gas_request() public {
        request(lisa, 10e18);
        vm.snapshotGasLastCall("Liquid", "request_first_of_queue");
        deposit(leo, 100e18);
        skip(1 hours);
        request(leo, 10e18);
        uint256 first = vm.snapshotGasLastCall("Liquid", "request_first");
        skip(1 hours);
        request(leo, 10e18);
        uint256 gas = vm.snapshotGasLastCall("Liquid", "request");
        assertLe(gas, 130_000, "docs/benchmarks.md");
        assertLe(first, 145_000);
        liquidCheck();
    }

    function test_gas_claim_at_1000_batches() public {
        uint256 first = 0;
        for (uint256 i = 0; i < 1000; ++i) {
            uint256 id = request(lisa, 1e18);
            if (i == 0) first = id;
        }
        skip(WAIT);
        liquid.tend();
        for (uint256 i = 0; i < 1000; ++i) {
            queue.finalise(first + i);
            if (i == 0) vm.snapshotGasLastCall("Liquid", "finalise_first");
        }
        vm.snapshotGasLastCall("Liquid", "finalise");
        uint256[] memory ids = new uint256[](1);
        ids[0] = first + 333;
        vm.prank(lisa);
        queue.claim(ids, lisa);
        uint256 gas = vm.snapshotGasLastCall("Liquid", "claim_at_1000_batches");
        assertLe(gas, 112_000, "docs/benchmarks.md");
        vm.prank(lisa);
        queue.redeem(1e18, lisa, lisa);
        vm.snapshotGasLastCall("Liquid", "claim_by_redeem_at_1000_batches");
        ids = new uint256[](10);
        for (uint256 i = 0; i < 10; ++i) {
            ids[i] = first + 500 + i;
        }
        vm.prank(lisa);
        queue.claim(ids, lisa);
        vm.snapshotGasLastCall("Liquid", "claim_10_at_1000_batches");
        liquidCheck();
    }

    // The same whether one or a hundred wait.
    function test_gas_finalise_is_the_same_for_1_and_for_100() public {
        uint256 snapshot = vm.snapshotState();
        uint256 one = finaliseOf(1);
        vm.revertToState(snapshot);
        uint256 many = finaliseOf(100);
        assertApproxEqAbs(many, one, 2000);
    }

    function test_gas_tending() public {
        request(lisa, 40_000e18);
        earn(petra, 10e18);
        skip(STREAM);
        liquid.harvest();
        vm.snapshotGasLastCall("Liquid", "harvest_2_providers");
        liquid.draw();
        vm.snapshotGasLastCall("Liquid", "draw_2_providers");
        skip(THAW);
        liquid.reap();
        vm.snapshotGasLastCall("Liquid", "reap_2_providers");
        deposit(leo, 50_000e18);
        liquid.spread();
        vm.snapshotGasLastCall("Liquid", "spread_2_providers");
        skip(STREAM);
        liquid.tend();
        vm.snapshotGasLastCall("Liquid", "tend_2_providers");
        liquidCheck();
    }

    // What a slash costs does not depend on who is behind the token, nor does looking at it.
    function test_gas_of_a_slash_is_the_same_with_1_and_with_1000_holders_and_queued_exits() public {
        uint256 snapshot = vm.snapshotState();
        (uint256 slashOne, uint256 syncOne) = slashAmong(1);
        vm.revertToState(snapshot);
        (uint256 slashMany, uint256 syncMany) = slashAmong(1000);
        assertApproxEqAbs(slashMany, slashOne, 100);
        assertApproxEqAbs(syncMany, syncOne, 100);
    }

    function test_gas_redelegate() public {
        delegate(dora, paul, 10e18);
        delegate(dirk, petra, 10e18);
        skip(1 hours);
        uint256 half = sharesOf(dora, paul) / 2;
        vm.prank(dora);
        staking.redelegate(paul, petra, half, 0);
        vm.snapshotGasLastCall("Staking", "redelegate_first");
        skip(1 hours);
        vm.prank(dora);
        (ThawId id,,) = staking.redelegate(paul, petra, half / 2, 0);
        vm.snapshotGasLastCall("Staking", "redelegate");
        skip(THAW);
        staking.settleMove(id);
        vm.snapshotGasLastCall("Staking", "settle_move");
    }

    function finaliseOf(uint256 count) private returns (uint256 gas) {
        uint256 id = request(lisa, 1e18);
        for (uint256 i = 1; i < count; ++i) {
            id = request(lisa, 1e18);
        }
        skip(WAIT);
        liquid.tend();
        queue.finalise(id);
        gas = vm.snapshotGasLastCall("Liquid", string.concat("finalise_", vm.toString(count)));
    }

    function slashAmong(uint256 count) private returns (uint256 ofSlash, uint256 ofSync) {
        for (uint256 i = 0; i < count; ++i) {
            address who = address(uint160(0x10000 + i));
            vm.prank(lisa);
            share.transfer(who, 2e18);
            request(who, 1e18);
        }
        liquid.draw();
        uint256 own = staking.stakeOf(Role.Provider, paul).bonded;
        slashBy(judge, Role.Provider, paul, own + 1_000e18, "case");
        ofSlash = vm.snapshotGasLastCall("Liquid", string.concat("slash_", vm.toString(count), "_holders_and_exits"));
        liquid.sync();
        ofSync = vm.snapshotGasLastCall("Liquid", string.concat("sync_", vm.toString(count), "_holders_and_exits"));
        liquidCheck();
    }
}
