// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ExitQueue} from "../../src/ExitQueue.sol";
import {LiquidStake} from "../../src/LiquidStake.sol";
import {PermitEntry} from "../../src/PermitEntry.sol";
import {StTide} from "../../src/StTide.sol";
import {IEntryPause} from "../../src/interfaces/IEntryPause.sol";
import {IExitQueue} from "../../src/interfaces/IExitQueue.sol";
import {ILiquidStake} from "../../src/interfaces/ILiquidStake.sol";
import {IStTide} from "../../src/interfaces/IStTide.sol";
import {LiquidTest} from "./LiquidTest.sol";

contract Deposit is LiquidTest {
    function test_deposit_takes_exactly_what_the_preview_says() public {
        earnALittle();
        uint256 shares = liquid.previewDeposit(100e18 + 7);
        uint256 before = tide.balanceOf(lisa);
        assertEq(deposit(lisa, 100e18 + 7), shares);
        assertEq(share.balanceOf(lisa), shares);
        assertEq(before - tide.balanceOf(lisa), 100e18 + 7);
        uint256 assets = liquid.previewMint(5e18 + 3);
        before = tide.balanceOf(leo);
        vm.prank(leo);
        assertEq(liquid.mint(5e18 + 3, lisa), assets);
        assertEq(share.balanceOf(lisa), shares + 5e18 + 3);
        assertEq(before - tide.balanceOf(leo), assets);
        liquidCheck();
    }

    function test_deposit_lands_in_the_buffer() public {
        deposit(lisa, 100e18);
        assertEq(liquid.state().buffer, 100e18 + SEED);
        assertEq(liquid.totalAssets(), 100e18 + SEED);
        liquidCheck();
    }

    function test_deposit_changes_nobodys_value() public {
        deposit(lisa, 1_000e18);
        earnALittle();
        uint256 worth = liquid.convertToAssets(share.balanceOf(lisa));
        uint256 shares = deposit(leo, 123_456e18 + 1);
        assertApproxEqAbs(liquid.convertToAssets(share.balanceOf(lisa)), worth, 1);
        assertLe(liquid.convertToAssets(shares), 123_456e18 + 1);
        liquidCheck();
    }

    // TIDE that is sent without a deposit is nobody's: no share gets dear by it.
    function test_no_donation_raises_the_minimum_deposit() public {
        uint256 rate = liquid.rate();
        tide.transfer(address(liquid), 1_000_000e18);
        assertEq(liquid.rate(), rate);
        assertEq(deposit(lisa, 1), 1);
        liquidCheck();
    }

    function test_no_donation_to_a_provider_raises_the_rate_at_once() public {
        deposit(lisa, 10_000e18);
        liquid.tend();
        skip(STREAM);
        uint256 rate = liquid.rate();
        earn(paul, 1_000e18);
        liquid.tend();
        assertEq(liquid.rate(), rate);
        skip(1 days);
        liquid.tend();
        // A tenth of a percent a day at most.
        assertLe(liquid.rate(), rate * 1_001 / 1_000);
        liquidCheck();
    }

    function test_deposit_stops_where_providers_take_no_more() public {
        assertEq(liquid.maxDeposit(lisa), liquid.state().capacity - SEED);
        allow(paul, 0);
        allow(petra, 1_000e18);
        liquid.sync();
        uint256 most = liquid.maxDeposit(lisa);
        assertEq(most, 1_000e18 + SEED / 10 - SEED);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.DepositOverMax.selector, most, most + 1));
        liquid.deposit(most + 1, lisa);
        deposit(lisa, most);
        assertEq(liquid.maxDeposit(lisa), 0);
        assertEq(liquid.maxMint(lisa), 0);
        liquidCheck();
    }

    function test_deposit_of_nothing() public {
        vm.prank(lisa);
        vm.expectRevert(ILiquidStake.ZeroShares.selector);
        liquid.deposit(0, lisa);
    }

    function test_deposits_are_paused_with_an_end_and_exits_are_not() public {
        deposit(lisa, 100e18);
        vm.prank(guardian);
        liquid.pause(1 days);
        uint48 until = uint48(block.timestamp) + 1 days;
        assertEq(liquid.maxDeposit(lisa), 0);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(IEntryPause.EntriesArePaused.selector, until));
        liquid.deposit(1e18, lisa);
        vm.prank(lisa);
        vm.expectRevert(abi.encodeWithSelector(IEntryPause.EntriesArePaused.selector, until));
        liquid.mint(1e18, lisa);
        redeem(lisa, 1e18);
        uint256 id = request(lisa, 1e18);
        skip(WAIT);
        queue.finalise(id);
        claim(lisa, id);
        liquidCheck();
    }

    function test_deposit_with_a_permit_in_one_transaction() public {
        (address pia, uint256 key) = makeAddrAndKey("pia");
        tide.transfer(pia, 20e18);
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 permit = keccak256(abi.encode(typehash, pia, address(liquid), 10e18, 0, block.timestamp + 1 hours));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked(hex"1901", tide.DOMAIN_SEPARATOR(), permit)));
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(PermitEntry.permit, (10e18, block.timestamp + 1 hours, v, r, s));
        calls[1] = abi.encodeCall(liquid.deposit, (10e18, pia));
        vm.prank(pia);
        liquid.multicall(calls);
        assertEq(share.balanceOf(pia), 10e18);
        liquidCheck();
    }

    // A permit that nobody signed authorises nobody.
    function test_a_failed_permit_authorises_nobody() public {
        bytes[] memory calls = new bytes[](2);
        calls[0] =
            abi.encodeCall(PermitEntry.permit, (10e18, block.timestamp + 1 hours, 27, bytes32("r"), bytes32("s")));
        calls[1] = abi.encodeCall(liquid.deposit, (10e18, eve));
        vm.prank(eve);
        vm.expectRevert();
        liquid.multicall(calls);
    }

    function test_deploying_and_seeding_are_one_step() public {
        assertEq(share.balanceOf(address(0xdead)), SEED);
        assertEq(liquid.totalAssets(), SEED);
        // A share that names others takes no entry points; without an allowance there is no contract.
        StTide other = new StTide(address(tide), address(1), address(2));
        ILiquidStake.Setup memory setup = setupOf(other);
        vm.expectRevert(abi.encodeWithSelector(ILiquidStake.NotItsEntryPoint.selector, address(1)));
        new LiquidStake(setup);
        vm.expectRevert(abi.encodeWithSelector(IExitQueue.NotItsEntryPoint.selector, address(2)));
        new ExitQueue(other, liquid, tide, WAIT, THAW, EPOCH);
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        setup = setupOf(new StTide(address(tide), next, address(2)));
        vm.expectRevert();
        new LiquidStake(setup);
    }

    function test_the_share_has_two_entry_points_for_ever() public {
        assertEq(share.vault(address(tide)), address(liquid));
        assertEq(share.vault(address(share)), address(0));
        vm.expectRevert(abi.encodeWithSelector(IStTide.NotEntryPoint.selector, address(this)));
        share.mint(eve, 1);
        vm.expectRevert(abi.encodeWithSelector(IStTide.NotEntryPoint.selector, address(this)));
        share.burnFrom(lisa, lisa, 1);
        vm.expectRevert(abi.encodeWithSelector(IStTide.NotEntryPoint.selector, address(this)));
        share.queueFrom(lisa, lisa, 1);
        vm.expectRevert(abi.encodeWithSelector(IStTide.EntryPointsInvalid.selector, address(0), address(1)));
        new StTide(address(tide), address(0), address(1));
        vm.expectRevert(abi.encodeWithSelector(IStTide.EntryPointsInvalid.selector, address(1), address(1)));
        new StTide(address(tide), address(1), address(1));
    }

    function test_shares_vote_by_time() public {
        deposit(lisa, 100e18);
        vm.prank(lisa);
        share.delegate(lisa);
        uint48 then = uint48(block.timestamp);
        skip(1);
        request(lisa, 40e18);
        skip(1);
        assertEq(share.getPastVotes(lisa, then), 100e18);
        assertEq(share.getVotes(lisa), 60e18);
        assertEq(share.getVotes(address(queue)), 0, "protocol contracts never vote");
        assertEq(share.getPastTotalSupply(then), 100e18 + SEED);
        assertEq(share.CLOCK_MODE(), "mode=timestamp");
    }

    function earnALittle() private {
        deposit(leo, 10_000e18);
        liquid.tend();
        skip(STREAM);
        earn(paul, 100e18);
        skip(STREAM);
        liquid.tend();
        skip(3 days);
        assertGt(liquid.rate(), 1e18);
    }
}
