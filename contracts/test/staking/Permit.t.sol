// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PermitEntry} from "../../src/PermitEntry.sol";
import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {StakingTest} from "./StakingTest.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract PermitTest is StakingTest {
    struct Signed {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    address private pia;
    uint256 private piasKey;

    function setUp() public override {
        super.setUp();
        provider(paul, 100e18, 0);
        (pia, piasKey) = makeAddrAndKey("pia, who approves by signing");
        tide.transfer(pia, 50e18);
    }

    function test_permit_and_delegate_in_one_transaction() public {
        bytes[] memory calls = permitAndDelegate(sign(piasKey, pia, 5e18), 5e18);
        vm.prank(pia);
        staking.multicall(calls);
        assertEq(valueOf(pia, paul), 5e18);
        assertEq(tide.allowance(pia, address(staking)), 0);
        sanityCheck();
    }

    function test_a_permit_that_was_used_up_first_does_no_harm() public {
        Signed memory signed = sign(piasKey, pia, 5e18);
        vm.prank(eve);
        tide.permit(pia, address(staking), signed.value, signed.deadline, signed.v, signed.r, signed.s);
        vm.prank(pia);
        staking.multicall(permitAndDelegate(signed, 5e18));
        assertEq(valueOf(pia, paul), 5e18);
        sanityCheck();
    }

    function test_a_failed_permit_authorises_nobody() public {
        (, uint256 another) = makeAddrAndKey("not pia");
        Signed[3] memory bad = [sign(another, pia, 5e18), sign(piasKey, pia, 5e18), sign(piasKey, pia, 4e18)];
        bad[1].deadline = block.timestamp - 1;
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
            vm.prank(pia);
            staking.multicall(permitAndDelegate(bad[i], 5e18));
        }
        assertEq(tide.balanceOf(pia), 50e18);
        assertEq(sharesOf(pia, paul), 0);
    }

    function test_anothers_permit_lets_nobody_spend_for_it() public {
        Signed memory signed = sign(piasKey, pia, 5e18);
        vm.prank(eve);
        tide.approve(address(staking), 0);
        vm.prank(eve);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        staking.multicall(permitAndDelegate(signed, 5e18));
        assertEq(tide.balanceOf(pia), 50e18);
        assertEq(tide.allowance(pia, address(staking)), 0, "a permit counts for its signer, as the caller");
    }

    function permitAndDelegate(Signed memory signed, uint256 amount) private view returns (bytes[] memory calls) {
        calls = new bytes[](2);
        calls[0] = abi.encodeCall(PermitEntry.permit, (signed.value, signed.deadline, signed.v, signed.r, signed.s));
        calls[1] = abi.encodeCall(IProviderStaking.delegate, (paul, amount));
    }

    function sign(uint256 key, address owner, uint256 value) private view returns (Signed memory signed) {
        signed.value = value;
        signed.deadline = block.timestamp + 1 hours;
        bytes32 permit = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                owner,
                address(staking),
                value,
                tide.nonces(owner),
                signed.deadline
            )
        );
        (signed.v, signed.r, signed.s) =
            vm.sign(key, keccak256(abi.encodePacked(hex"1901", tide.DOMAIN_SEPARATOR(), permit)));
    }
}
