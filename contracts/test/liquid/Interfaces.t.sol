// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {
    IERC7540Operator,
    IERC7540Redeem,
    IERC7540RedeemTransferable,
    IERC7575Share
} from "../../src/interfaces/IERC7540.sol";
import {IRateFeed} from "../../src/interfaces/IRateFeed.sol";
import {LiquidTest} from "./LiquidTest.sol";
import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";

/// @notice The interface ids that the standards write down, and prices as others read them.
contract Interfaces is LiquidTest {
    function test_the_ids_are_those_of_the_standards() public view {
        assertEq(type(IERC7540Operator).interfaceId, bytes4(0xe3bc4e65));
        assertEq(type(IERC7540Redeem).interfaceId, bytes4(0x620ee8e4));
        assertEq(type(IERC7540RedeemTransferable).interfaceId, bytes4(0x7846f5bd));
        assertEq(type(IERC7575Share).interfaceId, bytes4(0xf815c03d));
        // All of ERC-4626 but its ERC-20, and share().
        bytes4 vault = IERC4626.asset.selector ^ IERC4626.totalAssets.selector ^ IERC4626.convertToShares.selector
            ^ IERC4626.convertToAssets.selector ^ IERC4626.maxDeposit.selector ^ IERC4626.previewDeposit.selector
            ^ IERC4626.deposit.selector ^ IERC4626.maxMint.selector ^ IERC4626.previewMint.selector
            ^ IERC4626.mint.selector ^ IERC4626.maxWithdraw.selector ^ IERC4626.previewWithdraw.selector
            ^ IERC4626.withdraw.selector ^ IERC4626.maxRedeem.selector ^ IERC4626.previewRedeem.selector
            ^ IERC4626.redeem.selector ^ bytes4(keccak256("share()"));
        assertEq(vault, bytes4(0x2f0a18c5));

        assertTrue(share.supportsInterface(0xf815c03d));
        assertTrue(share.supportsInterface(0x01ffc9a7));
        assertFalse(share.supportsInterface(0xffffffff));
        assertTrue(liquid.supportsInterface(0x2f0a18c5));
        assertTrue(liquid.supportsInterface(0x01ffc9a7));
        assertFalse(liquid.supportsInterface(0x620ee8e4));
        bytes4[7] memory all = [
            bytes4(0xe3bc4e65),
            bytes4(0x620ee8e4),
            bytes4(0x7846f5bd),
            bytes4(0x2f0a18c5),
            bytes4(0x80ac58cd),
            bytes4(0x5b5e139f),
            bytes4(0x01ffc9a7)
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            assertTrue(queue.supportsInterface(all[i]));
        }
        // Deposits are not asynchronous.
        assertFalse(queue.supportsInterface(0xce3bbe50));
        assertFalse(queue.supportsInterface(0xffffffff));
    }

    function test_a_vault_names_its_share() public view {
        assertEq(liquid.share(), address(share));
        assertEq(queue.share(), address(share));
        assertEq(liquid.asset(), address(tide));
        assertEq(share.decimals(), 18);
        assertEq(queue.name(), "Tidemill exit request");
        assertEq(queue.symbol(), "exTIDE");
    }

    function test_the_rate_as_others_read_it() public {
        deposit(lisa, 10_000e18);
        liquid.tend();
        skip(STREAM);
        earn(paul, 100e18);
        skip(STREAM);
        liquid.tend();
        skip(STREAM);
        uint256 rate = liquid.rate();
        assertGt(rate, 1e18);
        (uint80 round, int256 answer,, uint256 updatedAt, uint80 answeredIn) = feed.latestRoundData();
        assertEq(answer, int256(rate));
        assertEq(updatedAt, block.timestamp);
        assertEq(round, answeredIn);
        (, int256 same,,,) = feed.getRoundData(round);
        assertEq(same, answer);
        vm.expectRevert(abi.encodeWithSelector(IRateFeed.NoSuchRound.selector, round - 1));
        feed.getRoundData(round - 1);
        assertEq(feed.price(), rate * 1e18);
        assertEq(feed.getRate(), rate);
        assertEq(feed.decimals(), 18);
        uint48 looked = liquid.state().reportedAt;
        vm.expectRevert(abi.encodeWithSelector(IRateFeed.RateIsStale.selector, looked));
        feed.freshRate();
        liquid.tend();
        assertEq(feed.freshRate(), liquid.rate());
        liquidCheck();
    }

    // A loss counts in the rate at once, without anybody's call.
    function test_the_rate_is_live() public {
        deposit(lisa, 100_000e18);
        liquid.tend();
        slashDelegators(paul, 500_000);
        assertApproxEqRel(feed.getRate(), 0.775e18, 0.01e18);
        liquidCheck();
    }

    function test_a_rate_is_never_zero_or_extreme() public {
        deposit(lisa, 100_000e18);
        liquid.tend();
        vm.startPrank(lisa);
        liquid.redeem(liquid.maxRedeem(lisa), lisa, lisa);
        vm.stopPrank();
        for (uint256 i = 0; i < 100; ++i) {
            slashDelegators(paul, 500_000);
            slashDelegators(petra, 500_000);
        }
        uint256 rate = liquid.rate();
        assertLt(rate, feed.MIN_RATE());
        bytes memory bounds = abi.encodeWithSelector(IRateFeed.RateOutOfBounds.selector, rate);
        vm.expectRevert(bounds);
        feed.getRate();
        vm.expectRevert(bounds);
        feed.price();
        vm.expectRevert(bounds);
        feed.latestRoundData();
        liquidCheck();
    }
}
