// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Case, Escrow, Holder, IJobEscrow, Payment, State, Terms} from "../../../src/interfaces/IJobEscrow.sol";
import {IProviderStaking} from "../../../src/interfaces/IProviderStaking.sol";
import {SignedRelease, SignedVoucher, Voucher} from "../../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../../src/types/EscrowId.sol";
import {bondPool, delegationPool} from "../../../src/types/PoolId.sol";
import {Ppm} from "../../../src/types/Ppm.sol";
import {Role} from "../../../src/types/Role.sol";
import {EscrowFixture, Vm} from "../EscrowFixture.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// Everything that can be done to escrows, by anybody, at any time; each action is written so that it must succeed, and
/// checks at once what only it can see. The coordinator of the fixture is honest: it promises within the deposits,
/// settles what it promised, and closes with everybody. The other one does as the fuzzer pleases.
abstract contract EscrowHandler is EscrowFixture {
    uint256 internal constant MOST_ESCROWS = 6;

    Vm.Wallet internal cheat;
    /// So many providers, the last ones, have bonds and delegators.
    uint256 internal constant BACKED = 3;
    address internal delegator = makeAddr("delegator");
    uint256 internal donated;
    uint256 internal feesFetched;
    uint256 internal stakedAtFirst;

    SignedVoucher[] internal issued;
    /// What the honest coordinator has promised.
    mapping(EscrowId => mapping(address => uint96)) internal promised;
    mapping(EscrowId => uint96) internal promisedInAll;
    mapping(EscrowId => uint64) internal sequences;
    /// The most that anybody entitled has ever named for a provider: voucher, settlement or release.
    mapping(EscrowId => mapping(address => uint96)) internal bestWord;
    mapping(EscrowId => State) internal lastState;

    /// Whom the close of each escrow listed, and what it paid to those of them of whom the escrow keeps no record.
    mapping(EscrowId => address[]) internal closers;
    mapping(EscrowId => mapping(address => bool)) internal inClose;
    mapping(EscrowId => mapping(address => uint96)) internal paidByClose;
    /// Whose release was acknowledged, and at how much.
    mapping(EscrowId => mapping(address => bool)) internal everAcknowledged;
    mapping(EscrowId => mapping(address => uint96)) internal acknowledgedAt;

    /// The case as a reader of the rules would keep it, with loops.
    mapping(EscrowId => mapping(address => uint96)) internal provenBest;
    mapping(EscrowId => uint96) internal provenHighest;
    mapping(EscrowId => bool) internal provenConflict;
    mapping(EscrowId => uint256) internal slashed;
    mapping(EscrowId => uint256) internal bounties;
    mapping(EscrowId => uint256) internal burned;
    mapping(EscrowId => uint256) internal compensated;
    mapping(address provider => uint256) internal compensations;

    function setUp() public virtual override {
        super.setUp();
        cheat = vm.createWallet("cheat");
        feeTakers.push(cheat.addr);
        becomeCoordinator(cheat.addr, BOND / 4);
        fund(requester, 1_000_000e18);
        for (uint256 i = providers.length - BACKED; i < providers.length; i++) {
            assertTrue(tide.transfer(provider(i), 100e18));
            assertTrue(tide.transfer(delegator, 300e18));
            vm.startPrank(provider(i));
            tide.approve(address(staking), 100e18);
            staking.bond(Role.Provider, 100e18);
            staking.setMaxDelegated(type(uint96).max);
            vm.stopPrank();
            vm.startPrank(delegator);
            tide.approve(address(staking), 300e18);
            staking.delegate(provider(i), 300e18);
            vm.stopPrank();
        }
        vm.warp(timeNow() + STREAM);
        stakedAtFirst = tide.balanceOf(address(staking));
        open(false, 100e18, 1 days, 50_000);
        open(true, 100e18, 2 days, 0);
    }

    // -------------------------------------------------------------------------------------------- the parties

    function open(bool cheating, uint96 budget, uint48 duration, uint32 fee) public {
        if (opened.length >= MOST_ESCROWS || paused()) return;
        Terms memory t = terms();
        t.coordinator = cheating ? cheat.addr : coordinator.addr;
        t.voucherKey = t.coordinator;
        t.budget = uint96(bound(budget, 1, BUDGET));
        t.deadline = timeNow() + uint48(bound(duration, 1, LONGEST));
        t.fee = Ppm.wrap(uint32(bound(fee, 0, 200_000)));
        openEscrow(t, bytes32(opened.length));
    }

    function deposit(uint256 which, uint96 amount) public {
        EscrowId id = pick(which);
        if (escrows.stateOf(id) != State.Open || paused()) return;
        vm.prank(requester);
        escrows.deposit(id, uint96(bound(amount, 1, BUDGET)));
    }

    function enrolSome(uint256 which, uint256 whom) public {
        EscrowId id = pick(which);
        if (!live(id)) return;
        address[] memory some = new address[](2);
        (some[0], some[1]) = (anybody(whom), anybody(whom >> 8));
        vm.prank(escrows.escrow(id).coordinator);
        escrows.enrol(id, some);
    }

    function issueHonestly(uint256 which, uint256 whom, uint96 amount) public {
        EscrowId id = pick(which);
        if (!honest(id) || !live(id)) return;
        address payee = provider(whom % providers.length);
        // What is paid is within what is promised, so the promises are the exposure.
        uint96 more = uint96(bound(amount, 0, escrows.escrow(id).deposited - promisedInAll[id]));
        promised[id][payee] += more;
        promisedInAll[id] += more;
        issue(id, coordinator, Voucher(id, payee, promised[id][payee], ++sequences[id], promisedInAll[id]));
    }

    /// Any amount up to twice the deposits (now and then far more), sequence numbers that collide, any total.
    function issueFalsely(uint256 which, uint256 whom, uint96 amount, uint64 sequence, uint96 total) public {
        EscrowId id = pick(which);
        if (honest(id)) return;
        uint96 deposited = escrows.escrow(id).deposited;
        if (amount % 16 != 0) amount = uint96(bound(amount, 0, 2 * deposited));
        total = total % 8 == 0 ? uint96(bound(total, 0, 3 * deposited)) : uint96(bound(total, 0, deposited));
        issue(id, cheat, Voucher(id, provider(whom % providers.length), amount, sequence % 16, total));
    }

    /// One bad payee blocks nobody: strangers, the zero address and contracts stand among the payees, and the call
    /// succeeds whenever it is the coordinator's and in time.
    function settleSome(uint256 which, uint256 whom, uint96[4] memory amounts, bytes32 root) public {
        EscrowId id = pick(which);
        if (!live(id)) return;
        Payment[] memory payments = new Payment[](4);
        for (uint256 i = 0; i < 4; i++) {
            address payee = anybody(whom >> (8 * i));
            uint96 amount = honest(id) ? promised[id][payee] : uint96(bound(amounts[i], 0, BUDGET));
            payments[i] = Payment(payee, amount);
            word(id, payee, amount);
        }
        uint256 before = escrows.escrow(id).paid;
        vm.prank(escrows.escrow(id).coordinator);
        uint256 gross = escrows.settle(id, payments, root);
        assertEq(escrows.escrow(id).paid, before + gross);
    }

    function collectOne(uint256 which) public {
        if (issued.length == 0) return;
        SignedVoucher memory v = issued[which % issued.length];
        EscrowId id = v.voucher.escrow;
        if (!live(id)) return;
        uint256 left = escrows.escrow(id).deposited - escrows.escrow(id).paid;
        uint256 due = Math.saturatingSub(v.voucher.amount, escrows.holder(id, v.voucher.provider).paid);
        assertEq(escrows.collect(v), Math.min(due, left), "a voucher is paid as far as the money goes");
    }

    function endOne(uint256 which, bool byRequester) public {
        EscrowId id = pick(which);
        if (escrows.stateOf(id) != State.Open) return;
        vm.prank(byRequester ? requester : escrows.escrow(id).coordinator);
        escrows.end(id);
    }

    /// Sometimes one of them twice. The honest coordinator shows what it promised, the other what they are ready to take.
    function acknowledgeSome(uint256 which, uint256 whom, uint96 amount) public {
        EscrowId id = pick(which);
        if (!live(id) || escrows.caseOf(id).convicted) return;
        Escrow memory e = escrows.escrow(id);
        uint256 i = whom % providers.length;
        uint256 j = (whom >> 8) % providers.length;
        SignedRelease[] memory two = new SignedRelease[](2);
        two[0] = release(id, i, takes(id, provider(i), amount, e.deposited - e.paid));
        uint96 left = e.deposited - e.paid - (two[0].amount - escrows.holder(id, provider(i)).paid);
        two[1] = i == j ? two[0] : release(id, j, takes(id, provider(j), amount >> 1, left));
        vm.prank(e.coordinator);
        uint256 gross = escrows.acknowledge(id, two);
        assertEq(escrows.escrow(id).paid, e.paid + gross);
        for (uint256 k = 0; k < 2; k++) {
            address payee = two[k].provider;
            word(id, payee, two[k].amount);
            (everAcknowledged[id][payee], acknowledgedAt[id][payee]) = (true, two[k].amount);
            assertEq(escrows.holder(id, payee).paid, two[k].amount, "all that it released");
        }
    }

    /// By a result key, which may be unbound by now: then it is skipped, and no close can pass the provider by.
    function acknowledgeByKey(uint256 which, uint256 whom, uint96 amount) public {
        EscrowId id = pick(which);
        if (!live(id) || escrows.caseOf(id).convicted) return;
        Escrow memory e = escrows.escrow(id);
        uint256 i = whom % providers.length;
        address payee = provider(i);
        SignedRelease[] memory all =
            one(releaseBy(resultKeys[i], id, payee, takes(id, payee, amount, e.deposited - e.paid)));
        uint96 before = escrows.holder(id, payee).paid;
        vm.prank(e.coordinator);
        uint256 gross = escrows.acknowledge(id, all);
        assertTrue(escrows.holder(id, payee).enrolled);
        if (!staking.isBoundTo(resultKeys[i].addr, payee)) {
            assertEq(gross, 0);
            assertEq(escrows.holder(id, payee).paid, before);
            return;
        }
        word(id, payee, all[0].amount);
        (everAcknowledged[id][payee], acknowledgedAt[id][payee]) = (true, all[0].amount);
        assertEq(escrows.holder(id, payee).paid, all[0].amount);
    }

    /// The honest coordinator closes with everybody, for what it promised; the other with those that it must, for what
    /// they are ready to take. Who is acknowledged, or not known to the escrow, is among them or is not.
    function closeOne(uint256 which, uint96[5] memory amounts, uint8 also) public {
        EscrowId id = pick(which);
        if (!live(id) || escrows.caseOf(id).convicted) return;
        Escrow memory e = escrows.escrow(id);
        uint96 left = e.deposited - e.paid;
        SignedRelease[] memory all = new SignedRelease[](providers.length);
        uint256 count = 0;
        for (uint256 i = 0; i < providers.length; i++) {
            Holder memory h = escrows.holder(id, provider(i));
            uint96 amount = takes(id, provider(i), amounts[i], left);
            bool needed = honest(id) ? amount > h.paid : h.enrolled && !h.acknowledged;
            if (h.enrolled && !h.acknowledged) needed = true;
            if (!needed && also >> i & 1 == 0) continue;
            left -= amount - h.paid;
            all[count++] = release(id, i, amount);
            word(id, provider(i), amount);
            closers[id].push(provider(i));
            inClose[id][provider(i)] = true;
            if (!h.enrolled) paidByClose[id][provider(i)] = amount;
        }
        assembly ("memory-safe") {
            mstore(all, count)
        }
        sort(all);
        vm.prank(e.coordinator);
        escrows.close(id, all, "");
        sortClosers(id);
        for (uint256 i = 0; i < count; i++) {
            assertEq(paidTo(id, all[i].provider), all[i].amount);
        }
    }

    /// Refund after the window always succeeds, whoever calls.
    function refundOne(uint256 which) public {
        EscrowId id = pick(which);
        if (escrows.stateOf(id) != State.Refundable) return;
        Escrow memory e = escrows.escrow(id);
        uint256 before = tide.balanceOf(requester);
        vm.prank(stranger);
        escrows.refund(id);
        assertEq(tide.balanceOf(requester) - before, e.deposited - e.paid);
    }

    // -------------------------------------------------------------------------------------------- the accusers

    function accuseBySome(uint256 which, uint256 count) public {
        if (issued.length == 0) return;
        EscrowId id = issued[which % issued.length].voucher.escrow;
        if (!underEvidence(id)) return;
        SignedVoucher[] memory some = new SignedVoucher[](1 + count % 3);
        uint256 found = 0;
        for (uint256 i = 0; i < issued.length && found < some.length; i++) {
            SignedVoucher memory v = issued[(which % issued.length + i) % issued.length];
            if (v.voucher.escrow != id) continue;
            some[found++] = v;
            prove(id, v.voucher);
        }
        assembly ("memory-safe") {
            mstore(some, found)
        }
        (uint256 supply, uint256 staked, uint256 reach) = beforeSlash(id);
        vm.prank(stranger);
        afterSlash(id, escrows.accuse(id, some, closers[id]), supply, staked, reach);
    }

    /// No list but the right one: none, one too few, one that did not release, another order.
    function accuseByAWrongList(uint256 which, uint256 way, address other) public {
        EscrowId id = pick(which);
        if (!underEvidence(id)) return;
        address[] memory list = closers[id];
        uint256 length = list.length;
        way = way % 4;
        if (way == 0 && length > 0) {
            list = nobody();
        } else if (way == 1 && length > 1) {
            assembly ("memory-safe") {
                mstore(list, sub(length, 1))
            }
        } else if (way == 2 && length > 1) {
            (list[0], list[1]) = (list[1], list[0]);
        } else {
            list = new address[](length + 1);
            for (uint256 i = 0; i < length; i++) {
                list[i] = closers[id][i];
            }
            list[length] = other;
        }
        vm.expectPartialRevert(IJobEscrow.WrongReleasedList.selector);
        escrows.accuse(id, new SignedVoucher[](0), list);
    }

    function accuseByConflict(uint256 which) public {
        if (issued.length == 0) return;
        SignedVoucher memory a = issued[which % issued.length];
        EscrowId id = a.voucher.escrow;
        if (!underEvidence(id)) return;
        for (uint256 i = 0; i < issued.length; i++) {
            SignedVoucher memory b = issued[i];
            if (b.voucher.escrow != id || b.voucher.sequence != a.voucher.sequence) continue;
            if (keccak256(abi.encode(b.voucher)) == keccak256(abi.encode(a.voucher))) continue;
            prove(id, a.voucher);
            prove(id, b.voucher);
            provenConflict[id] = true;
            (uint256 supply, uint256 staked, uint256 reach) = beforeSlash(id);
            vm.prank(stranger);
            afterSlash(id, escrows.accuseConflict(a, b, closers[id]), supply, staked, reach);
            return;
        }
    }

    function compensate(uint256 which, uint256 whom) public {
        EscrowId id = pick(which);
        if (timeNow() < uint256(escrows.escrow(id).collectUntil) + EVIDENCE) return;
        address payee = anybody(whom);
        uint256 supply = tide.totalSupply();
        uint256 unpaid = escrows.unpaidOf(id, payee);
        uint256 paid = escrows.claimCompensation(id, list(payee));
        assertLe(paid, unpaid, "no more than it is unpaid");
        if (hasReleased(id, payee)) assertEq(paid, 0, "who released has waived it");
        burned[id] += supply - tide.totalSupply();
        compensated[id] += paid;
        compensations[payee] += paid;
    }

    function bondMore(uint96 amount) public {
        if (timeNow() < staking.pausedUntil()) return;
        addBond(cheat.addr, bound(amount, 1, BUDGET));
        stakedAtFirst += bound(amount, 1, BUDGET);
    }

    function unbondSome(uint256 shares) public {
        uint256 held = staking.sharesOf(bondPool(Role.Coordinator, cheat.addr), cheat.addr);
        if (held == 0) return;
        vm.prank(cheat.addr);
        staking.unbond(Role.Coordinator, bound(shares, 1, held));
    }

    // ------------------------------------------------------------------------------------------- the providers

    function bindOrUnbind(uint256 whom) public {
        uint256 i = whom % providers.length;
        IProviderStaking.KeyBinding memory keys = keysOf(i);
        bool bound_ = staking.isBoundTo(keys.resultKey, provider(i));
        vm.prank(provider(i));
        if (bound_) staking.unbindKeys(keys.resultKey);
        else staking.bindKeys(keys);
    }

    /// Of each fault another case, up to all that it reaches.
    function slashProvider(uint256 whom, uint96 amount, uint256 caseId) public {
        vm.prank(judge);
        (uint256 own, uint256 delegated) = staking.slash(
            Role.Provider, provider(whom % providers.length), bound(amount, 0, 400e18), bytes32(caseId % 8)
        );
        stakedAtFirst -= own + delegated;
    }

    /// A delegator that leaves, now and then all but one share.
    function leaveProvider(uint256 whom, uint256 shares) public {
        address from = provider(providers.length - 1 - whom % BACKED);
        uint256 held = staking.sharesOf(delegationPool(from), delegator);
        if (held == 0) return;
        shares = shares % 3 == 0 && held > 1 ? held - 1 : bound(shares, 1, held);
        vm.prank(delegator);
        staking.undelegate(from, shares);
    }

    // -------------------------------------------------------------------------------------------- the others

    function fetchFees(uint256 who) public {
        uint256 before = tide.balanceOf(address(escrows));
        if (who % 3 == 2) {
            escrows.withdrawProtocolFees();
        } else {
            vm.prank(feeTakers[who % 3]);
            escrows.withdrawFees();
        }
        feesFetched += before - tide.balanceOf(address(escrows));
    }

    function governFee(uint32 fee) public {
        vm.prank(governor);
        escrows.setProtocolFee(Ppm.wrap(uint32(bound(fee, 0, 50_000))));
    }

    function pauseEntries(uint32 duration) public {
        if (timeNow() < escrows.nextPauseAt()) return;
        vm.prank(guardian);
        escrows.pause(uint32(bound(duration, 1, 1 days)));
    }

    function pauseStaking(uint32 duration) public {
        if (timeNow() < staking.nextPauseAt()) return;
        vm.prank(guardian);
        staking.pause(uint32(bound(duration, 1, 1 days)));
    }

    function donate(uint96 amount) public {
        amount = uint96(bound(amount, 0, 10e18));
        assertTrue(tide.transfer(address(escrows), amount));
        donated += amount;
    }

    function pass(uint32 time) public {
        vm.warp(timeNow() + (time % 8 == 0 ? bound(time, 1, 10 days) : bound(time, 1, 12 hours)));
    }

    // -------------------------------------------------------------------------------------------- the reference

    /// What is due in a case by the text of the rules: over-issue is the sum over distinct providers of max(paid, best
    /// voucher), less all deposits; the penalty is a tenth of what was issued, at most of the deposits.
    function dueOf(EscrowId id) internal view returns (uint256 due) {
        Escrow memory e = escrows.escrow(id);
        uint256 sum = 0;
        for (uint256 i = 0; i < providers.length; i++) {
            uint256 best = hasReleased(id, provider(i)) ? 0 : Math.min(provenBest[id][provider(i)], e.deposited);
            sum += Math.max(paidTo(id, provider(i)), best);
        }
        uint256 cover = e.released ? e.paid : e.deposited;
        uint256 excess = Math.max(
            Math.saturatingSub(sum, cover), Math.saturatingSub(uint256(provenHighest[id]), uint256(e.deposited))
        );
        if (excess == 0 && !provenConflict[id]) return 0;
        return excess + Math.min(e.deposited, Math.max(sum, provenHighest[id])) / 10;
    }

    function prove(EscrowId id, Voucher memory v) private {
        if (hasReleased(id, v.provider)) return;
        provenBest[id][v.provider] = uint96(Math.max(provenBest[id][v.provider], v.amount));
        provenHighest[id] = uint96(Math.max(provenHighest[id], Math.max(v.amount, v.total)));
    }

    function beforeSlash(EscrowId id) private view returns (uint256 supply, uint256 staked, uint256 reach) {
        supply = tide.totalSupply();
        staked = tide.balanceOf(address(staking));
        reach = staking.slashable(Role.Coordinator, escrows.escrow(id).coordinator);
    }

    function afterSlash(EscrowId id, uint256 taken, uint256 supply, uint256 staked, uint256 reach) private {
        uint256 fresh = Math.saturatingSub(dueOf(id), slashed[id]);
        assertEq(taken, Math.min(fresh, reach), "min(bond, excess + penalty), less what was taken before");
        assertEq(escrows.caseOf(id).convicted, dueOf(id) > 0 || provenConflict[id]);
        slashed[id] += taken;
        // What the staking contract burns as dust is its own affair.
        uint256 dust = staked - tide.balanceOf(address(staking)) - taken;
        stakedAtFirst -= dust;
        burned[id] += supply - tide.totalSupply() - dust;
        uint256 bounty = tide.balanceOf(stranger);
        bounties[id] += bounty;
        vm.prank(stranger);
        assertTrue(tide.transfer(address(this), bounty));
    }

    /// Gross and altogether, whether the escrow keeps it or not.
    function paidTo(EscrowId id, address payee) internal view returns (uint256) {
        return escrows.holder(id, payee).paid + paidByClose[id][payee];
    }

    /// Whether the escrow was closed early with the provider's release, in the closing list or acknowledged before.
    function hasReleased(EscrowId id, address payee) internal view returns (bool) {
        return escrows.escrow(id).released && (inClose[id][payee] || isAcknowledged(id, payee));
    }

    /// By the text of the rules: acknowledged, and paid nothing since.
    function isAcknowledged(EscrowId id, address payee) internal view returns (bool) {
        return everAcknowledged[id][payee] && escrows.holder(id, payee).paid == acknowledgedAt[id][payee];
    }

    // -------------------------------------------------------------------------------------------- picking

    function pick(uint256 which) internal view returns (EscrowId) {
        return opened[which % opened.length];
    }

    function honest(EscrowId id) internal view returns (bool) {
        return escrows.escrow(id).coordinator == coordinator.addr;
    }

    function live(EscrowId id) internal view returns (bool) {
        State state = escrows.stateOf(id);
        return state == State.Open || state == State.Collecting;
    }

    function underEvidence(EscrowId id) internal view returns (bool) {
        return timeNow() < uint256(escrows.escrow(id).collectUntil) + EVIDENCE;
    }

    function paused() internal view returns (bool) {
        return timeNow() < escrows.pausedUntil();
    }

    /// Mostly a provider.
    function anybody(uint256 whom) internal view returns (address) {
        uint256 i = (whom & 0xff) % (providers.length + 3);
        if (i < providers.length) return provider(i);
        if (i == providers.length) return stranger;
        return i == providers.length + 1 ? address(0) : address(escrows);
    }

    /// What a provider releases: what an honest coordinator promised it, or some of what is left.
    function takes(EscrowId id, address payee, uint96 amount, uint96 left) private view returns (uint96) {
        if (honest(id)) return promised[id][payee];
        return escrows.holder(id, payee).paid + uint96(bound(amount, 0, left));
    }

    function sortClosers(EscrowId id) private {
        address[] storage all = closers[id];
        for (uint256 i = 1; i < all.length; i++) {
            for (uint256 j = i; j > 0 && all[j] < all[j - 1]; j--) {
                (all[j], all[j - 1]) = (all[j - 1], all[j]);
            }
        }
    }

    function issue(EscrowId id, Vm.Wallet memory by, Voucher memory v) private {
        issued.push(signed(by, v));
        word(id, v.provider, v.amount);
    }

    function word(EscrowId id, address payee, uint96 amount) private {
        if (amount > bestWord[id][payee]) bestWord[id][payee] = amount;
    }
}
