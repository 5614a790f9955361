// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;
import {JobEscrow} from "../../src/JobEscrow.sol";
import {Escrow, IJobEscrow, State, Terms} from "../../src/interfaces/IJobEscrow.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {EscrowFixture, Vm} from "./EscrowFixture.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract OpenTest is EscrowFixture {
    function test_LocksTheBudgetUnderTheTerms() public sane {
        Terms memory t = terms();
        uint256 before = tide.balanceOf(requester);
        EscrowId id = escrows.escrowId(requester, t, "salt");
        vm.expectEmit();
        emit IJobEscrow.Opened(
            id, requester, coordinator.addr, coordinator.addr, BUDGET, t.deadline, FEE, PROTOCOL_FEE, t.specHash, "salt"
        );
        EscrowId found = openEscrow(t, "salt");

        assertTrue(found == id, "the id is known beforehand");
        assertEq(tide.balanceOf(requester), before - BUDGET);
        Escrow memory e = escrows.escrow(id);
        assertEq(e.requester, requester);
        assertEq(e.coordinator, coordinator.addr);
        assertEq(e.deposited, BUDGET);
        assertEq(e.paid, 0);
        assertEq(e.collectUntil, t.deadline + COLLECT);
        assertEq(Ppm.unwrap(e.fee), Ppm.unwrap(FEE));
        assertEq(Ppm.unwrap(e.protocolFee), Ppm.unwrap(PROTOCOL_FEE));
        assertState(id, State.Open);
    }

    /// What was signed under some terms is worth nothing under others, also after a reorganisation of the chain.
    function test_IdBindsRequesterTermsAndSalt() public view {
        Terms memory t = terms();
        EscrowId id = escrows.escrowId(requester, t, "salt");
        assertTrue(id != escrows.escrowId(stranger, t, "salt"));
        assertTrue(id != escrows.escrowId(requester, t, "pepper"));
        t.budget -= 1;
        assertTrue(id != escrows.escrowId(requester, t, "salt"));
        t.budget += 1;
        t.deadline += 1;
        assertTrue(id != escrows.escrowId(requester, t, "salt"));
        t.deadline -= 1;
        t.coordinator = stranger;
        assertTrue(id != escrows.escrowId(requester, t, "salt"));
        t.coordinator = coordinator.addr;
        t.fee = Ppm.wrap(1);
        assertTrue(id != escrows.escrowId(requester, t, "salt"));
        t.fee = FEE;
        t.specHash = "other job";
        assertTrue(id != escrows.escrowId(requester, t, "salt"));
    }

    function test_AnIdIsUsedOnceForEver() public sane {
        Terms memory t = terms();
        EscrowId id = openEscrow(t, "salt");
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.AlreadyOpened.selector, id));
        vm.prank(requester);
        escrows.open(t, "salt");

        vm.prank(coordinator.addr);
        escrows.close(id, releases(id, new uint96[](0)), "");
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.AlreadyOpened.selector, id));
        vm.prank(requester);
        escrows.open(t, "salt");
    }

    function test_NobodyOpensForSomebodyElse() public sane {
        Terms memory t = terms();
        fund(stranger, BUDGET);
        vm.prank(stranger);
        EscrowId theirs = escrows.open(t, "salt");
        opened.push(theirs);
        EscrowId id = openEscrow(t, "salt");
        assertTrue(theirs != id);
        assertEq(escrows.escrow(id).requester, requester);
    }

    function test_RefusesTermsThatCannotBeKept() public {
        Terms memory t = terms();
        t.coordinator = address(0);
        vm.expectRevert(IJobEscrow.ZeroAddress.selector);
        escrows.open(t, "");
        t = terms();
        t.budget = 0;
        vm.expectRevert(IJobEscrow.ZeroAmount.selector);
        escrows.open(t, "");
        t = terms();
        t.fee = Ppm.wrap(200_001);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.FeeTooHigh.selector, t.fee, Ppm.wrap(200_000)));
        escrows.open(t, "");
    }

    function testFuzz_DeadlineIsAheadAndWithinTheLongest(uint48 deadline) public sane {
        uint48 latest = timeNow() + LONGEST;
        deadline = uint48(bound(deadline, timeNow() - 10, latest + 10));
        Terms memory t = terms();
        t.deadline = deadline;
        if (deadline > timeNow() && deadline <= latest) {
            assertState(openEscrow(t, ""), State.Open);
        } else {
            vm.expectRevert(abi.encodeWithSelector(IJobEscrow.DeadlineOutOfRange.selector, deadline, latest));
            vm.prank(requester);
            escrows.open(t, "");
        }
    }

    function test_ABudgetThatIsNotThereOpensNothing() public {
        Terms memory t = terms();
        t.budget = type(uint96).max;
        uint256 has = tide.balanceOf(requester);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, requester, has, t.budget)
        );
        vm.prank(requester);
        escrows.open(t, "");
    }

    function test_PermitAndOpenAreOneTransaction() public sane {
        (Vm.Wallet memory newcomer, bytes[] memory calls, EscrowId id) = permitAndOpen();
        vm.prank(newcomer.addr);
        escrows.multicall(calls);
        opened.push(id);
        assertEq(escrows.escrow(id).requester, newcomer.addr);
        assertEq(tide.balanceOf(newcomer.addr), 0);
    }

    function test_APermitThatWasFrontRunDoesNoHarm() public sane {
        (Vm.Wallet memory newcomer, bytes[] memory calls, EscrowId id) = permitAndOpen();
        uint256 deadline = timeNow() + 1 hours;
        (uint8 v, bytes32 r, bytes32 s) = permitSignature(newcomer, BUDGET, 0, deadline);
        vm.prank(stranger);
        tide.permit(newcomer.addr, address(escrows), BUDGET, deadline, v, r, s);
        vm.prank(newcomer.addr);
        escrows.multicall(calls);
        opened.push(id);
        assertEq(escrows.escrow(id).requester, newcomer.addr);
    }

    function test_AFailedPermitAuthorisesNobody() public {
        (Vm.Wallet memory newcomer, bytes[] memory calls,) = permitAndOpen();
        // Another's permit in a call of one's own: it is not for the caller, and the opening takes from the caller.
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrows), 0, BUDGET)
        );
        vm.prank(stranger);
        escrows.multicall(calls);
        assertEq(tide.balanceOf(newcomer.addr), BUDGET);
        assertEq(tide.allowance(newcomer.addr, address(escrows)), 0);
        assertEq(tide.allowance(stranger, address(escrows)), 0);
    }

    function test_DeployRefusesATooShortThaw() public {
        uint256 needed = uint256(LONGEST) + COLLECT + EVIDENCE + 4 days;
        newJobEscrow(COLLECT, EVIDENCE + 4 days, LONGEST);
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.ThawTooShort.selector, THAW, needed + 1));
        newJobEscrow(COLLECT, EVIDENCE + 4 days + 1, LONGEST);
    }

    function permitAndOpen() private returns (Vm.Wallet memory newcomer, bytes[] memory calls, EscrowId id) {
        newcomer = vm.createWallet("newcomer");
        assertTrue(tide.transfer(newcomer.addr, BUDGET));
        uint256 deadline = timeNow() + 1 hours;
        (uint8 v, bytes32 r, bytes32 s) = permitSignature(newcomer, BUDGET, 0, deadline);
        calls = new bytes[](2);
        calls[0] = abi.encodeCall(escrows.permit, (BUDGET, deadline, v, r, s));
        calls[1] = abi.encodeCall(escrows.open, (terms(), "salt"));
        id = escrows.escrowId(newcomer.addr, terms(), "salt");
    }

    function permitSignature(Vm.Wallet memory owner, uint256 value, uint256 nonce, uint256 deadline)
        private
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        bytes32 permit = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                owner.addr,
                address(escrows),
                value,
                nonce,
                deadline
            )
        );
        return vm.sign(owner.privateKey, keccak256(abi.encodePacked(hex"1901", tide.DOMAIN_SEPARATOR(), permit)));
    }
}
