// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {JobEscrow} from "../../src/JobEscrow.sol";
import {IJobEscrow, Terms} from "../../src/interfaces/IJobEscrow.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {Ppm, PpmOverOne} from "../../src/types/Ppm.sol";
import {EscrowFixture} from "./EscrowFixture.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

contract FeesTest is EscrowFixture {
    function testFuzz_SplitsSumExactly(uint96 gross, uint32 fee, uint32 protocolFee) public sane {
        fee = uint32(bound(fee, 0, 200_000));
        protocolFee = uint32(bound(protocolFee, 0, 50_000));
        vm.prank(governor);
        escrows.setProtocolFee(Ppm.wrap(protocolFee));
        Terms memory t = terms();
        t.fee = Ppm.wrap(fee);
        EscrowId id = openEscrow(t, "");
        gross = uint96(bound(gross, 0, BUDGET));
        settle(id, 0, gross);
        uint256 toCoordinator = escrows.feesOf(coordinator.addr);
        uint256 toProtocol = escrows.protocolFees();
        assertEq(earned(0) + toCoordinator + toProtocol, gross);
        assertApproxEqAbs(toCoordinator, uint256(gross) * fee / 1e6, 1);
        assertApproxEqAbs(toProtocol, uint256(gross) * protocolFee / 1e6, 1);
        assertGe(earned(0), uint256(gross) - uint256(gross) * (fee + protocolFee) / 1e6, "rounds for the provider");
    }

    /// Also wei by wei, where both fees may fall due at once.
    function test_APaymentNeverTakesBack() public sane {
        Terms memory t = terms();
        t.fee = Ppm.wrap(200_000);
        vm.prank(governor);
        escrows.setProtocolFee(Ppm.wrap(50_000));
        EscrowId id = openEscrow(t, "");
        uint256 before = 0;
        for (uint96 gross = 1; gross <= 60; gross++) {
            assertEq(settle(id, 0, gross), 1);
            assertGe(earned(0), before);
            before = earned(0);
        }
        assertEq(earned(0), 60 - 15);
    }

    function test_OwnersFetchTheirs() public sane {
        EscrowId id = openEscrow();
        settle(id, 0, 100e18);
        vm.expectEmit();
        emit IJobEscrow.FeesWithdrawn(coordinator.addr, 5e18);
        vm.prank(coordinator.addr);
        assertEq(escrows.withdrawFees(), 5e18);
        assertEq(tide.balanceOf(coordinator.addr), 5e18);
        vm.prank(coordinator.addr);
        assertEq(escrows.withdrawFees(), 0);
        vm.prank(stranger);
        assertEq(escrows.withdrawFees(), 0);
        vm.prank(stranger);
        assertEq(escrows.withdrawProtocolFees(), 2e18);
        assertEq(tide.balanceOf(treasury), 2e18);
        assertEq(tide.balanceOf(stranger), 0);
        assertEq(escrows.withdrawProtocolFees(), 0);
    }

    function test_AShareOfTheProtocolsFeesIsBurnedAndCounted() public sane {
        vm.expectEmit();
        emit IJobEscrow.BurnShareSet(Ppm.wrap(250_000));
        vm.prank(governor);
        escrows.setBurnShare(Ppm.wrap(250_000));
        uint48 start = timeNow();
        EscrowId id = openEscrow();
        settle(id, 0, 100e18);
        vm.warp(start + 10);
        uint256 supply = tide.totalSupply();
        vm.expectEmit();
        emit IJobEscrow.FeesBurned(0.5e18);
        vm.expectEmit();
        emit IJobEscrow.FeesWithdrawn(treasury, 1.5e18);
        assertEq(escrows.withdrawProtocolFees(), 2e18);
        assertEq(tide.balanceOf(treasury), 1.5e18);
        assertEq(supply - tide.totalSupply(), 0.5e18);
        vm.warp(start + 20);
        settle(id, 0, 300e18);
        escrows.withdrawProtocolFees();
        vm.warp(start + 30);
        assertFees(start + 9, 0, 0);
        assertFees(start + 10, 2e18, 0.5e18);
        assertFees(start + 19, 2e18, 0.5e18);
        assertFees(start + 29, 6e18, 1.5e18);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.NotYetPast.selector, start + 30));
        escrows.feesUntil(start + 30);
    }

    function assertFees(uint48 time, uint256 withdrawn, uint256 burned) private view {
        (uint256 foundWithdrawn, uint256 foundBurned) = escrows.feesUntil(time);
        assertEq(foundWithdrawn, withdrawn);
        assertEq(foundBurned, burned);
    }

    function test_AnEscrowKeepsTheFeeOfItsOpening() public sane {
        EscrowId id = openEscrow();
        vm.expectEmit();
        emit IJobEscrow.ProtocolFeeSet(Ppm.wrap(0));
        vm.prank(governor);
        escrows.setProtocolFee(Ppm.wrap(0));
        settle(id, 0, 100e18);
        assertEq(escrows.protocolFees(), 2e18);
        settle(openEscrow(), 1, 100e18);
        assertEq(escrows.protocolFees(), 2e18, "the later one pays none");
        assertEq(earned(1), 95e18);
    }

    function test_OnlyTheGovernorWithinBounds() public {
        vm.startPrank(governor);
        Ppm tooHigh = Ppm.wrap(50_001);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.FeeTooHigh.selector, tooHigh, Ppm.wrap(50_000)));
        escrows.setProtocolFee(tooHigh);
        vm.expectRevert(IJobEscrow.ZeroAddress.selector);
        escrows.setTreasury(address(0));
        escrows.setTreasury(stranger);
        assertEq(escrows.treasury(), stranger);
        vm.stopPrank();
        vm.startPrank(guardian);
        bytes memory refusal = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, guardian);
        vm.expectRevert(refusal);
        escrows.setProtocolFee(Ppm.wrap(1));
        vm.expectRevert(refusal);
        escrows.setTreasury(guardian);
        vm.expectRevert(refusal);
        escrows.setBurnShare(Ppm.wrap(1));
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(PpmOverOne.selector, 1_000_001));
        vm.prank(governor);
        escrows.setBurnShare(Ppm.wrap(1_000_001));
    }

    function test_DeployRefusesWhatTheGovernorMayNot() public {
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.FeeTooHigh.selector, Ppm.wrap(50_001), Ppm.wrap(50_000)));
        new JobEscrow(address(authority), tide, staking, 1, 1, 1, Ppm.wrap(50_001), treasury);
        vm.expectRevert(IJobEscrow.ZeroAddress.selector);
        new JobEscrow(address(authority), tide, staking, 1, 1, 1, Ppm.wrap(0), address(0));
    }
}
