// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {JobEscrow} from "../../src/JobEscrow.sol";
import {IJobEscrow, State, Terms} from "../../src/interfaces/IJobEscrow.sol";
import {SignedVoucher, Voucher} from "../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture, Vm} from "./EscrowFixture.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// A wallet contract that vouches for everything.
contract YesWallet is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return IERC1271.isValidSignature.selector;
    }
}

contract CollectTest is EscrowFixture {
    function test_AProviderCashesItsLastVoucherAlone() public sane {
        EscrowId id = openEscrow();
        SignedVoucher memory first = voucher(id, provider(0), 100e18, 1, 100e18);
        SignedVoucher memory last = voucher(id, provider(0), 250e18, 2, 250e18);
        vm.expectEmit();
        emit IJobEscrow.Paid(id, provider(0), 250e18, uint96(net(250e18)));
        vm.prank(provider(0));
        assertEq(escrows.collect(last), 250e18);
        assertEq(earned(0), net(250e18));
        assertEq(escrows.collect(last), 0, "replayed");
        assertEq(escrows.collect(first), 0, "superseded");
        assertEq(earned(0), net(250e18));
    }

    function test_WhoeverCallsTheProviderIsPaid() public sane {
        EscrowId id = openEscrow();
        vm.prank(stranger);
        escrows.collect(voucher(id, provider(0), 100e18));
        assertEq(earned(0), net(100e18));
        assertEq(tide.balanceOf(stranger), 0);
    }

    function test_ManyInOneTransaction() public sane {
        EscrowId id = openEscrow();
        bytes[] memory calls = new bytes[](3);
        for (uint256 i = 0; i < 3; i++) {
            calls[i] = abi.encodeCall(escrows.collect, (voucher(id, provider(i % 2), 100e18)));
        }
        escrows.multicall(calls);
        assertEq(earned(0), net(100e18));
        assertEq(earned(1), net(100e18));
    }

    function test_ShortMoneyPaysWhatIsLeft() public sane {
        EscrowId id = openEscrow();
        settle(id, 1, 900e18);
        assertEq(escrows.collect(voucher(id, provider(0), 250e18)), 100e18);
        assertEq(escrows.collect(voucher(id, provider(0), 250e18)), 0);
        vm.prank(requester);
        escrows.deposit(id, 50e18);
        assertEq(escrows.collect(voucher(id, provider(0), 250e18)), 50e18, "more when there is more");
    }

    function testFuzz_WithinTheWindow(uint48 when) public sane {
        EscrowId id = openEscrow();
        vm.warp(timeNow() + 1 days);
        vm.prank(coordinator.addr);
        escrows.end(id);
        uint48 until = timeNow() + COLLECT;
        when = uint48(bound(when, until - 2, until + 2));
        vm.warp(when);
        SignedVoucher memory v = voucher(id, provider(0), 1e18);
        if (when >= until) expectState(id, State.Refundable);
        escrows.collect(v);
        assertEq(earned(0), when < until ? net(1e18) : 0);
    }

    function test_OnlyTheCoordinatorsSignatureCounts() public {
        EscrowId id = openEscrow();
        Voucher memory v = Voucher(id, provider(0), 1e18, 1, 1e18);
        SignedVoucher memory forged = signed(providers[0], v);
        expectWrongSigner(provider(0));
        escrows.collect(forged);
        // Not for another amount or provider than it was signed for either.
        SignedVoucher memory raised = voucher(id, provider(0), 1e18, 1, 1e18);
        raised.voucher.amount = 2e18;
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        escrows.collect(raised);
        SignedVoucher memory turned = voucher(id, provider(0), 1e18, 1, 1e18);
        turned.voucher.provider = provider(1);
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        escrows.collect(turned);
    }

    function test_NoReplayInAnotherEscrow() public {
        EscrowId id = openEscrow();
        EscrowId other = openEscrow();
        SignedVoucher memory v = voucher(id, provider(0), 1e18);
        v.voucher.escrow = other;
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        escrows.collect(v);
    }

    function test_NoReplayInAnotherContractOrOnAnotherChain() public {
        EscrowId id = openEscrow();
        SignedVoucher memory v = voucher(id, provider(0), 1e18);
        JobEscrow twin = newJobEscrow(COLLECT, EVIDENCE, LONGEST);
        vm.startPrank(requester);
        tide.approve(address(twin), BUDGET);
        EscrowId same = twin.open(terms(), bytes32(0));
        vm.stopPrank();
        assertTrue(same == id, "the same requester, terms and salt");
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        twin.collect(v);
        vm.chainId(block.chainid + 1);
        vm.expectPartialRevert(IJobEscrow.WrongSigner.selector);
        escrows.collect(v);
    }

    function test_TheDigestIsEip712() public {
        EscrowId id = openEscrow();
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Tidemill JobEscrow"),
                keccak256("1"),
                block.chainid,
                address(escrows)
            )
        );
        bytes32 message = keccak256(
            abi.encode(
                keccak256("Voucher(bytes32 escrow,address provider,uint96 amount,uint64 sequence,uint96 total)"),
                id,
                provider(0),
                uint256(7),
                uint256(8),
                uint256(9)
            )
        );
        assertEq(
            escrows.voucherDigest(Voucher(id, provider(0), 7, 8, 9)),
            keccak256(abi.encodePacked(hex"1901", domain, message))
        );
    }

    /// A contract could deny tomorrow what it vouched for today.
    function test_NoContractVouches() public {
        YesWallet wallet = new YesWallet();
        Terms memory t = terms();
        (t.coordinator, t.voucherKey) = (address(wallet), address(wallet));
        EscrowId id = openEscrow(t, "");
        SignedVoucher memory v = signed(coordinator, Voucher(id, provider(0), 1e18, 1, 1e18));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongSigner.selector, address(wallet), coordinator.addr));
        escrows.collect(v);
    }

    function test_AMirroredSignatureIsRefused() public {
        EscrowId id = openEscrow();
        SignedVoucher memory v = voucher(id, provider(0), 1e18);
        (bytes32 r, bytes32 s, uint8 parity) = split(v.signature);
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes32 mirrored = bytes32(order - uint256(s));
        v.signature = abi.encodePacked(r, mirrored, parity == 27 ? uint8(28) : uint8(27));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, mirrored));
        escrows.collect(v);
    }

    function test_APayeeThatIsNotRegisteredWaitsUntilItIs() public sane {
        EscrowId id = openEscrow();
        Vm.Wallet memory next = vm.createWallet(string.concat("provider ", vm.toString(providers.length)));
        SignedVoucher memory v = voucher(id, next.addr, 1e18);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotRegistered.selector, next.addr));
        escrows.collect(v);
        assertEq(addProvider(), next.addr);
        assertEq(escrows.collect(v), 1e18);
    }

    function expectWrongSigner(address found) private {
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongSigner.selector, coordinator.addr, found));
    }

    function split(bytes memory signature) private pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
    }
}
