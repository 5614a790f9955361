// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Case, Escrow, Holder, State} from "../../../src/interfaces/IJobEscrow.sol";
import {IProviderStaking} from "../../../src/interfaces/IProviderStaking.sol";
import {EscrowId} from "../../../src/types/EscrowId.sol";
import {Ppm} from "../../../src/types/Ppm.sol";
import {Role} from "../../../src/types/Role.sol";
import {EscrowHandler} from "./EscrowHandler.sol";

/// What holds of all escrows whatever is done to them. An action that fails is a failure too: each is written to be one
/// that must succeed.
/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: deep.invariant.fail-on-revert = true
contract EscrowInvariants is EscrowHandler {
    function setUp() public override {
        super.setUp();
        bytes4[] memory actions = new bytes4[](26);
        actions[0] = this.open.selector;
        actions[1] = this.deposit.selector;
        actions[2] = this.enrolSome.selector;
        actions[3] = this.issueHonestly.selector;
        actions[4] = this.issueFalsely.selector;
        actions[5] = this.settleSome.selector;
        actions[6] = this.collectOne.selector;
        actions[7] = this.endOne.selector;
        actions[8] = this.closeOne.selector;
        actions[9] = this.refundOne.selector;
        actions[10] = this.accuseBySome.selector;
        actions[11] = this.accuseByConflict.selector;
        actions[12] = this.compensate.selector;
        actions[13] = this.bondMore.selector;
        actions[14] = this.unbondSome.selector;
        actions[15] = this.fetchFees.selector;
        actions[16] = this.governFee.selector;
        actions[17] = this.pauseEntries.selector;
        actions[18] = this.donate.selector;
        actions[19] = this.acknowledgeSome.selector;
        actions[20] = this.accuseByAWrongList.selector;
        actions[21] = this.acknowledgeByKey.selector;
        actions[22] = this.bindOrUnbind.selector;
        actions[23] = this.slashProvider.selector;
        actions[24] = this.leaveProvider.selector;
        actions[25] = this.pauseStaking.selector;
        targetContract(address(this));
        targetSelector(FuzzSelector({addr: address(this), selectors: actions}));
        bytes4[] memory time = new bytes4[](1);
        time[0] = this.pass.selector;
        targetSelector(FuzzSelector({addr: address(this), selectors: time}));
    }

    /// Money in = money out + money held, to the wei, on each side of each border: the escrow contract, the staking
    /// contract, the providers' records.
    function invariant_ConservationToTheWei() public view {
        uint256 owed = escrows.protocolFees() + escrows.feesOf(coordinator.addr) + escrows.feesOf(cheat.addr);
        uint256 fees = owed + feesFetched;
        uint256 paid = 0;
        uint256 taken = 0;
        uint256 given = 0;
        for (uint256 i = 0; i < opened.length; i++) {
            Escrow memory e = escrows.escrow(opened[i]);
            owed += escrows.caseOf(opened[i]).pot;
            if (!e.closed) owed += e.deposited - e.paid;
            paid += e.paid;
            taken += slashed[opened[i]];
            given += compensated[opened[i]];
        }
        assertEq(tide.balanceOf(address(escrows)), owed + donated, "held = owed; a donation belongs to nobody");
        assertEq(tide.balanceOf(address(staking)), stakedAtFirst + paid - fees + given - taken, "splits sum exactly");
    }

    function invariant_PaidIsAtMostDepositedAndTheSumOfThePayments() public view {
        for (uint256 i = 0; i < opened.length; i++) {
            Escrow memory e = escrows.escrow(opened[i]);
            uint256 sum = 0;
            uint256 enrolled = 0;
            uint256 acknowledged = 0;
            uint256 unpaid = 0;
            for (uint256 j = 0; j < providers.length; j++) {
                Holder memory h = escrows.holder(opened[i], provider(j));
                sum += paidTo(opened[i], provider(j));
                unpaid += escrows.unpaidOf(opened[i], provider(j));
                if (h.enrolled) enrolled++;
                else assertEq(h.paid + h.proven * (e.closed ? 0 : 1), 0, "who is paid or proven is enrolled");
                if (h.acknowledged) acknowledged++;
                assertEq(h.acknowledged, isAcknowledged(opened[i], provider(j)));
                assertLe(h.acknowledged ? 1 : 0, h.enrolled ? 1 : 0, "who is acknowledged is enrolled");
            }
            assertEq(e.paid, sum);
            assertLe(e.paid, e.deposited);
            assertEq(e.enrolled, enrolled);
            assertEq(e.acknowledged, acknowledged);
            assertEq(escrows.caseOf(opened[i]).unpaid, unpaid);
        }
    }

    function invariant_NoProviderIsPaidOverItsBestVoucherOrSettlement() public view {
        for (uint256 i = 0; i < opened.length; i++) {
            for (uint256 j = 0; j < providers.length; j++) {
                address p = provider(j);
                assertLe(paidTo(opened[i], p), bestWord[opened[i]][p]);
            }
        }
    }

    /// By whatever steps a provider came to what it was paid, its record holds the same of it.
    function invariant_SettleAndCollectInAnyOrderPayTheSame() public view {
        for (uint256 j = 0; j + BACKED < providers.length; j++) {
            uint256 sum = compensations[provider(j)];
            for (uint256 i = 0; i < opened.length; i++) {
                Escrow memory e = escrows.escrow(opened[i]);
                uint256 gross = paidTo(opened[i], provider(j));
                sum += gross - gross * (Ppm.unwrap(e.fee) + Ppm.unwrap(e.protocolFee)) / 1_000_000;
            }
            assertEq(earned(j), sum);
        }
    }

    function invariant_AnEarlyCloseHasEverybodysReleaseAndKeepsTheirList() public view {
        for (uint256 i = 0; i < opened.length; i++) {
            EscrowId id = opened[i];
            Escrow memory e = escrows.escrow(id);
            address[] memory list = closers[id];
            assertEq(e.releasedBy, list.length == 0 ? bytes32(0) : keccak256(abi.encodePacked(list)));
            if (!e.released) continue;
            for (uint256 j = 0; j < providers.length; j++) {
                bool released = hasReleased(id, provider(j));
                assertTrue(released || !escrows.holder(id, provider(j)).enrolled, "who is enrolled has released");
                if (released) assertEq(escrows.unpaidOf(id, provider(j)), 0);
            }
        }
    }

    function invariant_AnHonestCoordinatorIsNeverConvicted() public view {
        for (uint256 i = 0; i < opened.length; i++) {
            if (honest(opened[i])) assertFalse(escrows.caseOf(opened[i]).convicted);
        }
        assertEq(staking.slashable(Role.Coordinator, coordinator.addr), BOND);
    }

    function invariant_SlashIsAtMostExcessAndPenalty() public view {
        for (uint256 i = 0; i < opened.length; i++) {
            assertEq(escrows.caseOf(opened[i]).slashed, slashed[opened[i]]);
            assertLe(slashed[opened[i]], dueOf(opened[i]));
        }
    }

    function invariant_WhatIsPaidOutForACaseIsWhatWasSlashed() public view {
        for (uint256 i = 0; i < opened.length; i++) {
            EscrowId id = opened[i];
            assertEq(bounties[id] + burned[id] + compensated[id] + escrows.caseOf(id).pot, slashed[id]);
        }
    }

    function invariant_VerifierRewardIsAtMostItsCutOfWhatWasReallySlashed() public view {
        for (uint256 i = 0; i < opened.length; i++) {
            assertLe(bounties[opened[i]] * 20, slashed[opened[i]]);
        }
    }

    function invariant_ProviderVerifierCollusionStillBurnsAShare() public view {
        for (uint256 i = 0; i < opened.length; i++) {
            assertGe(burned[opened[i]] * 5, slashed[opened[i]]);
        }
    }

    /// Time alone leads out of every state: whatever happened, everybody's part can be had without anybody's help. And
    /// each provider can be paid.
    function afterInvariant() public {
        tide.approve(address(staking), providers.length);
        IProviderStaking.Credit[] memory credits = new IProviderStaking.Credit[](providers.length);
        for (uint256 i = 0; i < providers.length; i++) {
            credits[i] = IProviderStaking.Credit(provider(i), 1);
        }
        assertEq(staking.credit(credits), providers.length);
        vm.warp(timeNow() + LONGEST + COLLECT);
        for (uint256 i = 0; i < opened.length; i++) {
            State state = escrows.stateOf(opened[i]);
            assertTrue(state == State.Refundable || state == State.Closed);
            refundOne(i);
            assertState(opened[i], State.Closed);
        }
        vm.warp(timeNow() + EVIDENCE);
        for (uint256 i = 0; i < opened.length; i++) {
            for (uint256 j = 0; j < providers.length; j++) {
                compensate(i, j);
            }
            Case memory c = escrows.caseOf(opened[i]);
            assertEq(c.pot, 0, "nothing is left in a pot");
            assertEq(c.unpaid, 0);
        }
        for (uint256 who = 0; who < 3; who++) {
            fetchFees(who);
        }
        assertEq(tide.balanceOf(address(escrows)), donated, "all money is out");
    }
}
