// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ExitQueue} from "../../../src/ExitQueue.sol";
import {LiquidStake} from "../../../src/LiquidStake.sol";
import {ProviderStaking} from "../../../src/ProviderStaking.sol";
import {StTide} from "../../../src/StTide.sol";
import {Tide} from "../../../src/Tide.sol";
import {IEntryPause} from "../../../src/interfaces/IEntryPause.sol";
import {IExitQueue} from "../../../src/interfaces/IExitQueue.sol";
import {ILiquidStake} from "../../../src/interfaces/ILiquidStake.sol";
import {IProviderStaking} from "../../../src/interfaces/IProviderStaking.sol";
import {bondPool, delegationPool} from "../../../src/types/PoolId.sol";
import {Role} from "../../../src/types/Role.sol";
import {ThawId} from "../../../src/types/ThawId.sol";
import {Test} from "forge-std/Test.sol";

/// @notice Random people deposit, leave and wait, providers earn, are slashed and change what they set, and time jumps. What
/// each call must do is checked as it is done, and what fails first is noted in `broken`.
contract LiquidHandler is Test {
    struct World {
        Tide tide;
        ProviderStaking staking;
        StTide share;
        LiquidStake liquid;
        ExitQueue queue;
        address judge;
        address guardian;
    }

    /// @dev Looks round the values of positions down, each by less than a share of its pool: so much may a rate of 10^18
    /// fall without a slash.
    uint256 private constant DUST = 1e9;

    World private w;
    address[] public holders;
    address[] public providers;
    bytes32[] private _cases;
    uint256 private _caseCount;

    /// @notice The first check that failed; empty while all hold.
    string public broken;
    /// @notice What each kind of call came to, so that no run passes for want of them.
    mapping(bytes32 what => uint256) public did;

    constructor(World memory world, address[] memory holders_, address[] memory providers_) {
        (w, holders, providers) = (world, holders_, providers_);
    }

    // ------------------------------------------------------------------------------------------------ calls

    function deposit(uint256 who, uint256 amount, bool byShares) external {
        address holder = _holder(who);
        uint256 most = w.liquid.maxDeposit(holder);
        bool paused = block.timestamp < w.liquid.pausedUntil();
        if (paused) {
            vm.expectPartialRevert(IEntryPause.EntriesArePaused.selector);
            vm.prank(holder);
            w.liquid.deposit(1e18, holder);
            return;
        }
        amount = amount % 5 == 0 ? amount % 1e4 + 1 : bound(amount, 1, 1e24);
        _fundFor(holder, amount + 1e19);
        if (amount > most) {
            vm.expectPartialRevert(ILiquidStake.DepositOverMax.selector);
            vm.prank(holder);
            w.liquid.deposit(amount, holder);
            return;
        }
        uint256 shares = w.liquid.previewDeposit(amount);
        if (shares == 0) return;
        if (byShares) amount = w.liquid.previewMint(shares);
        if (amount > most) return;
        uint256 before = w.tide.balanceOf(holder);
        uint256 rate = w.liquid.rate();
        vm.prank(holder);
        if (byShares) _check(w.liquid.mint(shares, holder) == amount, "mint pulls exactly the preview");
        else _check(w.liquid.deposit(amount, holder) == shares, "deposit gives exactly the preview");
        _check(before - w.tide.balanceOf(holder) == amount, "an entry pulls exactly the preview");
        _rateHolds(rate, "nobody's entry lowers another's value");
        did["deposit"] += 1;
    }

    function leave_(uint256 who, uint256 part, bool byAssets) external {
        address holder = _holder(who);
        uint256 most = byAssets ? w.liquid.maxWithdraw(holder) : w.liquid.maxRedeem(holder);
        if (!w.liquid.isCalm()) _check(most == 0, "no informed exits");
        if (most == 0) return;
        uint256 amount = part % 6 == 0 ? most : bound(part, 1, most);
        uint256 rate = w.liquid.rate();
        uint256 before = w.tide.balanceOf(holder);
        uint256 owed = w.liquid.convertToAssets(w.queue.pendingShares());
        if (byAssets) {
            uint256 shares = w.liquid.previewWithdraw(amount);
            vm.prank(holder);
            _check(w.liquid.withdraw(amount, holder, holder) == shares, "withdraw burns exactly the preview");
            _check(w.tide.balanceOf(holder) - before == amount, "and pays what was asked");
        } else {
            uint256 assets = w.liquid.previewRedeem(amount);
            vm.prank(holder);
            if (amount == 0) return;
            _check(w.liquid.redeem(amount, holder, holder) == assets, "redeem pays exactly the preview");
            _check(w.tide.balanceOf(holder) - before == assets, "and pays it");
        }
        _rateHolds(rate, "nobody's exit lowers another's value");
        _check(w.liquid.state().buffer + 1 >= owed, "the queue is served before the buffer");
        did["exit"] += 1;
    }

    function request(uint256 who, uint256 part) external {
        address holder = _holder(who);
        uint256 held = w.share.balanceOf(holder);
        if (held < 1e15) return;
        uint256 shares = part % 4 == 0 ? held : bound(part, 1e15, held);
        uint256 rate = w.liquid.rate();
        uint256 worth = w.liquid.convertToAssets(shares);
        uint48 latest = w.queue.latestClaimIfRequestedNow();
        vm.prank(holder);
        uint256 id = w.queue.requestRedeem(shares, holder, holder);
        IExitQueue.Request memory r = w.queue.requestOf(id);
        _check(r.owner == holder && r.shares == shares && r.assets == worth, "a request is what was asked");
        _check(r.latestClaimAt == latest, "and by when");
        _check(w.liquid.rate() == rate, "shares that wait stay shares");
        did["request"] += 1;
    }

    function handOn(uint256 which, uint256 to, bool byToken) external {
        (uint256 last, uint256 done) = w.queue.counts();
        if (last == 0) return;
        uint256 id = which % last + 1;
        IExitQueue.Request memory r = w.queue.requestOf(id);
        if (r.owner == address(0)) return;
        vm.prank(r.owner);
        if (byToken) {
            w.queue.transferFrom(r.owner, _holder(to), id);
        } else {
            if (id <= done) vm.expectPartialRevert(IExitQueue.NotPending.selector);
            w.queue.transferRedeemRequest(id, r.owner, _holder(to));
            if (id <= done) return;
        }
        _check(w.queue.ownerOf(id) == _holder(to), "a request goes to who gets it");
        _check(w.queue.requestOf(id).sharesLeft == r.sharesLeft, "and stays what it is");
        did["hand on"] += 1;
    }

    function finalise(uint256 which) external {
        (uint256 last, uint256 done) = w.queue.counts();
        if (last == done) return;
        uint256 id = done + 1 + which % (last - done);
        IExitQueue.Request memory r = w.queue.requestOf(id);
        uint256 shares = 0;
        uint256 most = 0;
        for (uint256 i = done + 1; i <= id; ++i) {
            shares += w.queue.requestOf(i).shares;
            most += w.queue.requestOf(i).assets;
        }
        uint256 value = _min(most, w.liquid.convertToAssets(shares));
        if (block.timestamp < uint256(r.requestedAt) + w.queue.minWait()) {
            vm.expectPartialRevert(IExitQueue.TooEarly.selector);
        } else if (block.timestamp < r.latestClaimAt && !w.liquid.isCalm()) {
            vm.expectPartialRevert(IExitQueue.CaseOpen.selector);
        } else if (value > w.liquid.state().buffer) {
            vm.expectPartialRevert(ILiquidStake.BufferTooSmall.selector);
        } else {
            uint256 rate = w.liquid.rate();
            uint256 locked = w.queue.finalise(id);
            _check(locked == value, "a batch locks the lesser of what was and what is");
            _rateHolds(rate, "finalising lowers nobody's value");
            did["finalise"] += 1;
            return;
        }
        w.queue.finalise(id);
    }

    function claim(uint256 which) external {
        (uint256 last,) = w.queue.counts();
        if (last == 0) return;
        uint256 id = which % last + 1;
        IExitQueue.Request memory r = w.queue.requestOf(id);
        uint256[] memory ids = new uint256[](1);
        ids[0] = id;
        uint256 before = w.tide.balanceOf(_holder(which));
        if (!r.claimable) vm.expectPartialRevert(IExitQueue.NotClaimable.selector);
        vm.prank(r.owner == address(0) ? _holder(0) : r.owner);
        uint256 assets = w.queue.claim(ids, _holder(which));
        if (!r.claimable) return;
        _check(assets == r.assetsLeft && assets <= r.assets, "a claim pays its own and no more");
        _check(w.tide.balanceOf(_holder(which)) - before == assets, "and pays it");
        _check(w.queue.requestOf(id).owner == address(0), "once");
        did["claim"] += 1;
    }

    // By the standard's calls, which know no requests.
    function claimInPart(uint256 who, uint256 part, bool byAssets) external {
        address holder = _holder(who);
        uint256 shares = w.queue.maxRedeem(holder);
        uint256 assets = w.queue.maxWithdraw(holder);
        uint256 most = byAssets ? assets : shares;
        uint256 amount = most == 0 ? 0 : bound(part, 1, most);
        uint256 before = w.tide.balanceOf(holder);
        vm.prank(holder);
        uint256 other = byAssets ? w.queue.withdraw(amount, holder, holder) : w.queue.redeem(amount, holder, holder);
        uint256 got = byAssets ? amount : other;
        _check(w.tide.balanceOf(holder) - before == got, "a part is paid");
        _check(w.queue.maxWithdraw(holder) == assets - got, "and off what is left, to the wei");
        _check(w.queue.maxRedeem(holder) == shares - (byAssets ? other : amount), "as the shares are");
        if (amount > 0) did["claim in part"] += 1;
    }

    function sweep(uint256 which) external {
        (uint256 last,) = w.queue.counts();
        if (last == 0) return;
        uint256 rate = w.liquid.rate();
        try w.queue.sweep(which % last + 1) returns (uint256 amount) {
            _check(amount > 0, "nothing is not swept");
            _rateHolds(rate, "what comes back lowers nobody");
            did["sweep"] += 1;
        } catch (bytes memory reason) {
            _check(bytes4(reason) == IExitQueue.NothingToSweep.selector, "a batch is swept but for its claims");
        }
    }

    function tend(uint256 kind) external {
        uint256 rate = w.liquid.rate();
        kind %= 6;
        if (kind == 0) w.liquid.sync();
        else if (kind == 1) w.liquid.harvest();
        else if (kind == 2) w.liquid.reap();
        else if (kind == 3) w.liquid.spread();
        else if (kind == 4) w.liquid.draw();
        else w.liquid.tend();
        _rateHolds(rate, "tending lowers nobody's value");
        _check(w.liquid.rate() <= rate + DUST, "and earnings come by time alone");
        did["tend"] += 1;
    }

    function earn(uint256 where, uint256 amount, bool byPay) external {
        address provider = _provider(where);
        amount = bound(amount, 0, 1e22);
        _fundFor(address(this), amount);
        uint256 rate = w.liquid.rate();
        w.tide.approve(address(w.staking), amount);
        if (byPay) {
            IProviderStaking.Credit[] memory credits = new IProviderStaking.Credit[](1);
            credits[0] = IProviderStaking.Credit(provider, uint96(amount));
            w.staking.credit(credits);
        } else {
            w.staking.donate(provider, amount);
        }
        _check(w.liquid.rate() == rate, "no reward raises the rate at once");
        did["earn"] += 1;
    }

    // Into the vault, a reward, a look, and out again.
    function sandwich(uint256 who, uint256 where, uint256 amount, uint256 pay) external {
        address holder = _holder(who);
        amount = bound(amount, 1e15, 1e24);
        if (amount > w.liquid.maxDeposit(holder)) return;
        _fundFor(holder, amount);
        vm.prank(holder);
        uint256 shares = w.liquid.deposit(amount, holder);
        pay = bound(pay, 0, 1e24);
        _fundFor(address(this), pay);
        w.tide.approve(address(w.staking), pay);
        w.staking.donate(_provider(where), pay);
        w.liquid.tend();
        if (shares > w.liquid.maxRedeem(holder)) return;
        vm.prank(holder);
        _check(w.liquid.redeem(shares, holder, holder) <= amount, "entering just before a reward earns nothing");
        did["sandwich"] += 1;
    }

    function slash(uint256 where, uint256 size, uint256 kind) external {
        address provider = _provider(where);
        IProviderStaking.Stake memory s = w.staking.stakeOf(Role.Provider, provider);
        uint256 own = s.bonded + s.bondThawing;
        uint256 theirs = w.staking.slashable(Role.Provider, provider) - own;
        uint256 amount = kind % 16 == 0 ? type(uint96).max : own + bound(size, 0, theirs / (kind % 4 == 0 ? 2 : 40));
        uint256 buffer = w.liquid.state().buffer;
        uint256 locked = w.queue.lockedAssets();
        uint256 worth = w.liquid.totalAssets() + w.liquid.state().streaming;
        vm.prank(w.judge);
        (uint256 ownTaken, uint256 taken) =
            w.staking.slash(Role.Provider, provider, amount, keccak256(abi.encode("slash", _caseCount++)));
        uint256 lost = worth - w.liquid.totalAssets() - w.liquid.state().streaming;
        _check(lost <= taken + 10, "no more is lost than was slashed");
        _check(w.liquid.state().buffer == buffer && w.queue.lockedAssets() == locked, "a slash reaches stake alone");
        // The bond comes back, so that there is something to take next time.
        if (ownTaken > 0 && kind % 3 != 0) {
            vm.prank(w.judge);
            w.tide.transfer(provider, ownTaken);
            if (block.timestamp >= w.staking.pausedUntil()) {
                vm.prank(provider);
                w.staking.bond(Role.Provider, ownTaken);
            }
        }
        if (taken > 0) did["slash"] += 1;
    }

    function openOrClose(uint256 where, bool open) external {
        address provider = _provider(where);
        if (open) {
            if (w.staking.standingOf(Role.Provider, provider).openCases > 0) return;
            bytes32 id = keccak256(abi.encode(provider, _caseCount++));
            vm.prank(w.judge);
            w.staking.openCase(Role.Provider, provider, id);
            _cases.push(id);
            did["case"] += 1;
        } else if (_cases.length > 0) {
            bytes32 id = _cases[_cases.length - 1];
            for (uint256 i = 0; i < providers.length; ++i) {
                IProviderStaking.CasePhase phase = w.staking.caseOf(w.judge, Role.Provider, providers[i], id).phase;
                if (phase != IProviderStaking.CasePhase.Open) continue;
                vm.prank(w.judge);
                w.staking.closeCase(Role.Provider, providers[i], id);
            }
            _cases.pop();
        }
    }

    function onTheSide(uint256 kind, uint256 who, uint256 value) external {
        address provider = _provider(who);
        kind %= 6;
        uint256 rate = w.liquid.rate();
        if (kind == 0) {
            if (block.timestamp < w.liquid.nextPauseAt()) return;
            vm.prank(w.guardian);
            w.liquid.pause(uint32(value % 2 days + 1));
        } else if (kind == 1) {
            vm.prank(provider);
            w.staking.setMaxDelegated(value % 2 == 0 ? uint96(value % 1e24) : type(uint96).max);
        } else if (kind == 2) {
            uint256 shares = w.staking.sharesOf(bondPool(Role.Provider, provider), provider);
            if (shares == 0) return;
            vm.prank(provider);
            w.staking.unbond(Role.Provider, bound(value, 1, shares));
        } else if (kind == 3) {
            _fundFor(provider, 1e24);
            if (block.timestamp < w.staking.pausedUntil()) return;
            vm.prank(provider);
            w.staking.bond(Role.Provider, 1e24);
        } else if (kind == 4) {
            uint256 gift = bound(value, 1, 1e24);
            _fundFor(address(this), gift);
            w.tide.transfer(value % 2 == 0 ? address(w.liquid) : address(w.queue), gift);
            given[value % 2 == 0 ? address(w.liquid) : address(w.queue)] += gift;
        } else {
            _recapitalise();
            return;
        }
        _check(w.liquid.rate() == rate, "no gift and no setting of a provider changes the rate");
    }

    /// @notice What was sent to a contract by plain transfer.
    mapping(address to => uint256) public given;

    function wait(uint256 time) external {
        uint256 rate = w.liquid.rate();
        uint256 room = w.liquid.state().streaming;
        uint256 passed = time % 5 == 0 ? time % 40 days : time % 3 days;
        skip(passed);
        _check(w.liquid.rate() >= rate, "time lowers nobody's value");
        if (room == 0) _check(w.liquid.rate() == rate, "what does not stream does not come");
    }

    // ------------------------------------------------------------------------------------- for the invariants

    function holderCount() external view returns (uint256) {
        return holders.length;
    }

    // -------------------------------------------------------------------------------------------------- within

    function _recapitalise() private {
        uint256 supply = w.share.totalSupply();
        uint256 assets = w.liquid.totalAssets();
        if (assets * 1000 >= supply) {
            vm.expectPartialRevert(ILiquidStake.RecapitalisationInvalid.selector);
            w.liquid.recapitalise(1e18);
            return;
        }
        uint256 least = (supply + 999) / 1000 - assets;
        _check(w.liquid.maxDeposit(address(this)) == 0, "nobody enters where a share is worth next to nothing");
        _fundFor(address(this), least);
        w.liquid.recapitalise(least);
        _check(w.liquid.totalAssets() * 1000 >= supply, "a gift opens the entry again");
        did["recapitalise"] += 1;
    }

    function _rateHolds(uint256 before, string memory what) private {
        _check(w.liquid.rate() + DUST >= before, what);
    }

    function _holder(uint256 who) private view returns (address) {
        return holders[who % holders.length];
    }

    function _provider(uint256 where) private view returns (address) {
        return providers[where % providers.length];
    }

    function _fundFor(address who, uint256 amount) private {
        deal(address(w.tide), who, w.tide.balanceOf(who) + amount, true);
        vm.startPrank(who);
        w.tide.approve(address(w.liquid), type(uint256).max);
        w.tide.approve(address(w.staking), type(uint256).max);
        vm.stopPrank();
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function _check(bool holds, string memory what) private {
        if (!holds && bytes(broken).length == 0) broken = what;
    }
}
