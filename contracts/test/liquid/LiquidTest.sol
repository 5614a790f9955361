// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ExitQueue} from "../../src/ExitQueue.sol";
import {LiquidStake} from "../../src/LiquidStake.sol";
import {RateFeed} from "../../src/RateFeed.sol";
import {StTide} from "../../src/StTide.sol";
import {ILiquidStake} from "../../src/interfaces/ILiquidStake.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {StakingTest} from "../staking/StakingTest.sol";

/// @notice The liquid stake over the staking contract, with two providers. Tests end with `liquidCheck`.
abstract contract LiquidTest is StakingTest {
    uint32 internal constant EPOCH = 7 days;
    uint32 internal constant WAIT = 7 days;
    uint96 internal constant SEED = 1_000e18;

    address internal treasury = makeAddr("treasury");
    address internal lisa = makeAddr("staker lisa");
    address internal leo = makeAddr("staker leo");

    StTide internal share;
    LiquidStake internal liquid;
    ExitQueue internal queue;
    RateFeed internal feed;

    function setUp() public virtual override {
        super.setUp();
        // A whole number of epochs, so that tests can count.
        vm.warp(1_800_000_000 / EPOCH * EPOCH + EPOCH);
        // Where each call is a transaction of its own (`isolate`), it takes a nonce.
        uint256 nonce = vm.getNonce(address(this));
        tide.approve(address(this), 0);
        uint256 ofCall = vm.getNonce(address(this)) - nonce;
        nonce += 2 * ofCall;
        address liquidAt = vm.computeCreateAddress(address(this), nonce + 1);
        address queueAt = vm.computeCreateAddress(address(this), nonce + 2);
        tide.approve(liquidAt, SEED);
        share = new StTide(address(tide), liquidAt, queueAt);
        liquid = newLiquid(setupOf(share));
        queue = new ExitQueue(share, liquid, tide, WAIT, THAW, EPOCH);
        feed = new RateFeed(liquid, 2 days);

        _letGovern(liquid.setParams.selector);
        _letGovern(liquid.setTreasury.selector);
        _letGovern(liquid.setProvider.selector);
        bytes4[] memory pause = new bytes4[](1);
        pause[0] = liquid.pause.selector;
        manager.setTargetFunctionRole(address(liquid), pause, GUARDIAN);

        provider(paul, 1_000_000e18, TEN_PERCENT);
        provider(petra, 1_000_000e18, TEN_PERCENT);
        list(paul, 1, 1);
        list(petra, 1, 2);
        address[2] memory people = [lisa, leo];
        for (uint256 i = 0; i < people.length; ++i) {
            fund(people[i]);
            vm.prank(people[i]);
            tide.approve(address(liquid), type(uint256).max);
        }
    }

    function newLiquid(ILiquidStake.Setup memory setup) internal virtual returns (LiquidStake) {
        return new LiquidStake(setup);
    }

    // Conservation of the liquid stake, to the wei, and of the staking contract below it.
    function liquidCheck() internal {
        liquid.sync();
        ILiquidStake.State memory s = liquid.state();
        uint256 sum = s.buffer;
        for (uint256 i = 0; i < liquid.providerCount(); ++i) {
            ILiquidStake.Position memory p = liquid.positionOf(liquid.providerAt(i));
            sum += uint256(p.known) + p.thawing;
            uint256 thaws = 0;
            ILiquidStake.Thaw[] memory all = liquid.thawsOf(liquid.providerAt(i));
            for (uint256 j = 0; j < all.length; ++j) {
                thaws += all[j].known;
                assertEq(all[j].known, staking.thawRequest(all[j].id).value, "what is known of a thaw");
            }
            assertEq(p.thawing, thaws, "thaws of a provider");
        }
        assertEq(s.assets + s.streaming, sum, "assets + streaming = buffer + positions");
        assertLe(s.buffer, tide.balanceOf(address(liquid)), "the buffer is here");
        assertEq(queue.lockedAssets(), tide.balanceOf(address(queue)), "what is locked is here");
        assertEq(queue.pendingShares(), share.balanceOf(address(queue)), "what waits is here");
        sanityCheck();
    }

    function setupOf(StTide share_) internal view returns (ILiquidStake.Setup memory) {
        return ILiquidStake.Setup({
            authority: address(manager),
            tide: tide,
            staking: staking,
            share: share_,
            treasury: treasury,
            seed: SEED,
            params: usual()
        });
    }

    function usual() internal pure returns (ILiquidStake.Params memory) {
        return ILiquidStake.Params({
            performanceFee: Ppm.wrap(100_000),
            dailyCap: Ppm.wrap(1_000),
            minExitFee: Ppm.wrap(7_000),
            maxExitFee: Ppm.wrap(30_000),
            bufferTarget: Ppm.wrap(100_000),
            providerCap: Ppm.wrap(500_000),
            operatorCap: Ppm.wrap(500_000),
            bondMultiple: 10
        });
    }

    function list(address who, uint16 weight, uint16 operator) internal {
        vm.prank(governor);
        liquid.setProvider(who, weight, operator);
    }

    function deposit(address who, uint256 assets) internal returns (uint256) {
        vm.prank(who);
        return liquid.deposit(assets, who);
    }

    function redeem(address who, uint256 shares) internal returns (uint256) {
        vm.prank(who);
        return liquid.redeem(shares, who, who);
    }

    function request(address who, uint256 shares) internal returns (uint256) {
        vm.prank(who);
        return queue.requestRedeem(shares, who, who);
    }

    function claim(address who, uint256 id) internal returns (uint256) {
        uint256[] memory ids = new uint256[](1);
        ids[0] = id;
        vm.prank(who);
        return queue.claim(ids, who);
    }

    // What all delegators of a provider earn, by pay that comes to nothing but them.
    function earn(address where, uint256 amount) internal {
        assertEq(donate(where, amount), amount, "a donation is taken where stake had been there");
    }

    // By one case, of all that delegators of `where` have.
    function slashDelegators(address where, uint32 part) internal returns (uint256 taken) {
        uint256 own = staking.stakeOf(Role.Provider, where).bonded;
        uint256 theirs = staking.slashable(Role.Provider, where) - own;
        taken = slashBy(judge, Role.Provider, where, own + theirs * part / 1_000_000, bytes32(vm.randomUint())) - own;
        // The bond comes back, so that the next case reaches delegators, too.
        vm.prank(judge);
        tide.transfer(where, own);
        bond(where, Role.Provider, own);
    }

    function _letGovern(bytes4 selector) private {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = selector;
        manager.setTargetFunctionRole(address(liquid), selectors, GOVERNOR);
    }
}
