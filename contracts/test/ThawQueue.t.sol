// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ThawQueue} from "../src/libraries/ThawQueue.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Test} from "forge-std/Test.sol";

contract QueueHarness {
    using ThawQueue for ThawQueue.Queue;

    uint32 public constant PERIOD = 28 days;

    struct Place {
        uint32 era;
        uint56 index;
    }

    ThawQueue.Queue private _queue;
    Place[] private _places;

    function push(uint256 amount) external returns (uint56) {
        (uint32 era, uint56 index) = _queue.push(amount);
        _places.push(Place(era, index));
        return uint56(_places.length - 1);
    }

    function latestEra() external view returns (uint32) {
        return _queue.latestEra();
    }

    function waiting() public view returns (uint256) {
        return _queue.waitingDown(PERIOD);
    }

    function slash(uint256 taken) external returns (uint32) {
        return _queue.slash(waiting(), taken);
    }

    function request(uint56 index) external view returns (uint48 end, uint256 value) {
        return _queue.valueDown(_places[index].era, _places[index].index, PERIOD);
    }
}

/// @notice Every request by itself, and a loop over all of them for each slash. Tokens have 64 binary digits after
/// the point.
contract NaiveQueue {
    uint256 private constant ONE = 2 ** 64;

    uint256[] private _tokens;
    uint256[] private _ends;

    function push(uint256 amount, uint256 period) external {
        _tokens.push(amount * ONE);
        _ends.push(block.timestamp + period);
    }

    function slash(uint256 taken) external {
        uint256 all = exactWaiting();
        uint256 keep = all > taken * ONE ? all - taken * ONE : 0;
        for (uint256 i = 0; i < _tokens.length; ++i) {
            if (block.timestamp < _ends[i]) {
                _tokens[i] = Math.mulDiv(_tokens[i], keep, all);
            }
        }
    }

    function exactWaiting() private view returns (uint256 sum) {
        for (uint256 i = 0; i < _tokens.length; ++i) {
            if (block.timestamp < _ends[i]) sum += _tokens[i];
        }
    }

    function valueOf(uint256 index) external view returns (uint256) {
        return _tokens[index] / ONE;
    }

    function endOf(uint256 index) external view returns (uint256) {
        return _ends[index];
    }

    function count() external view returns (uint256) {
        return _tokens.length;
    }
}

contract ThawQueueTest is Test {
    QueueHarness private h;

    function setUp() public {
        vm.warp(1_800_000_000);
        h = new QueueHarness();
    }

    function test_a_request_is_worth_its_amount_while_nothing_is_slashed() public {
        uint56 first = h.push(7);
        skip(1);
        uint56 second = h.push(1e27);
        assertEq(valueOf(first), 7);
        assertEq(valueOf(second), 1e27);
        assertEq(h.waiting(), 1e27 + 7);
        skip(h.PERIOD() - 1);
        assertEq(h.waiting(), 1e27, "the first has waited long enough");
        skip(1);
        assertEq(h.waiting(), 0);
        assertEq(valueOf(first), 7);
    }

    function test_requests_of_one_second_stay_apart() public {
        assertEq(h.push(5), 0);
        assertEq(h.push(6), 1);
        assertEq(h.push(7), 2);
        assertEq(valueOf(0), 5);
        assertEq(valueOf(1), 6);
        assertEq(valueOf(2), 7);
        assertEq(h.waiting(), 18);
    }

    function test_a_chain_younger_than_the_period_has_all_requests_waiting() public {
        vm.warp(1000);
        h.push(5);
        skip(100);
        h.push(6);
        assertEq(h.waiting(), 11);
        assertEq(h.slash(11 - 5), 0);
        assertEq(h.waiting(), 4, "five, less what the factor's rounding leaves set aside");
    }

    function testFuzz_slashable_until_the_last_second_and_not_after(uint96 amount, uint96 taken, uint32 when) public {
        amount = uint96(bound(amount, 1, 1e27));
        taken = uint96(bound(taken, 1, amount));
        uint256 start = block.timestamp;
        uint56 index = h.push(amount);
        h.push(1e27);
        // Half of the runs within two seconds of the end.
        uint256 moment = when % 2 == 0 ? start + bound(when, 0, 60 days) : start + h.PERIOD() - 2 + (when >> 1) % 4;
        vm.warp(moment);
        if (moment < start + h.PERIOD()) {
            h.slash(taken);
            assertLe(valueOf(index), amount - uint256(amount) * taken / (uint256(amount) + 1e27));
        } else {
            assertEq(h.waiting(), 0, "nothing is left to slash");
        }
        uint256 then = valueOf(index);
        vm.warp(start + h.PERIOD());
        h.push(1e18);
        h.slash(h.waiting());
        assertEq(valueOf(index), then, "what comes later is none of its business");
    }

    function test_a_total_slash_ends_the_queue_for_those_who_wait_alone() public {
        uint56 over = h.push(10);
        skip(h.PERIOD());
        uint56 waiting_ = h.push(20);
        assertEq(h.slash(20), 5);
        assertEq(valueOf(over), 10);
        assertEq(valueOf(waiting_), 0);
        skip(h.PERIOD());
        assertEq(valueOf(waiting_), 0, "dead for good");
    }

    function test_where_a_factor_keeps_less_than_a_billionth_an_era_ends_and_nothing_else() public {
        uint56 old = h.push(1e27);
        assertEq(h.slash(1e27 - 1e18), 0);
        assertEq(h.waiting(), 1e18);
        skip(1 days);
        uint56 fresh = h.push(1e26);
        assertEq(h.slash(1e20), 1);
        assertApproxEqAbs(valueOf(fresh), 1e26 - 1e20, 1e12);
        assertApproxEqAbs(valueOf(old), 1e18 - 1e12, 1e4);
        assertApproxEqAbs(h.waiting(), 1e26 + 1e18 - 1e20, 2);
        // In the new era, too; and over both until the older one is over.
        uint56 third = h.push(1e26);
        assertApproxEqAbs(valueOf(third), 1e26, 1);
        h.slash(h.waiting() / 2);
        assertApproxEqAbs(valueOf(third), 5e25, 1e18);
        assertApproxEqAbs(valueOf(fresh), 5e25 - 5e19, 1e18);
        skip(27 days);
        assertApproxEqAbs(h.waiting(), 1e26 - 5e19, 2e18);
        skip(1 days);
        assertEq(h.waiting(), 0);
    }

    function test_the_last_wei_of_a_queue_outlives_two_eras_and_not_five() public {
        uint56 old = h.push(1e27);
        assertEq(h.slash(1e27 - 1), 2);
        assertEq(valueOf(old), 1);
        h.push(1e27 - 1);
        assertEq(h.slash(1e27 - 1), 3);
        assertEq(valueOf(old), 0);
        assertEq(h.latestEra(), 5);
        assertEq(h.waiting(), 0, "a fraction of a wei each");
        assertEq(valueOf(h.push(7)), 7);
        assertEq(h.slash(7), 5);
        assertEq(valueOf(h.push(7)), 7);
        assertEq(h.waiting(), 7);
    }

    function testFuzz_every_request_is_worth_what_a_loop_says(uint256[40] calldata steps) public {
        NaiveQueue naive = new NaiveQueue();
        uint256 slashes = 0;
        uint256 setAside = 0;
        uint256[] memory frozen = new uint256[](steps.length);
        for (uint256 i = 0; i < steps.length; ++i) {
            uint256 kind = steps[i] % 3;
            uint256 size = (steps[i] >> 64) % 1e27;
            if (kind == 0) {
                size = 1 + size >> (steps[i] >> 8) % 90;
                if (size == 0) continue;
                h.push(size);
                naive.push(size, h.PERIOD());
                setAside += size;
            } else if (kind == 1) {
                uint256 all = h.waiting();
                if (all == 0) continue;
                uint256 taken = (steps[i] >> 8) % 4 == 0 ? all - all / (1 + size % 1e6) : size % (all + 1);
                // In halves of halves little would be left within thirty slashes; it should not be so in every run.
                if ((steps[i] >> 16) % 4 != 0) taken /= 10;
                ++slashes;
                setAside -= taken;
                naive.slash(taken);
                h.slash(taken);
            } else {
                skip(size % 10 days);
            }
            compare(naive, slashes, setAside, frozen);
        }
    }

    function compare(NaiveQueue naive, uint256 slashes, uint256 setAside, uint256[] memory frozen) private view {
        uint256 sum = 0;
        uint256 waiting = 0;
        for (uint56 i = 0; i < naive.count(); ++i) {
            (uint48 end, uint256 value) = h.request(i);
            assertEq(end, naive.endOf(i), "the end of a thaw never changes");
            uint256 expected = naive.valueOf(i);
            assertApproxEqAbs(value, expected, 2 + 2 * slashes + expected / 1e12, "value");
            if (block.timestamp >= end) {
                if (frozen[i] == 0) frozen[i] = value + 1;
                assertEq(frozen[i], value + 1, "nor does its value after it");
            } else {
                waiting += value;
            }
            sum += value;
        }
        assertLe(sum, setAside, "all can be paid");
        assertLe(waiting, h.waiting(), "all that wait are counted");
        assertLe(h.waiting(), setAside);
    }

    function valueOf(uint56 index) private view returns (uint256 value) {
        (, value) = h.request(index);
    }
}
