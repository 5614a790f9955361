// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {SharePool} from "../src/libraries/SharePool.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Test} from "forge-std/Test.sol";

/// @notice The library behind calls, so that its reverts can be expected. It keeps who holds which shares.
contract PoolHarness {
    using SharePool for SharePool.Pool;

    uint32 public constant STREAM = 7 days;

    SharePool.Pool private _pool;
    mapping(uint256 holder => uint256) private _shares;
    mapping(uint256 holder => uint32) private _eras;

    function enter(uint256 holder, uint256 amount) external returns (uint256 shares) {
        shares = _pool.enter(amount);
        _shares[holder] = sharesOf(holder) + shares;
        _eras[holder] = _pool.era;
    }

    function exit(uint256 holder, uint256 shares) external returns (uint256 amount, uint256 left) {
        _shares[holder] = sharesOf(holder) - shares;
        _eras[holder] = _pool.era;
        return _pool.exit(shares);
    }

    function reward(uint256 amount) external returns (uint256) {
        return _pool.reward(amount, STREAM);
    }

    function slash(uint256 amount, uint256 thawing) external returns (SharePool.Taken memory) {
        return _pool.slash(amount, thawing);
    }

    function accrue() external {
        _pool.accrue();
    }

    function pool() public view returns (SharePool.Pool memory) {
        return _pool.accrued();
    }

    function sharesOf(uint256 holder) public view returns (uint256) {
        return SharePool.afterErasDown(_shares[holder], _pool.era - _eras[holder]);
    }

    function valueOf(uint256 holder) external view returns (uint256) {
        SharePool.Pool memory p = pool();
        return SharePool.toTokensDown(sharesOf(holder), p.active, p.shares);
    }
}

/// @notice What a pool means, said in the plainest way: everybody's tokens in a list, and a loop over it for
/// everything. Tokens have 64 binary digits after the point.
contract NaivePool {
    uint256 public constant HOLDERS = 4;
    uint256 private constant ONE = 2 ** 64;

    uint256[HOLDERS] private _tokens;
    uint256 private _locked;
    uint256 private _thawing;
    uint256 private _end;
    uint256 private _since;

    function enter(uint256 holder, uint256 amount) external {
        stream();
        _tokens[holder] += amount * ONE;
    }

    function exit(uint256 holder, uint256 part, uint256 whole) external {
        stream();
        uint256 out = Math.mulDiv(_tokens[holder], part, whole);
        _tokens[holder] -= out;
        _thawing += out;
    }

    // How a wei of dust weighs in the average moves the end a little; within that it is taken as given.
    function reward(uint256 amount, uint256 period, uint256 end) external {
        stream();
        uint256 rest = _locked == 0 ? 0 : _end - block.timestamp;
        _end = block.timestamp + (_locked / ONE * rest + amount * period) / (_locked / ONE + amount);
        uint256 dust = 1 + 2 * period / amount;
        require(end <= _end + dust && _end <= end + dust, "the stream ends when it should");
        _end = end;
        _locked += amount * ONE;
        _since = block.timestamp;
    }

    function slash(uint256 amount) external {
        stream();
        uint256 all = total();
        if (all == 0) return;
        uint256 keep = amount * ONE >= all ? 0 : all - amount * ONE;
        for (uint256 i = 0; i < HOLDERS; ++i) {
            _tokens[i] = Math.mulDiv(_tokens[i], keep, all);
        }
        _locked = Math.mulDiv(_locked, keep, all);
        _thawing = Math.mulDiv(_thawing, keep, all);
    }

    function stream() public {
        if (_locked == 0) return;
        uint256 arrived =
            block.timestamp >= _end ? _locked : Math.mulDiv(_locked, block.timestamp - _since, _end - _since);
        uint256 all = 0;
        for (uint256 i = 0; i < HOLDERS; ++i) {
            all += _tokens[i];
        }
        for (uint256 i = 0; i < HOLDERS; ++i) {
            if (all > 0) _tokens[i] += Math.mulDiv(arrived, _tokens[i], all);
        }
        _locked -= arrived;
        _since = block.timestamp;
    }

    function die() external {
        delete _tokens;
        _locked = 0;
    }

    // What streams to few is theirs as far as it doubles what they hold, if that is anything to speak of.
    function trimLocked(bool anything) external {
        uint256 active = total() - _locked - _thawing;
        _locked = anything ? Math.min(_locked, active) : 0;
    }

    function tokensOf(uint256 holder) external view returns (uint256) {
        return _tokens[holder] / ONE;
    }

    function locked() external view returns (uint256) {
        return _locked / ONE;
    }

    function thawing() external view returns (uint256) {
        return _thawing / ONE;
    }

    function total() public view returns (uint256 sum) {
        for (uint256 i = 0; i < HOLDERS; ++i) {
            sum += _tokens[i];
        }
        sum += _locked + _thawing;
    }
}

contract SharePoolTest is Test {
    PoolHarness private h;
    // By how many trillionths of the pool rounding, and the virtual shares, may have moved its parts.
    uint256 private coarse;

    function setUp() public {
        vm.warp(1_800_000_000);
        h = new PoolHarness();
    }

    // ------------------------------------------------------------------------------------------- one by one

    function test_the_first_price_is_a_thousand_shares_a_wei() public {
        assertEq(h.enter(0, 5), 5_000);
        assertEq(h.valueOf(0), 5);
        (uint256 amount, uint256 left) = h.exit(0, 5_000);
        assertEq(amount, 5);
        assertEq(left, 0);
    }

    function test_less_than_a_share_is_refused() public {
        h.enter(0, 1e15);
        h.reward(1e27);
        skip(h.STREAM());
        // A share is worth a billion wei now, the most that it can be.
        vm.expectRevert(abi.encodeWithSelector(SharePool.AmountBelowOneShare.selector, 9e8));
        h.enter(1, 9e8);
        assertEq(h.enter(1, 1.1e9), 1);
    }

    function test_rewards_are_for_pools_of_a_thousandth_tide() public {
        h.enter(0, 1e15 - 1);
        assertEq(h.reward(1e18), 0);
        h.enter(0, 1);
        assertEq(h.reward(1e27), 1e27);
    }

    function test_few_shares_that_hold_real_tokens_are_rewarded_up_to_twice_those() public {
        dearShares();
        assertLt(h.pool().shares, 1e18);
        assertEq(h.pool().locked, 0);
        uint256 active = h.pool().active;
        assertGt(active, 1e23);
        assertEq(h.reward(active / 4), active / 4);
        assertEq(h.reward(active), active - active / 4, "the rest of as much again");
        assertEq(h.reward(1), 0);
        skip(7 days);
        assertEq(h.reward(3 * active), 2 * active, "and each stream anew");
    }

    function test_of_a_stream_few_shares_keep_what_doubles_their_tokens() public {
        h.enter(0, 1e15);
        h.enter(1, 1e15);
        h.reward(2e24);
        skip(h.STREAM());
        h.exit(1, 5e17);
        h.reward(1e27);
        (, uint256 left) = h.exit(0, 1e18);
        assertEq(h.pool().locked, h.pool().active);
        assertApproxEqRel(h.pool().active, 5e23, 1e12);
        assertEq(left + h.pool().locked, 1e27);
        (, left) = h.exit(1, h.sharesOf(1) - 1e10);
        assertGt(left, 0);
        assertEq(h.pool().locked, h.pool().active, "what these few hold is a hundredth TIDE");
        h.exit(1, h.sharesOf(1));
        assertEq(h.pool().locked, 0);
        assertEq(h.pool().active, 0);
    }

    // What a price, once driven up, does not do to a newcomer: let its rewards pass by.
    function dearShares() private {
        h.enter(0, 1e15);
        h.reward(1e24);
        skip(h.STREAM());
        h.enter(1, 5e23);
        h.exit(0, h.sharesOf(0));
    }

    function test_a_stream_is_linear_and_does_not_end_twice() public {
        h.enter(0, 1e18);
        h.reward(700);
        skip(1 days);
        assertEq(h.pool().locked, 600);
        h.accrue();
        skip(2 days);
        assertEq(h.pool().locked, 400);
        skip(40 days);
        assertEq(h.pool().locked, 0);
        assertEq(h.pool().active, 1e18 + 700);
        h.accrue();
        assertEq(h.pool().active, 1e18 + 700);
    }

    function test_streams_end_at_the_average_by_amount() public {
        h.enter(0, 1e18);
        h.reward(300);
        uint256 start = block.timestamp;
        skip(7 days / 3);
        h.reward(200);
        // 200 with two thirds to go, and 200 with all.
        assertEq(h.pool().streamEnd, start + 7 days / 3 + (7 days * 2 / 3 + 7 days) / 2);
        assertEq(h.pool().locked, 400);
    }

    function test_calls_in_quick_succession_do_not_hold_up_a_stream() public {
        h.enter(0, 1e18);
        h.reward(7 days / 100);
        for (uint256 i = 0; i < 200; ++i) {
            skip(1);
            h.accrue();
        }
        assertEq(h.pool().active, 1e18 + 2, "a wei each hundred seconds");
    }

    function test_rewards_that_stream_to_too_few_shares_are_left_over() public {
        h.enter(0, 1e18);
        h.reward(1e18);
        (uint256 amount, uint256 left) = h.exit(0, h.sharesOf(0) - 1e17);
        assertEq(left, 1e18);
        assertEq(h.pool().locked, 0);
        assertEq(amount + h.pool().active, 1e18);
    }

    function testFuzz_a_slash_takes_exactly_what_it_clips_to(uint96 a, uint96 l, uint96 t, uint128 amount) public {
        a = uint96(bound(a, 0, 1e27));
        t = uint96(bound(t, 0, 1e27));
        l = uint96(bound(l, 0, 1e27));
        if (t > 0) {
            h.enter(1, t);
            h.exit(1, h.sharesOf(1));
        }
        if (a > 0) h.enter(0, a);
        h.reward(l);
        SharePool.Pool memory before = h.pool();
        uint256 all = uint256(before.active) + before.locked + before.thawing;
        SharePool.Taken memory taken = h.slash(amount, before.thawing);
        uint256 x = amount < all ? amount : all;
        assertEq(taken.active + taken.locked + taken.thawing, x);
        SharePool.Pool memory p = h.pool();
        assertEq(uint256(p.active) + p.locked + p.thawing, all - x, "and burns nothing");
        if (all > 0) {
            assertApproxEqAbs(taken.active, x * before.active / all, 2);
            assertApproxEqAbs(taken.locked, x * before.locked / all, 2);
            assertEq(taken.thawing, x * before.thawing / all, "rounded in favour of the thaws");
        }
        assertEq(taken.erasEnded, p.era);
        assertEq(p.shares, SharePool.afterErasDown(before.shares, p.era));
        if (before.shares > 0) assertEq(p.era == 7, p.active == 0);
        if (p.active == 0) assertEq(p.locked, 0);
        assertLe(h.valueOf(0), p.active);
        // As at the first price, the virtual shares' part is a wei.
        if (before.shares > 0) assertGe(h.valueOf(0) + 2, p.active);
    }

    function test_a_pool_without_anything_can_be_slashed() public {
        SharePool.Taken memory taken = h.slash(type(uint256).max, 0);
        assertEq(taken.active + taken.locked + taken.thawing, 0);
        assertEq(taken.erasEnded, 0);
    }

    function test_an_era_divides_everybodys_shares_and_changes_nobodys_value() public {
        h.enter(0, 3e18);
        h.enter(1, 1e18);
        assertEq(h.slash(4e18 - 4e12 + 100_000, 0).erasEnded, 1);
        assertEq(h.sharesOf(0), 3e15);
        assertEq(h.sharesOf(1), 1e15);
        assertApproxEqAbs(h.valueOf(0), 3e12 - 75_000, 1);
        assertApproxEqAbs(h.valueOf(1), 1e12 - 25_000, 1);
        assertApproxEqAbs(h.enter(2, 1e18), 1e21, 1e15, "newcomers at about the first price");
        // All but two wei: several eras at once.
        h.slash(h.pool().active - 2, 0);
        assertEq(h.pool().active, 2);
        assertGt(h.pool().era, 2);
        assertLe(h.pool().shares + 1e3, 3e9);
        assertGt(h.pool().shares, 0);
        h.slash(2, 0);
        assertEq(h.pool().shares, 0);
        assertEq(h.sharesOf(0), 0);
        assertEq(h.sharesOf(2), 0);
        assertEq(h.enter(2, 5), 5_000);
        assertEq(h.valueOf(2), 5);
    }

    function test_shares_that_rounding_leaves_to_nobody_are_one_for_each_holder_at_most() public {
        h.enter(0, 1e18 + 1);
        h.enter(1, 1e18 + 1);
        h.enter(2, 1e18 + 1);
        for (uint256 i = 0; i < 9; ++i) {
            h.slash(uint256(h.pool().active) * (1e9 - 1) / 1e9, 0);
            for (uint256 k = 0; k < 3; ++k) {
                h.enter(k, 1e18 + 3 ** i);
            }
            assertLe(h.pool().shares - h.sharesOf(0) - h.sharesOf(1) - h.sharesOf(2), 3);
        }
        assertGt(h.pool().era, 8);
        for (uint256 k = 0; k < 3; ++k) {
            h.exit(k, h.sharesOf(k));
        }
        assertLe(h.pool().shares, 3);
        assertLe(h.pool().active, 3, "nor do they hold anything");
        h.enter(0, 1e18);
        assertApproxEqAbs(h.valueOf(0), 1e18, 1);
    }

    // ---------------------------------------------------------------------------------- against the naive pool

    function testFuzz_everybody_has_what_a_list_of_holders_says(uint256[32] calldata steps) public {
        NaivePool naive = new NaivePool();
        for (uint256 i = 0; i < steps.length; ++i) {
            step(naive, steps[i]);
            naive.stream();
            SharePool.Pool memory p = h.pool();
            assertLe(p.shares + 1e3, 1e9 * (uint256(p.active) + 1), "the ratio is bounded");
            if (p.era == 0 && p.shares < 1e18) {
                assertLe(p.locked, uint256(p.active) + 2 * i, "a stream doubles few shares at most");
            }
            // Of what is paid to few shares that hold much, the virtual ones' part can be seen.
            if (p.shares > 0 && p.shares < 1e18 && p.active >= 1e15) coarse += 1e15 / p.shares;
            uint256 sum = 0;
            uint256 share = Math.mulDiv(uint256(p.active) + p.locked + p.thawing, coarse, 1e12);
            for (uint256 k = 0; k < naive.HOLDERS(); ++k) {
                close(h.valueOf(k), naive.tokensOf(k), share, "a holder");
                sum += h.valueOf(k);
            }
            assertLe(sum, p.active, "nobody owns what is not there");
            close(p.locked, naive.locked(), share, "locked");
            close(p.thawing, naive.thawing(), share, "thawing");
        }
    }

    function step(NaivePool naive, uint256 seed) private {
        uint256 who = seed % naive.HOLDERS();
        uint256 kind = (seed >> 8) % 6;
        uint256 size = (seed >> 128) % 1e26;
        if (kind < 2) {
            size = bound(size, 1e15, 1e26);
            h.enter(who, size);
            naive.enter(who, size);
        } else if (kind == 2) {
            uint256 held = h.sharesOf(who);
            if (held == 0) return;
            uint256 out = (seed >> 16) % 4 == 0 ? held : 1 + size % held;
            h.exit(who, out);
            naive.exit(who, out, held);
            if (h.pool().shares < 1e18) naive.trimLocked(h.pool().active >= 1e15);
            if (h.pool().shares == 0) naive.die();
        } else if (kind == 3) {
            size = h.reward(size);
            if (size > 0) naive.reward(size, h.STREAM(), h.pool().streamEnd);
        } else if (kind == 4) {
            SharePool.Pool memory p = h.pool();
            uint256 all = uint256(p.active) + p.locked + p.thawing;
            // A third of the slashes take nearly everything.
            uint256 amount = (seed >> 16) % 3 == 0 ? all - all / (1 + size % 1e9) : size % (all + 1);
            SharePool.Taken memory taken = h.slash(amount, p.thawing);
            if (amount > 0) naive.slash(amount);
            if (taken.erasEnded == 7) naive.die();
            // Where so little is left, a stream that comes to it is shared by what wei were rounded to.
            else if (taken.erasEnded > 0) coarse += 1e13 / h.pool().active;
        } else {
            skip(size % 10 days);
        }
    }

    // Within a few wei and a trillionth: shares that nobody holds have a part in rewards, and a share can come to be
    // worth a billion wei.
    function close(uint256 real, uint256 naive, uint256 share, string memory what) private pure {
        assertApproxEqAbs(real, naive, 2e9 + naive / 1e12 + share, what);
    }
}
