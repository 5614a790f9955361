// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IJobEscrow, Payment, State, Terms} from "../../src/interfaces/IJobEscrow.sol";
import {SignedRelease, SignedVoucher, Voucher} from "../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {Role} from "../../src/types/Role.sol";
import {EscrowFixture, Vm} from "./EscrowFixture.sol";

/// A coordinator whose bond and fees are a cold account's, here a contract's, and whose vouchers a hot key signs.
contract VoucherKeyTest is EscrowFixture {
    Vm.Wallet private hot;
    address private cold = makeAddr("a contract that coordinates");

    function setUp() public override {
        super.setUp();
        vm.etch(cold, hex"00");
        hot = vm.createWallet("hot key");
        feeTakers.push(cold);
        becomeCoordinator(cold, BOND);
        bind();
    }

    function test_ItSignsAndCallsAndOwnsNothing() public sane {
        EscrowId id = openEscrow(named(), "");
        assertEq(escrows.escrow(id).coordinator, cold);
        assertEq(escrows.escrow(id).voucherKey, hot.addr);
        assertEq(escrows.collect(signed(hot, Voucher(id, provider(0), 10e18, 1, 10e18))), 10e18);
        vm.startPrank(hot.addr);
        assertEq(escrows.settle(id, one(provider(1), 10e18), ""), 10e18);
        escrows.enrol(id, list(provider(2)));
        assertEq(escrows.acknowledge(id, one(release(id, 2, 10e18))), 10e18);
        assertEq(escrows.withdrawFees(), 0);
        vm.stopPrank();
        assertEq(escrows.feesOf(cold), 1.5e18, "the fees are the coordinator's");
        SignedRelease[] memory rest = new SignedRelease[](2);
        (rest[0], rest[1]) = (release(id, 0, 10e18), release(id, 1, 10e18));
        sort(rest);
        vm.prank(hot.addr);
        escrows.close(id, rest, "");
        assertState(id, State.Closed);
        vm.prank(cold);
        assertEq(escrows.withdrawFees(), 1.5e18);
    }

    function test_ItEndsAnEscrowAndSoDoesTheCoordinator() public sane {
        EscrowId id = openEscrow(named(), "a");
        vm.prank(hot.addr);
        escrows.end(id);
        assertState(id, State.Collecting);
        id = openEscrow(named(), "b");
        vm.prank(cold);
        escrows.settle(id, one(provider(1), 10e18), "");
        vm.prank(cold);
        escrows.end(id);
        assertState(id, State.Collecting);
    }

    function test_TheBondOfTheCoordinatorAnswersForIt() public sane {
        EscrowId id = openEscrow(named(), "");
        SignedVoucher memory v = signed(hot, Voucher(id, provider(0), BUDGET + 7e18, 1, BUDGET + 7e18));
        assertEq(accuse(stranger, id, v), 107e18);
        assertEq(staking.slashable(Role.Coordinator, cold), BOND - 107e18);
    }

    function test_NobodyElseSignsThere() public sane {
        EscrowId id = openEscrow(named(), "");
        SignedVoucher memory v = signed(coordinator, Voucher(id, provider(0), 1e18, 1, 1e18));
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongSigner.selector, hot.addr, coordinator.addr));
        escrows.collect(v);
        Payment[] memory payments = one(provider(0), 1e18);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotCoordinator.selector, id, coordinator.addr));
        vm.prank(coordinator.addr);
        escrows.settle(id, payments, "");
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotParty.selector, id, stranger));
        vm.prank(stranger);
        escrows.end(id);
    }

    /// Without its word anybody could promise in a coordinator's name, and have its bond.
    function test_OnlyAKeyThatTheCoordinatorHasBound() public sane {
        Terms memory t = named();
        t.voucherKey = stranger;
        refused(t);
        t.voucherKey = address(0);
        refused(t);
        t = named();
        t.coordinator = coordinator.addr;
        refused(t);
        EscrowId before = openEscrow(named(), "before");
        vm.prank(cold);
        staking.unbindVoucherKey(hot.addr);
        refused(named());
        assertEq(
            escrows.collect(signed(hot, Voucher(before, provider(0), 1e18, 1, 1e18))), 1e18, "what is open keeps it"
        );
    }

    function test_TheNameOfAnEscrowHasIt() public view {
        Terms memory t = named();
        EscrowId id = escrows.escrowId(requester, t, "");
        t.voucherKey = cold;
        assertTrue(id != escrows.escrowId(requester, t, ""));
    }

    function named() private view returns (Terms memory t) {
        t = terms();
        (t.coordinator, t.voucherKey) = (cold, hot.addr);
    }

    function refused(Terms memory t) private {
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.VoucherKeyNotBound.selector, t.voucherKey, t.coordinator));
        vm.prank(requester);
        escrows.open(t, "refused");
    }

    function bind() private {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Tidemill ProviderStaking"),
                keccak256("1"),
                block.chainid,
                address(staking)
            )
        );
        bytes32 binding = keccak256(
            abi.encode(keccak256("VoucherKeyBinding(address coordinator,address voucherKey)"), cold, hot.addr)
        );
        bytes memory signature = sign(hot, keccak256(abi.encodePacked(hex"1901", domain, binding)));
        vm.prank(cold);
        staking.bindVoucherKey(hot.addr, signature);
    }
}
