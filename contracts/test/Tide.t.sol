// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Tide} from "../src/Tide.sol";
import {ITide} from "../src/interfaces/ITide.sol";
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {Test} from "forge-std/Test.sol";

contract TideTest is Test {
    uint64 private constant MINTER = 2;

    address private treasury = makeAddr("treasury");
    address private launch = makeAddr("launch");
    address private minter = makeAddr("minter");

    AccessManager private manager;
    Tide private tide;

    function setUp() public {
        vm.warp(1_800_000_000);
        manager = new AccessManager(address(this));
        tide = new Tide(address(manager), allocation(500_000_000e18, 100_000_000e18));
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = Tide.mint.selector;
        manager.setTargetFunctionRole(address(tide), selectors, MINTER);
    }

    function test_genesis_is_what_was_written_down() public view {
        assertEq(tide.balanceOf(treasury), 500_000_000e18);
        assertEq(tide.balanceOf(launch), 100_000_000e18);
        assertEq(tide.totalSupply(), 600_000_000e18);
        assertEq(tide.cap(), 1_000_000_000e18);
        assertLt(tide.cap(), 2 ** 90, "every amount fits the types of the other contracts");
        assertEq(tide.name(), "Tide");
        assertEq(tide.symbol(), "TIDE");
        assertEq(tide.decimals(), 18);
    }

    function test_no_genesis_over_the_cap() public {
        uint256 cap = tide.cap();
        ITide.Allocation[] memory all = allocation(cap, 1);
        vm.expectRevert(abi.encodeWithSelector(ERC20Capped.ERC20ExceededCap.selector, cap + 1, cap));
        new Tide(address(manager), all);
        assertEq(new Tide(address(manager), allocation(cap, 0)).totalSupply(), cap);
    }

    function test_nobody_mints_on_day_one() public {
        address[3] memory people = [treasury, launch, minter];
        for (uint256 i = 0; i < people.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, people[i]));
            vm.prank(people[i]);
            tide.mint(people[i], 1);
        }
    }

    function testFuzz_the_minter_mints_up_to_the_cap(uint96 first) public {
        manager.grantRole(MINTER, minter, 0);
        uint256 room = tide.cap() - tide.totalSupply();
        first = uint96(bound(first, 0, room));
        vm.startPrank(minter);
        tide.mint(launch, first);
        tide.mint(launch, room - first);
        vm.expectPartialRevert(ERC20Capped.ERC20ExceededCap.selector);
        tide.mint(launch, 1);
        vm.stopPrank();
        assertEq(tide.totalSupply(), tide.cap());
    }

    function test_a_burn_destroys_the_callers_own() public {
        vm.prank(treasury);
        tide.burn(1e18);
        assertEq(tide.totalSupply(), 600_000_000e18 - 1e18);
        assertEq(tide.balanceOf(treasury), 500_000_000e18 - 1e18);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        tide.burn(1);
    }

    function test_votes_count_in_seconds() public {
        assertEq(tide.clock(), block.timestamp);
        assertEq(tide.CLOCK_MODE(), "mode=timestamp");
        vm.prank(treasury);
        tide.delegate(treasury);
        uint256 then = block.timestamp;
        skip(10);
        vm.prank(treasury);
        tide.transfer(launch, 1e18);
        skip(10);
        assertEq(tide.getPastVotes(treasury, then + 9), 500_000_000e18);
        assertEq(tide.getPastVotes(treasury, then + 10), 500_000_000e18 - 1e18);
        assertEq(tide.getPastTotalSupply(then), 600_000_000e18);
    }

    function testFuzz_a_permit_approves_once(uint96 value, uint32 ahead) public {
        (address owner, uint256 key) = makeAddrAndKey("owner");
        uint256 deadline = block.timestamp + ahead;
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 permit = keccak256(abi.encode(typehash, owner, launch, value, tide.nonces(owner), deadline));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked(hex"1901", tide.DOMAIN_SEPARATOR(), permit)));
        tide.permit(owner, launch, value, deadline, v, r, s);
        assertEq(tide.allowance(owner, launch), value);
        assertEq(tide.nonces(owner), 1);
        vm.expectPartialRevert(ERC20Permit.ERC2612InvalidSigner.selector);
        tide.permit(owner, launch, value, deadline, v, r, s);
    }

    function allocation(uint256 first, uint256 second) private view returns (ITide.Allocation[] memory all) {
        all = new ITide.Allocation[](2);
        all[0] = ITide.Allocation({to: treasury, amount: first});
        all[1] = ITide.Allocation({to: launch, amount: second});
    }
}
