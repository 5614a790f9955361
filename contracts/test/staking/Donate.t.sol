// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {StakingTest} from "./StakingTest.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

/// @notice What is given to the delegators of one provider.
contract DonateTest is StakingTest {
    function setUp() public override {
        super.setUp();
        provider(paul, 100e18, TEN_PERCENT);
        delegate(dora, paul, 100e18);
        skip(STREAM);
    }

    function test_it_streams_to_delegators_without_a_commission() public {
        vm.expectEmit(address(staking));
        emit IProviderStaking.Donated(paul, address(this), 70e18);
        assertEq(donate(paul, 70e18), 70e18);
        assertEq(earned(paul), 0);
        assertEq(delegation(paul).locked, 70e18);
        skip(1 days);
        assertApproxEqAbs(valueOf(dora, paul), 110e18, 1);
        sanityCheck();
    }

    function test_it_covers_a_slash() public {
        slash(paul, 140e18);
        assertApproxEqAbs(valueOf(dora, paul), 60e18, 1);
        assertEq(donate(paul, 40e18), 40e18);
        skip(STREAM);
        assertApproxEqAbs(valueOf(dora, paul), 100e18, 1);
        sanityCheck();
    }

    function test_no_more_is_taken_than_doubles_what_had_been_there() public {
        delegate(dirk, paul, 500e18);
        uint256 before = tide.balanceOf(address(this));
        assertEq(donate(paul, 1_000e18), 100e18);
        assertEq(before - tide.balanceOf(address(this)), 100e18);
        sanityCheck();
    }

    // Whoever enters just before it and leaves just after takes nothing along, however little had been there.
    function testFuzz_a_sandwich_around_it_earns_nothing(uint96 there, uint96 mine, uint96 gift) public {
        there = uint96(bound(there, 1, 1e18));
        mine = uint96(bound(mine, 1, 900e18));
        provider(petra, 100e18, 0);
        delegate(dirk, petra, there);
        skip(STREAM);
        delegate(dora, petra, mine);
        donate(petra, bound(gift, 0, 1_000e18));
        (, uint256 back) = undelegateAll(dora, petra);
        assertLe(back, mine);
        sanityCheck();
    }

    function test_where_nobody_is_delegated_nothing_is_taken() public {
        provider(petra, 100e18, 0);
        assertEq(donate(petra, 1e18), 0);
        assertEq(donate(eve, 1e18), 0);
        undelegateAll(dora, paul);
        assertEq(donate(paul, 1e18), 0);
        sanityCheck();
    }

    function test_it_is_the_givers_own() public {
        vm.prank(eve);
        tide.approve(address(staking), 0);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        vm.prank(eve);
        staking.donate(paul, 1e18);
    }
}
