// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Payment, Terms} from "../../src/interfaces/IJobEscrow.sol";
import {SignedRelease, SignedVoucher} from "../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {EscrowFixture, Vm} from "../escrow/EscrowFixture.sol";

/// Gas of an escrow's life, into snapshots/Escrow.json.
///
/// Each call is a transaction of its own (`isolate`), and a figure is what a wallet would pay: the 21,000 of the
/// transaction, its calldata, every slot and account cold at first touch, refunds taken off.
/// forge-config: default.isolate = true
/// forge-config: deep.isolate = true
contract EscrowGasTest is EscrowFixture {
    /// The coordinator and the treasury have been owed fees before, as in every escrow but the first.
    function setUp() public override {
        super.setUp();
        settle(openEscrow(), 0, 1e18);
        while (providers.length < 101) {
            addProvider();
        }
    }

    function test_Open() public {
        Terms memory t = terms();
        vm.prank(requester);
        escrows.open(t, "salt");
        vm.snapshotGasLastCall("Escrow", "open");
    }

    function test_OpenWithPermit() public {
        Vm.Wallet memory newcomer = vm.createWallet("newcomer");
        assertTrue(tide.transfer(newcomer.addr, 2 * BUDGET));
        uint256 deadline = timeNow() + 1 hours;
        bytes32 permit = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                newcomer.addr,
                address(escrows),
                uint256(BUDGET),
                uint256(0),
                deadline
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", tide.DOMAIN_SEPARATOR(), permit));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(newcomer.privateKey, digest);
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(escrows.permit, (BUDGET, deadline, v, r, s));
        calls[1] = abi.encodeCall(escrows.open, (terms(), "salt"));
        vm.prank(newcomer.addr);
        escrows.multicall(calls);
        vm.snapshotGasLastCall("Escrow", "open_with_permit");
    }

    function test_Deposit() public {
        EscrowId id = openEscrow();
        vm.prank(requester);
        escrows.deposit(id, 1e18);
        vm.snapshotGasLastCall("Escrow", "deposit");
    }

    function test_Enrol10() public {
        EscrowId id = openEscrow();
        address[] memory ten = new address[](10);
        for (uint256 i = 0; i < 10; i++) {
            ten[i] = provider(i);
        }
        vm.prank(coordinator.addr);
        escrows.enrol(id, ten);
        vm.snapshotGasLastCall("Escrow", "enrol_10");
    }

    function test_Settle1() public {
        settleOf(1, "settle_1", "settle_1_again");
    }

    function test_Settle10() public {
        settleOf(10, "settle_10", "settle_10_again");
    }

    function test_Settle100() public {
        settleOf(100, "settle_100", "settle_100_again");
    }

    /// The providers have been paid in other escrows before, but not in this one.
    function test_Settle10ToKnownProviders() public {
        settle(openEscrow(), payments(10, 1e18));
        EscrowId id = openEscrow();
        Payment[] memory ten = payments(10, 1e18);
        vm.prank(coordinator.addr);
        escrows.settle(id, ten, "root");
        vm.snapshotGasLastCall("Escrow", "settle_10_known");
    }

    function test_Collect() public {
        EscrowId id = openEscrow();
        SignedVoucher memory first = voucher(id, provider(1), 1e18);
        SignedVoucher memory second = voucher(id, provider(1), 2e18);
        escrows.collect(first);
        vm.snapshotGasLastCall("Escrow", "collect");
        escrows.collect(second);
        vm.snapshotGasLastCall("Escrow", "collect_again");
    }

    function test_End() public {
        EscrowId id = openEscrow();
        vm.prank(requester);
        escrows.end(id);
        vm.snapshotGasLastCall("Escrow", "end");
    }

    /// The usual end of a job, in one transaction: providers are paid for the first time, and the rest refunded.
    function test_Close10() public {
        closeWith(openEscrow(), 10, "close_10");
    }

    function test_Close20() public {
        closeWith(openEscrow(), 20, "close_20");
    }

    /// One of them has collected a voucher before, so that each has to be looked up.
    function test_Close20WithOneEnrolled() public {
        EscrowId id = openEscrow();
        escrows.collect(voucher(id, provider(1), 1));
        closeWith(id, 20, "close_20_one_enrolled");
    }

    function test_Close20Enrolled() public {
        EscrowId id = openEscrow();
        address[] memory all = new address[](20);
        for (uint256 i = 0; i < 20; i++) {
            all[i] = provider(i + 1);
        }
        vm.prank(coordinator.addr);
        escrows.enrol(id, all);
        closeWith(id, 20, "close_20_enrolled");
    }

    function test_Close20ByResultKeys() public {
        EscrowId id = openEscrow();
        SignedRelease[] memory all = new SignedRelease[](20);
        for (uint256 i = 0; i < 20; i++) {
            all[i] = releaseBy(resultKeys[i + 1], id, provider(i + 1), 1e18);
        }
        sort(all);
        vm.prank(coordinator.addr);
        escrows.close(id, all, "root");
        vm.snapshotGasLastCall("Escrow", "close_20_by_result_keys");
    }

    function test_Acknowledge10() public {
        EscrowId id = openEscrow();
        SignedRelease[] memory ten = someReleases(id, 10);
        vm.prank(coordinator.addr);
        escrows.acknowledge(id, ten);
        vm.snapshotGasLastCall("Escrow", "acknowledge_10");
        SignedRelease[] memory none = new SignedRelease[](0);
        vm.prank(coordinator.addr);
        escrows.close(id, none, "root");
        vm.snapshotGasLastCall("Escrow", "close_acknowledged");
    }

    function test_Refund() public {
        EscrowId id = openEscrow();
        settle(id, 1, 1e18);
        passCollectWindow(id);
        escrows.refund(id);
        vm.snapshotGasLastCall("Escrow", "refund");
    }

    function test_Accuse() public {
        EscrowId id = openEscrow();
        settle(id, payments(10, 100e18));
        SignedVoucher[] memory piece = new SignedVoucher[](1);
        piece[0] = voucher(id, provider(11), 50e18);
        vm.prank(stranger);
        escrows.accuse(id, piece, nobody());
        vm.snapshotGasLastCall("Escrow", "accuse");
        piece[0] = voucher(id, provider(12), 50e18);
        vm.prank(stranger);
        escrows.accuse(id, piece, nobody());
        vm.snapshotGasLastCall("Escrow", "accuse_again");
        passEvidenceWindow(id);
        escrows.claimCompensation(id, list(provider(11)));
        vm.snapshotGasLastCall("Escrow", "claim_compensation");
    }

    function test_AccuseOfAnEarlyClose() public {
        EscrowId id = openEscrow();
        SignedRelease[] memory hundred = someReleases(id, 100);
        close(id, hundred);
        SignedVoucher[] memory leftOut = new SignedVoucher[](1);
        leftOut[0] = voucher(id, provider(0), 50e18);
        vm.prank(stranger);
        escrows.accuse(id, leftOut, releasedBy(hundred));
        vm.snapshotGasLastCall("Escrow", "accuse_after_close_100");
    }

    function test_WithdrawFees() public {
        vm.prank(coordinator.addr);
        escrows.withdrawFees();
        vm.snapshotGasLastCall("Escrow", "withdraw_fees");
    }

    function closeWith(EscrowId id, uint256 count, string memory name) private {
        SignedRelease[] memory all = someReleases(id, count);
        vm.prank(coordinator.addr);
        escrows.close(id, all, "root");
        vm.snapshotGasLastCall("Escrow", name);
    }

    function settleOf(uint256 count, string memory first, string memory again) private {
        EscrowId id = openEscrow();
        Payment[] memory some = payments(count, 1e18);
        Payment[] memory more = payments(count, 2e18);
        vm.prank(coordinator.addr);
        escrows.settle(id, some, "root");
        vm.snapshotGasLastCall("Escrow", first);
        vm.prank(coordinator.addr);
        escrows.settle(id, more, "next root");
        vm.snapshotGasLastCall("Escrow", again);
    }

    /// Of the providers that `payments` pays.
    function someReleases(EscrowId id, uint256 count) private view returns (SignedRelease[] memory all) {
        all = new SignedRelease[](count);
        for (uint256 i = 0; i < count; i++) {
            all[i] = release(id, i + 1, 1e18);
        }
        sort(all);
    }

    /// Leaves out provider 0, whom the setup has paid.
    function payments(uint256 count, uint96 amount) private view returns (Payment[] memory some) {
        some = new Payment[](count);
        for (uint256 i = 0; i < count; i++) {
            some[i] = Payment(provider(i + 1), amount);
        }
    }
}
