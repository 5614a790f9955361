// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ProviderStaking} from "../../../src/ProviderStaking.sol";
import {Tide} from "../../../src/Tide.sol";
import {IProviderStaking} from "../../../src/interfaces/IProviderStaking.sol";
import {PoolId, PoolKind, bondPool, delegationPool, toPoolId} from "../../../src/types/PoolId.sol";
import {Ppm} from "../../../src/types/Ppm.sol";
import {Role} from "../../../src/types/Role.sol";
import {ThawId} from "../../../src/types/ThawId.sol";
import {Test} from "forge-std/Test.sol";

/// @notice Random people do everything in random order while time jumps. What each call must do is checked here, as
/// it is done; what must hold always is checked in Staking.invariants.t.sol. A check that fails is noted in `broken`
/// rather than reverted, since a revert of a handler is not a failure.
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
        uint256 bound;
        uint256 taken;
    }

    struct Attempt {
        address slasher;
        address operator;
        Role role;
        uint256 amount;
        bytes32 caseId;
    }

    uint32 private constant THAW = 28 days;

    ProviderStaking private immutable staking;
    Tide private immutable tide;
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

    mapping(bytes32 key => GhostCase) private _cases;
    mapping(address slasher => mapping(Role role => uint256)) private _reach;

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
                _reach[slashers_[i]][Role(role)] = Ppm.unwrap(staking_.slasherReach(slashers_[i], Role(role)));
            }
        }
    }

    // ------------------------------------------------------------------------------------------------ calls

    function bond(uint256 who, uint256 role, uint256 amount) external {
        address operator = operators[who % operators.length];
        if (!staking.isRegistered(Role(role % 2), operator)) role += 1;
        PoolId pool = bondPool(Role(role % 2), operator);
        amount = _amount(amount);
        uint256 preview = staking.previewBond(Role(role % 2), operator, amount);
        _fundFor(operator, amount);
        uint256 before = tide.balanceOf(operator);
        vm.prank(operator);
        uint256 shares = staking.bond(Role(role % 2), amount);
        _entered(pool, operator, preview, shares, before, amount);
    }

    function unbond(uint256 who, uint256 role, uint256 part) external {
        address operator = operators[who % operators.length];
        PoolId pool = bondPool(Role(role % 2), operator);
        uint256 shares = _part(staking.sharesOf(pool, operator), part);
        uint256 value = _valueOf(pool, shares);
        vm.prank(operator);
        (ThawId id, uint256 amount) = staking.unbond(Role(role % 2), shares);
        _left(pool, operator, value, id, amount);
    }

    function delegate(uint256 who, uint256 where, uint256 amount) external {
        address holder = holders[who % holders.length];
        address provider = _provider(where);
        PoolId pool = delegationPool(provider);
        if (amount % 4 == 0) _makeRoom(provider, amount % 1e24 + 1);
        uint256 room = staking.delegationRoom(provider);
        // Mostly what is allowed; what is not must be refused.
        amount = amount % 8 == 0 ? amount % 1e26 : bound(amount, 1, room > 1e26 ? 1e26 : room + 1);
        uint256 preview = staking.previewDelegate(provider, amount);
        uint256[] memory others = _valuesIn(pool);
        _fundFor(holder, amount);
        uint256 before = tide.balanceOf(holder);
        vm.prank(holder);
        uint256 shares = staking.delegate(provider, amount);
        _check(amount <= room, "delegation stays within the ratio");
        _entered(pool, holder, preview, shares, before, amount);
        _notLowered(pool, others, holder);
    }

    function undelegate(uint256 who, uint256 where, uint256 part) external {
        PoolId pool = delegationPool(_provider(where));
        address holder = _holderIn(pool, who);
        uint256 shares = _part(staking.sharesOf(pool, holder), part);
        uint256 value = _valueOf(pool, shares);
        uint256[] memory others = _valuesIn(pool);
        vm.prank(holder);
        try staking.undelegate(_provider(where), shares) returns (ThawId id, uint256 amount) {
            _left(pool, holder, value, id, amount);
            _notLowered(pool, others, holder);
        } catch {
            _check(shares == 0, "an exit works always");
        }
    }

    // Into a pool, a reward, and out again, all in one second.
    function sandwich(uint256 who, uint256 where, uint256 amount, uint96 pay) external {
        address holder = holders[who % holders.length];
        address provider = _provider(where);
        PoolId pool = delegationPool(provider);
        _makeRoom(provider, amount % 1e24 + 1);
        amount = bound(amount, 1, staking.delegationRoom(provider) % 1e26);
        _fundFor(holder, amount);
        vm.prank(holder);
        uint256 shares = staking.delegate(provider, amount);
        pulled += amount;
        this.credit(where, pay);
        vm.prank(holder);
        (ThawId id, uint256 out) = staking.undelegate(provider, shares);
        _check(out <= amount, "delegating just before a reward and leaving just after earns nothing");
        _remember(id, pool, holder);
    }

    function withdraw(uint256 which) external {
        if (requests.length == 0) return;
        Request storage request = requests[which % requests.length];
        ThawId[] memory ids = new ThawId[](1);
        ids[0] = request.id;
        uint256 before = tide.balanceOf(request.owner);
        uint256 value = staking.thawRequest(request.id).value;
        bool due = block.timestamp >= request.end && !request.withdrawn;
        vm.prank(request.owner);
        try staking.withdraw(ids) returns (uint256 amount) {
            _check(due, "not before the end, and once");
            _check(amount == value && tide.balanceOf(request.owner) - before == amount, "what it is worth is paid");
            if (request.isFinal) _check(amount == request.finalValue, "slashable for exactly the window");
            request.withdrawn = true;
            paid += amount;
        } catch {
            _check(!due, "every queued exit completes");
        }
    }

    function credit(uint256 who, uint96 amount) external {
        // One place beyond the operators: pay for nobody.
        uint256 index = who % (operators.length + 1);
        address payee = index == operators.length ? address(0xbad) : operators[index];
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

    function slash(uint256 by, uint256 who, uint256 role, uint256 amount, uint256 caseSeed) external {
        Attempt memory a;
        a.operator = operators[who % operators.length];
        a.role = Role(role % 2);
        // Mostly somebody who may; of two that may, each.
        a.slasher = slashers[by % 8 == 0 ? by % slashers.length : a.role == Role.Provider ? by % 2 : 2];
        a.caseId = bytes32(caseSeed % 2);
        uint256 all = staking.slashable(a.role, a.operator);
        // Some take all, some nearly all; most less, since else nothing would ever grow, and many of those just so
        // much that they reach the delegators.
        uint256 kind = amount % 10;
        if (kind == 0) a.amount = type(uint256).max;
        else if (kind == 1) a.amount = all - all / (1 + amount % 1e10);
        else if (kind < 5) a.amount = bound(amount, 0, all / 10);
        else a.amount = bound(amount, _ownOf(a), _ownOf(a) + (all - _ownOf(a)) / 3);
        _slash(a, all);
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
        _slash(a, all);
    }

    // What needs to happen now and then, in one call, so that stake and slashes have most of them.
    function onTheSide(uint256 kind, uint256 who, uint256 value) external {
        address operator = operators[who % operators.length];
        kind %= 8;
        if (kind == 0) {
            vm.prank(guardian);
            staking.pause(uint32(value % 2 days + 1));
        } else if (kind == 1) {
            vm.prank(governor);
            staking.setDelegationRatio(uint8(value % 20 + 1));
        } else if (kind < 4) {
            vm.prank(operator);
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

    function _slash(Attempt memory a, uint256 all) private {
        GhostCase storage ghost = _cases[keccak256(abi.encode(a.slasher, a.role, a.operator, a.caseId))];
        uint256 reach = _reach[a.slasher][a.role];
        uint256 most = (all + ghost.taken) * reach / 1_000_000;
        if (most > ghost.bound) ghost.bound = most;
        uint256 expected = ghost.bound - ghost.taken;
        if (a.amount < expected) expected = a.amount;
        if (all < expected) expected = all;

        uint256 supply = tide.totalSupply();
        uint256 before = tide.balanceOf(a.slasher);
        vm.prank(a.slasher);
        try staking.slash(a.role, a.operator, a.amount, a.caseId) returns (uint256 taken) {
            _check(taken == expected, "a slash takes what there is, within its case's bound, and its own kind of bond");
            _check(tide.balanceOf(a.slasher) - before == taken, "what is slashed is paid");
            ghost.taken += taken;
            slashed += taken;
            _check(tide.totalSupply() == supply, "a slash burns nothing");
        } catch {
            _check(false, "a slash never reverts");
        }
    }

    function _entered(PoolId pool, address who, uint256 preview, uint256 shares, uint256 before, uint256 amount)
        private
    {
        _check(shares == preview && shares > 0, "an entry gives exactly the preview");
        _check(before - tide.balanceOf(who) == amount, "an entry pulls exactly the amount");
        _check(staking.valueOf(pool, who) <= type(uint96).max, "a value is a sum of money");
        _check(block.timestamp >= staking.pausedUntil(), "no entry during a pause");
        pulled += amount;
    }

    function _left(PoolId pool, address who, uint256 value, ThawId id, uint256 amount) private {
        _check(amount == value, "an exit sets aside what the shares were worth");
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

    function _valuesIn(PoolId pool) private view returns (uint256[] memory values) {
        values = new uint256[](holders.length);
        for (uint256 i = 0; i < holders.length; ++i) {
            values[i] = staking.valueOf(pool, holders[i]);
        }
    }

    function _notLowered(PoolId pool, uint256[] memory before, address mover) private {
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

    function _valueOf(PoolId pool, uint256 shares) private view returns (uint256) {
        IProviderStaking.PoolState memory p = staking.poolOf(pool);
        return shares * (p.active + 1) / (p.shares + 1000);
    }

    function _part(uint256 held, uint256 part) private pure returns (uint256) {
        return part % 6 == 0 ? held : bound(part, held > 0 ? 1 : 0, held / 2 + 1 < held ? held / 2 + 1 : held);
    }

    // Somebody who has shares, if anybody has.
    function _holderIn(PoolId pool, uint256 who) private view returns (address holder) {
        for (uint256 i = 0; i < holders.length; ++i) {
            holder = holders[(who % holders.length + i) % holders.length];
            if (staking.sharesOf(pool, holder) > 0) return holder;
        }
    }

    function _ownOf(Attempt memory a) private view returns (uint256) {
        IProviderStaking.Stake memory stake = staking.stakeOf(a.role, a.operator);
        return stake.bonded + stake.bondThawing;
    }

    // Of eight, seven are providers.
    function _provider(uint256 where) private view returns (address) {
        return where % 8 == 0 ? operators[operators.length - 1] : operators[where % 2];
    }

    // A provider with nothing at stake would have no room: then its bond comes first.
    function _makeRoom(address provider, uint256 amount) private {
        if (staking.delegationRoom(provider) > amount || !staking.isRegistered(Role.Provider, provider)) return;
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

    function _check(bool holds, string memory what) private {
        if (!holds && bytes(broken).length == 0) broken = what;
    }
}
