// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ProviderStaking} from "../../../src/ProviderStaking.sol";
import {Tide} from "../../../src/Tide.sol";
import {IEntryPause} from "../../../src/interfaces/IEntryPause.sol";
import {IProviderStaking} from "../../../src/interfaces/IProviderStaking.sol";
import {SharePool} from "../../../src/libraries/SharePool.sol";
import {PoolId, PoolKind, bondPool, delegationPool, toPoolId} from "../../../src/types/PoolId.sol";
import {Ppm} from "../../../src/types/Ppm.sol";
import {Role} from "../../../src/types/Role.sol";
import {ThawId} from "../../../src/types/ThawId.sol";
import {Test} from "forge-std/Test.sol";

/// @notice Random people do everything in random order while time jumps. What each call must do is checked here, as
/// it is done: what it returns, or with what it must be refused. What must hold always is checked in
/// Staking.invariants.t.sol. A check that fails is noted in `broken`, so that the run says which.
contract Handler is Test {
    struct Request {
        ThawId id;
        PoolId pool;
        address owner;
        uint48 end;
        uint256 finalValue;
        bool isFinal;
        bool withdrawn;
    }

    struct GhostCase {
        uint256 ownBound;
        uint256 ownTaken;
        uint256 delegatedBound;
        uint256 delegatedTaken;
        bool isFixed;
    }

    struct Attempt {
        address slasher;
        address operator;
        Role role;
        uint256 amount;
        bytes32 caseId;
    }

    uint32 private constant THAW = 28 days;

    ProviderStaking internal immutable staking;
    Tide internal immutable tide;
    address private immutable guardian;
    address private immutable governor;

    address[] public operators;
    address[] public holders;
    address[] public slashers;
    Request[] public requests;

    /// @notice The first check that failed; empty while all hold.
    string public broken;
    /// @notice Tokens sent to the contract by plain transfer.
    uint256 public donated;
    /// @notice What came in by calls, went out by calls and was slashed.
    uint256 public pulled;
    uint256 public paid;
    uint256 public slashed;
    /// @notice What moves lost to slashes of the providers that they had left.
    uint256 public burned;

    mapping(bytes32 key => GhostCase) private _cases;
    mapping(PoolId pool => mapping(address holder => uint256)) internal _firstEntries;
    mapping(address slasher => mapping(Role role => IProviderStaking.Reach)) private _reach;

    constructor(
        ProviderStaking staking_,
        Tide tide_,
        address guardian_,
        address governor_,
        address[] memory operators_,
        address[] memory holders_,
        address[] memory slashers_
    ) {
        (staking, tide, guardian, governor) = (staking_, tide_, guardian_, governor_);
        (operators, holders, slashers) = (operators_, holders_, slashers_);
        for (uint256 i = 0; i < slashers_.length; ++i) {
            for (uint8 role = 0; role < 2; ++role) {
                _reach[slashers_[i]][Role(role)] = staking_.slasherReach(slashers_[i], Role(role));
            }
        }
    }

    // ------------------------------------------------------------------------------------------------ calls

    function bond(uint256 who, uint256 role, uint256 amount) external {
        address operator = operators[who % operators.length];
        Role as_ = _roleOf(operator, role);
        PoolId pool = bondPool(as_, operator);
        amount = _amount(amount);
        uint256 preview = staking.previewBond(as_, operator, amount);
        _fundFor(operator, amount);
        uint256 before = tide.balanceOf(operator);
        bool refused = _expectRefusal(preview, 0, 0);
        vm.prank(operator);
        uint256 shares = staking.bond(as_, amount);
        if (!refused) _entered(pool, operator, preview, shares, before, amount);
    }

    function unbond(uint256 who, uint256 role, uint256 part) external {
        address operator = operators[who % operators.length];
        PoolId pool = bondPool(Role(role % 2), operator);
        uint256 shares = _part(staking.sharesOf(pool, operator), part);
        (uint256 least, uint256 most) = _exitValue(pool, shares);
        if (shares == 0) vm.expectRevert(IProviderStaking.ZeroAmount.selector);
        vm.prank(operator);
        (ThawId id, uint256 amount) = staking.unbond(Role(role % 2), shares);
        if (shares > 0) _left(pool, operator, least, most, id, amount);
    }

    function delegate(uint256 who, uint256 where, uint256 amount) external {
        address holder = holders[who % holders.length];
        address provider = _provider(where);
        PoolId pool = delegationPool(provider);
        if (amount % 4 == 0) _makeRoom(provider, amount % 1e24 + 1);
        uint256 room = staking.delegationRoom(provider);
        // Mostly what is allowed; what is not must be refused.
        amount = amount % 8 == 0 ? 1 + amount % 1e26 : bound(amount, 1, room > 1e26 ? 1e26 : room + 1);
        uint256 preview = staking.previewDelegate(provider, amount);
        uint256[] memory others = _valuesIn(pool);
        _fundFor(holder, amount);
        uint256 before = tide.balanceOf(holder);
        bool refused = _expectRefusal(preview, room, amount);
        vm.prank(holder);
        uint256 shares = staking.delegate(provider, amount);
        if (refused) return;
        _entered(pool, holder, preview, shares, before, amount);
        _notLowered(pool, others, holder);
    }

    // Fails for a pause alone, however much another has filled the room.
    function delegateUpTo(uint256 who, uint256 where, uint256 amount) external {
        address holder = holders[who % holders.length];
        address provider = _provider(where);
        amount = _amount(amount);
        uint256 expected = _min(amount, staking.delegationRoom(provider));
        uint256 preview = staking.previewDelegate(provider, expected);
        if (preview == 0) expected = 0;
        _fundFor(holder, amount);
        uint256 before = tide.balanceOf(holder);
        bool refused = _expectRefusal(1, 0, 0);
        vm.prank(holder);
        (uint256 entered, uint256 shares) = staking.delegateUpTo(provider, amount, 0);
        if (refused) return;
        _check(entered == expected, "what enters is what there is room for");
        if (entered > 0) _entered(delegationPool(provider), holder, preview, shares, before, entered);
    }

    function undelegate(uint256 who, uint256 where, uint256 part) external {
        PoolId pool = delegationPool(_provider(where));
        address holder = _holderIn(pool, who);
        uint256 held = staking.sharesOf(pool, holder);
        // Now and then all but one share: what a puppet leaves behind.
        uint256 shares = part % 7 == 0 && held > 1 ? held - 1 : _part(held, part);
        (uint256 least, uint256 most) = _exitValue(pool, shares);
        uint256[] memory others = _valuesIn(pool);
        if (shares == 0) vm.expectRevert(IProviderStaking.ZeroAmount.selector);
        vm.prank(holder);
        (ThawId id, uint256 amount) = staking.undelegate(_provider(where), shares);
        if (shares == 0) return;
        _left(pool, holder, least, most, id, amount);
        _notLowered(pool, others, holder);
    }

    // Into a pool, a reward, and out again, all in one second.
    function sandwich(uint256 who, uint256 where, uint256 amount, uint96 pay, bool given) external {
        if (block.timestamp < staking.pausedUntil()) return;
        address holder = holders[who % holders.length];
        address provider = _provider(where);
        PoolId pool = delegationPool(provider);
        _makeRoom(provider, amount % 1e24 + 1);
        uint256 room = _min(staking.delegationRoom(provider), 1e26);
        if (room == 0) return;
        amount = bound(amount, 1, room);
        if (staking.previewDelegate(provider, amount) == 0) return;
        // Who was there a stream period ago may take along what streams, if it leaves few behind.
        uint256 first = _firstEntries[pool][holder];
        bool waited = first != 0 && block.timestamp >= first + 7 days;
        _fundFor(holder, amount);
        vm.prank(holder);
        uint256 shares = staking.delegate(provider, amount);
        pulled += amount;
        if (first == 0) _firstEntries[pool][holder] = block.timestamp;
        if (given) _donate(provider, pay);
        else _creditTo(provider, pay);
        (uint256 least, uint256 most) = _exitValue(pool, shares);
        vm.prank(holder);
        (ThawId id, uint256 out) = staking.undelegate(provider, shares);
        _check(out <= amount || waited, "delegating just before a reward and leaving just after earns nothing");
        _left(pool, holder, least, most, id, out);
    }

    function withdraw(uint256 which) external {
        if (requests.length == 0) return;
        Request storage request = requests[which % requests.length];
        ThawId[] memory ids = new ThawId[](1);
        ids[0] = request.id;
        uint256 before = tide.balanceOf(request.owner);
        uint256 value = staking.thawRequest(request.id).value;
        bool due = block.timestamp >= request.end && !request.withdrawn;
        if (!due) vm.expectRevert();
        vm.prank(request.owner);
        uint256 amount = staking.withdraw(ids);
        if (!due) return;
        _check(amount == value && tide.balanceOf(request.owner) - before == amount, "what it is worth is paid");
        if (request.isFinal) _check(amount == request.finalValue, "slashable for exactly the window");
        request.withdrawn = true;
        paid += amount;
    }

    function credit(uint256 who, uint96 amount) external {
        // One place beyond the operators: pay for nobody.
        uint256 index = who % (operators.length + 1);
        _creditTo(index == operators.length ? address(0xbad) : operators[index], amount);
    }

    function donate(uint256 who, uint96 amount) external {
        _donate(operators[who % operators.length], amount);
    }

    function slash(uint256 by, uint256 who, uint256 role, uint256 amount, uint256 caseSeed) external {
        Attempt memory a;
        a.operator = operators[who % operators.length];
        a.role = Role(role % 2);
        // Mostly somebody who may; of two that may, each.
        a.slasher = slashers[by % 8 == 0 ? by % slashers.length : a.role == Role.Provider ? by % 2 : 2];
        a.caseId = bytes32(caseSeed % 3 == 0 ? 100 + caseSeed % 8 : caseSeed % 2);
        uint256 all = staking.slashable(a.role, a.operator);
        // Some take all, some nearly all; most less, since else nothing would ever grow, and many of those just so
        // much that they reach the delegators.
        uint256 kind = amount % 10;
        if (kind == 0) a.amount = type(uint256).max;
        else if (kind == 1) a.amount = all - all / (1 + amount % 1e10);
        else if (kind < 5) a.amount = bound(amount, 0, all / 10);
        else a.amount = bound(amount, _ownOf(a), _ownOf(a) + (all - _ownOf(a)) / 3);
        _slash(a);
    }

    // A slash in the last second of somebody's thaw, or in the first one after it.
    function slashAtTheEnd(uint256 which, uint256 amount, bool after_) external {
        if (requests.length == 0) return;
        // Of the latest, which may still wait.
        Request storage request = requests[requests.length - 1 - which % (requests.length > 8 ? 8 : requests.length)];
        uint256 moment = after_ ? request.end : request.end - 1;
        if (block.timestamp > moment) return;
        vm.warp(moment);
        _settle();
        Attempt memory a;
        a.operator = request.pool.operatorOf();
        bool coordinates = PoolId.unwrap(request.pool) == PoolId.unwrap(bondPool(Role.Coordinator, a.operator));
        a.role = coordinates ? Role.Coordinator : Role.Provider;
        a.slasher = coordinates ? slashers[2] : slashers[0];
        a.caseId = "at the end";
        uint256 all = staking.slashable(a.role, a.operator);
        a.amount = bound(amount, all / 2, all);
        _slash(a);
    }

    function openOrClose(uint256 by, uint256 who, uint256 caseSeed) external {
        Attempt memory a;
        a.operator = operators[who % operators.length];
        a.caseId = bytes32(100 + caseSeed % 8);
        a.slasher = slashers[by % slashers.length];
        a.role = a.slasher == slashers[2] ? Role.Coordinator : Role.Provider;
        GhostCase storage ghost = _cases[keccak256(abi.encode(a.slasher, a.role, a.operator, a.caseId))];
        IProviderStaking.CasePhase phase = staking.caseOf(a.slasher, a.role, a.operator, a.caseId).phase;
        uint32 open = staking.standingOf(a.role, a.operator).openCases;
        if (phase == IProviderStaking.CasePhase.None) {
            uint256 own = _ownOf(a);
            uint256 delegated = staking.slashable(a.role, a.operator) - own;
            vm.prank(a.slasher);
            staking.openCase(a.role, a.operator, a.caseId);
            ghost.isFixed = true;
            ghost.ownBound = _reach[a.slasher][a.role].own.mulDown(own);
            ghost.delegatedBound = _reach[a.slasher][a.role].delegated.mulDown(delegated);
            _check(staking.standingOf(a.role, a.operator).openCases == open + 1, "open cases are counted");
            if (a.role == Role.Provider) _check(staking.delegationRoom(a.operator) == 0, "nobody joins the accused");
        } else if (phase == IProviderStaking.CasePhase.Open) {
            vm.prank(a.slasher);
            staking.closeCase(a.role, a.operator, a.caseId);
            (ghost.ownBound, ghost.delegatedBound) = (ghost.ownTaken, ghost.delegatedTaken);
            _check(staking.standingOf(a.role, a.operator).openCases == open - 1, "closed ones are not");
        }
    }

    // What needs to happen now and then, in one call, so that stake and slashes have most of them.
    function onTheSide(uint256 kind, uint256 who, uint256 value) external {
        address operator = operators[who % operators.length];
        kind %= 9;
        if (kind == 0) {
            if (block.timestamp < staking.nextPauseAt()) return;
            vm.prank(guardian);
            staking.pause(uint32(value % 2 days + 1));
        } else if (kind == 1) {
            vm.prank(governor);
            staking.setDelegationRatio(uint8(value % 20 + 1));
        } else if (kind == 8) {
            vm.prank(operators[who % 2]);
            staking.setMaxDelegated(value % 3 == 0 ? uint96(value % 1e24) : type(uint96).max);
        } else if (kind < 4) {
            vm.prank(operators[who % 2]);
            staking.setCommission(Ppm.wrap(uint32(value % 1_000_001)));
        } else if (kind < 6) {
            uint256 expected = staking.operatorRecord(operator).earned;
            vm.prank(operator);
            uint256 amount = staking.withdrawEarnings();
            _check(amount == expected, "earnings are paid in full");
            paid += amount;
        } else {
            uint256 gift = bound(value, 1, 1e24);
            _fundFor(address(this), gift);
            tide.transfer(address(staking), gift);
            donated += gift;
        }
    }

    function wait(uint256 time) external {
        // Boundaries of thaws more often than chance would have them.
        if (time % 3 == 0 && requests.length > 0) {
            uint256 end = requests[time % requests.length].end;
            if (end > block.timestamp + 1) {
                vm.warp(end - time % 2);
                _settle();
                return;
            }
        }
        skip(time % 10 days);
        _settle();
    }

    // ------------------------------------------------------------------------------------- for the invariants

    function requestCount() external view returns (uint256) {
        return requests.length;
    }

    function operatorCount() external view returns (uint256) {
        return operators.length;
    }

    function holderCount() external view returns (uint256) {
        return holders.length;
    }

    // -------------------------------------------------------------------------------------------------- within

    function _slash(Attempt memory a) private {
        GhostCase storage ghost = _cases[keccak256(abi.encode(a.slasher, a.role, a.operator, a.caseId))];
        IProviderStaking.Reach memory reach = _reach[a.slasher][a.role];
        uint256 own = _ownOf(a);
        uint256 delegated = staking.slashable(a.role, a.operator) - own;
        uint256 all = delegated;
        if (!ghost.isFixed) {
            ghost.ownBound = _max(ghost.ownBound, reach.own.mulDown(own + ghost.ownTaken));
            ghost.delegatedBound = _max(ghost.delegatedBound, reach.delegated.mulDown(delegated + ghost.delegatedTaken));
        }
        own = _min(a.amount, _min(own, ghost.ownBound - ghost.ownTaken));
        delegated = _min(a.amount - own, _min(delegated, ghost.delegatedBound - ghost.delegatedTaken));

        // Of what left for other providers the same part; that is burned later.
        uint256 moved = all == 0 ? 0 : delegated * staking.stakeOf(a.role, a.operator).moved / all;
        ghost.ownTaken += own;
        ghost.delegatedTaken += delegated;
        delegated -= moved;
        _slashOf(a, own, delegated, own + delegated + moved > 0);
    }

    function _slashOf(Attempt memory a, uint256 own, uint256 delegated, bool counts) private {
        uint256 supply = tide.totalSupply();
        uint256 before = tide.balanceOf(a.slasher);
        uint256 count = staking.slashCount();
        vm.prank(a.slasher);
        (uint256 ownTaken, uint256 delegatedTaken) = staking.slash(a.role, a.operator, a.amount, a.caseId);
        _check(ownTaken == own, "a slash takes what there is of the bond, within its case's bound and its kind");
        _check(delegatedTaken == delegated, "and then of the delegations, within theirs");
        _check(tide.balanceOf(a.slasher) - before == own + delegated, "what is slashed is paid");
        _check(staking.slashCount() - count == (counts ? 1 : 0), "losses are counted");
        _check(tide.totalSupply() == supply, "a slash burns nothing");
        slashed += own + delegated;
    }

    function _entered(PoolId pool, address who, uint256 preview, uint256 shares, uint256 before, uint256 amount)
        private
    {
        _check(shares == preview && shares > 0, "an entry gives exactly the preview");
        _check(before - tide.balanceOf(who) == amount, "an entry pulls exactly the amount");
        _check(staking.valueOf(pool, who) <= type(uint96).max, "a value is a sum of money");
        _check(block.timestamp >= staking.pausedUntil(), "no entry during a pause");
        if (_firstEntries[pool][who] == 0) _firstEntries[pool][who] = block.timestamp;
        pulled += amount;
    }

    function _left(PoolId pool, address who, uint256 least, uint256 most, ThawId id, uint256 amount) private {
        _check(amount >= least && amount <= most, "an exit sets aside what the shares were worth");
        _remember(id, pool, who);
    }

    function _remember(ThawId id, PoolId pool, address who) private {
        if (ThawId.unwrap(id) == 0) return;
        IProviderStaking.ThawRequest memory request = staking.thawRequest(id);
        _check(request.owner == who, "nobody fills another's request list");
        _check(request.end == block.timestamp + THAW, "a thaw lasts its period");
        requests.push(Request(id, pool, who, request.end, 0, false, false));
    }

    // Notes the value of each request whose time is over; from then on it must not change.
    function _settle() private {
        for (uint256 i = 0; i < requests.length; ++i) {
            if (requests[i].isFinal || block.timestamp < requests[i].end) continue;
            requests[i].finalValue = staking.thawRequest(requests[i].id).value;
            requests[i].isFinal = true;
        }
    }

    function _valuesIn(PoolId pool) internal view returns (uint256[] memory values) {
        values = new uint256[](holders.length);
        for (uint256 i = 0; i < holders.length; ++i) {
            values[i] = staking.valueOf(pool, holders[i]);
        }
    }

    function _notLowered(PoolId pool, uint256[] memory before, address mover) internal {
        for (uint256 i = 0; i < holders.length; ++i) {
            if (holders[i] == mover) continue;
            _check(staking.valueOf(pool, holders[i]) >= before[i], "nobody's entry or exit lowers another's value");
        }
    }

    // All that lies under an operator's name.
    function _heldBy(address operator) private view returns (uint256 sum) {
        sum = staking.operatorRecord(operator).earned;
        for (uint8 kind = 0; kind < 3; ++kind) {
            IProviderStaking.PoolState memory p = staking.poolOf(toPoolId(PoolKind(kind), operator));
            sum += p.active + p.locked + p.thawing;
        }
    }

    // What the shares are worth; and at most what streams, over what doubles the tokens of those who stay, where fewer
    // than a thousandth TIDE's stay. With the last one everything.
    function _exitValue(PoolId pool, uint256 shares) internal view returns (uint256 least, uint256 most) {
        IProviderStaking.PoolState memory p = staking.poolOf(pool);
        least = shares * (p.active + 1) / (p.shares + 1000);
        if (p.shares == shares) return (least, p.active + p.locked);
        uint256 rest = p.active - least;
        most = least;
        if (p.shares - shares < 1e18) most += p.locked - (rest < 1e15 ? 0 : _min(p.locked, rest));
    }

    function _creditTo(address payee, uint96 amount) private {
        amount = uint96(bound(amount, 0, 1e25));
        IProviderStaking.Credit[] memory credits = new IProviderStaking.Credit[](1);
        credits[0] = IProviderStaking.Credit(payee, amount);
        _fundFor(address(this), amount);
        uint256 before = _heldBy(payee);
        uint256 balance = tide.balanceOf(address(staking));
        uint256 total = staking.credit(credits);
        bool isProvider = staking.isRegistered(Role.Provider, payee);
        _check(total == (isProvider ? amount : 0), "pay is pulled for providers alone");
        _check(tide.balanceOf(address(staking)) - balance == total, "rewards credit only tokens that arrived");
        _check(_heldBy(payee) - before == total, "splits sum exactly");
        pulled += total;
    }

    function _donate(address operator, uint256 amount) private {
        amount = bound(amount, 0, 1e25);
        _fundFor(address(this), amount);
        IProviderStaking.PoolState memory p = staking.poolOf(delegationPool(operator));
        uint256 before = _heldBy(operator);
        uint256 earned = staking.operatorRecord(operator).earned;
        uint256 taken = staking.donate(operator, amount);
        _check(taken <= amount && taken <= p.active + p.locked, "a gift at most doubles what is there");
        _check(_heldBy(operator) - before == taken, "and all of it is the delegators'");
        _check(staking.operatorRecord(operator).earned == earned, "without a commission");
        pulled += taken;
    }

    // Whether the entry that comes next must be refused, and tells the test so.
    function _expectRefusal(uint256 preview, uint256 room, uint256 amount) private returns (bool) {
        if (block.timestamp < staking.pausedUntil()) vm.expectPartialRevert(IEntryPause.EntriesArePaused.selector);
        else if (amount > room) vm.expectPartialRevert(IProviderStaking.DelegationOverRoom.selector);
        else if (preview == 0) vm.expectPartialRevert(SharePool.AmountBelowOneShare.selector);
        else return false;
        return true;
    }

    function _roleOf(address operator, uint256 role) private view returns (Role) {
        return Role(staking.isRegistered(Role(role % 2), operator) ? role % 2 : (role + 1) % 2);
    }

    function _part(uint256 held, uint256 part) internal pure returns (uint256) {
        return part % 6 == 0 ? held : bound(part, held > 0 ? 1 : 0, held / 2 + 1 < held ? held / 2 + 1 : held);
    }

    // Somebody who has shares, if anybody has.
    function _holderIn(PoolId pool, uint256 who) internal view returns (address holder) {
        for (uint256 i = 0; i < holders.length; ++i) {
            holder = holders[(who % holders.length + i) % holders.length];
            if (staking.sharesOf(pool, holder) > 0) return holder;
        }
    }

    function _ownOf(Attempt memory a) private view returns (uint256) {
        IProviderStaking.Stake memory stake = staking.stakeOf(a.role, a.operator);
        return stake.bonded + stake.bondThawing;
    }

    function _provider(uint256 where) internal view returns (address) {
        return operators[where % 2];
    }

    // A provider with nothing at stake would have no room: then its bond comes first.
    function _makeRoom(address provider, uint256 amount) internal {
        if (staking.delegationRoom(provider) > amount || block.timestamp < staking.pausedUntil()) return;
        if (staking.previewBond(Role.Provider, provider, amount) == 0) return;
        _fundFor(provider, amount);
        vm.prank(provider);
        staking.bond(Role.Provider, amount);
        pulled += amount;
    }

    function _amount(uint256 amount) private pure returns (uint256) {
        return amount % 5 == 0 ? 1 + amount % 1e4 : bound(amount, 1e15, 1e24);
    }

    function _fundFor(address who, uint256 amount) private {
        deal(address(tide), who, tide.balanceOf(who) + amount, true);
        vm.prank(who);
        tide.approve(address(staking), type(uint256).max);
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }

    function _check(bool holds, string memory what) internal {
        if (!holds && bytes(broken).length == 0) broken = what;
    }
}
