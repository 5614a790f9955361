// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {LiquidStake} from "../../src/LiquidStake.sol";
import {ILiquidStake} from "../../src/interfaces/ILiquidStake.sol";
import {Role} from "../../src/types/Role.sol";
import {LiquidTest} from "./LiquidTest.sol";
import {ERC4626Test} from "erc4626-tests/ERC4626.test.sol";
import {Vm} from "forge-std/Vm.sol";

/// @dev The vault with the ERC-20 half that ERC-4626 has and ERC-7575 lets be another contract's: what is asked of it goes
/// to the share, in the caller's name. So a16z's properties run over the contract that is deployed.
contract WithShare is LiquidStake {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    constructor(ILiquidStake.Setup memory setup) LiquidStake(setup) {}

    function balanceOf(address who) external view returns (uint256) {
        return _share.balanceOf(who);
    }

    function totalSupply() external view returns (uint256) {
        return _share.totalSupply();
    }

    function allowance(address owner, address spender) external view returns (uint256) {
        return _share.allowance(owner, spender);
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        VM.prank(msg.sender);
        return _share.approve(spender, amount);
    }
}

/// @notice a16z's properties of ERC-4626, over real earnings and real slashes.
contract Erc4626 is LiquidTest, ERC4626Test {
    function setUp() public override(LiquidTest, ERC4626Test) {
        LiquidTest.setUp();
        // So that nobody's deposit is refused: bonds that attract a hundred million.
        tide.transfer(paul, 100_000_000e18);
        tide.transfer(petra, 100_000_000e18);
        bondMore(paul);
        bondMore(petra);
        liquid.tend();
        _underlying_ = address(tide);
        _vault_ = address(liquid);
        _delta_ = 0;
        _vaultMayBeEmpty = false;
        _unlimitedAmount = false;
    }

    function newLiquid(ILiquidStake.Setup memory setup) internal override returns (LiquidStake) {
        return new WithShare(setup);
    }

    // As theirs, with TIDE of the treasury in place of a mint, amounts that exist, and users who are nobody here.
    function setUpVault(Init memory init) public override {
        for (uint256 i = 0; i < N; ++i) {
            address user = init.user[i];
            vm.assume(user.code.length == 0 && uint160(user) > 0xffff && user != address(0xdead));
            init.share[i] = bound(init.share[i], 0, 1_000_000e18);
            init.asset[i] = bound(init.asset[i], 0, 1_000_000e18);
            tide.transfer(user, init.share[i] + init.asset[i]);
            vm.startPrank(user);
            tide.approve(address(liquid), init.share[i]);
            if (init.share[i] > 0) liquid.deposit(init.share[i], user);
            tide.approve(address(liquid), 0);
            vm.stopPrank();
        }
        setUpYield(init);
    }

    // A real harvest or a real slash, and some of it still streaming.
    function setUpYield(Init memory init) public override {
        liquid.tend();
        skip(STREAM);
        uint256 size = init.yield >= 0 ? uint256(init.yield) : uint256(-(init.yield + 1));
        if (init.yield >= 0) {
            uint256 most = delegation(paul).active;
            if (most >= 1e15) donate(paul, bound(size, 0, most / 10));
            skip(STREAM);
            liquid.tend();
            skip(3 days);
        } else {
            slashDelegators(paul, uint32(bound(size, 1, 500_000)));
        }
    }

    // Instant exits are bounded by the buffer, and by nothing else here.
    function test_the_properties_are_really_exercised() public {
        Init memory init;
        for (uint256 i = 0; i < N; ++i) {
            init.user[i] = address(uint160(0xabcdef00 + i));
            init.share[i] = 1_000e18;
            init.asset[i] = 1_000e18;
        }
        init.yield = 1e18;
        setUpVault(init);
        address user = init.user[0];
        assertGt(liquid.rate(), 1e18);
        assertGt(liquid.state().streaming, 0);
        assertGt(liquid.maxDeposit(user), 1_000e18);
        assertGt(liquid.maxWithdraw(user), 100e18);
        vm.startPrank(user);
        tide.approve(address(liquid), type(uint256).max);
        uint256 shares = liquid.deposit(500e18, user);
        assertLe(liquid.redeem(shares, user, user), 500e18);
        uint256 assets = liquid.mint(100e18, user);
        assertGe(liquid.withdraw(assets, user, user), 100e18);
        vm.stopPrank();
        init.yield = -200_000;
        setUpYield(init);
        assertLt(liquid.rate(), 1e18);
        liquidCheck();
    }

    function bondMore(address who) private {
        bond(who, Role.Provider, tide.balanceOf(who));
    }

    // Theirs are called `testFail`, which forge runs no more.
    function test_withdrawing_without_an_allowance_reverts(Init memory init, uint256 assets) public {
        vm.expectRevert();
        this.testFail_withdraw(init, assets);
    }

    function test_redeeming_without_an_allowance_reverts(Init memory init, uint256 shares) public {
        vm.expectRevert();
        this.testFail_redeem(init, shares);
    }
}
