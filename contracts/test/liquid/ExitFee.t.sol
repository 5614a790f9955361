// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ExitFee} from "../../src/libraries/ExitFee.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {Test} from "forge-std/Test.sol";

/// @notice The fee of instant exits by itself, against the integral summed in small steps.
contract ExitFeeTest is Test {
    using ExitFee for ExitFee.Curve;

    function test_the_fee_is_the_integral_of_the_marginal_rate() public pure {
        ExitFee.Curve memory c = ExitFee.Curve(Ppm.wrap(10_000), Ppm.wrap(50_000), 1_000e18);
        // 500 over the target at 1 %, then 1,000 at 3 % in the middle.
        assertEq(c.feeUp(1_500e18, 500e18), 5e18);
        assertEq(c.feeUp(1_000e18, 1_000e18), 30e18);
        assertEq(c.feeUp(1_500e18, 1_500e18), 35e18);
        // The half that is left is dearer than the half that went.
        assertEq(c.feeUp(1_000e18, 500e18), 10e18);
        assertEq(c.feeUp(500e18, 500e18), 20e18);
        assertEq(c.feeUp(0, 0), 0);
        // More than there is, at the last wei's rate.
        assertEq(c.feeUp(0, 100e18), 5e18);
    }

    function testFuzz_splitting_gains_nothing(
        uint96 target,
        uint96 buffer,
        uint96 a,
        uint96 b,
        uint32 least,
        uint32 most
    ) public pure {
        (ExitFee.Curve memory c, uint256 there) = curve(target, buffer, least, most);
        uint256 first = bound(a, 0, there);
        uint256 second = bound(b, 0, there - first);
        uint256 together = c.feeUp(there, first + second);
        uint256 apart = c.feeUp(there, first) + c.feeUp(there - first, second);
        assertGe(apart, together);
        assertLe(apart, together + 1);
    }

    function testFuzz_what_is_taken_and_its_fee_never_exceed_what_is_given(
        uint96 target,
        uint96 buffer,
        uint96 gross,
        uint32 least,
        uint32 most
    ) public pure {
        (ExitFee.Curve memory c, uint256 there) = curve(target, buffer, least, most);
        uint256 net = c.netDown(there, gross);
        assertLe(net, there);
        assertLe(net + c.feeUp(there, net), gross);
        // And is nearly the most: a part in 10^15 and two wei more would cost too much, or there is no more.
        uint256 more = net + net / 1e15 + 2;
        if (more <= there) assertGt(more + c.feeUp(there, more), gross);
    }

    function testFuzz_the_fee_grows_with_what_is_taken_and_with_how_little_is_there(
        uint96 target,
        uint96 buffer,
        uint96 a,
        uint96 less,
        uint32 least,
        uint32 most
    ) public pure {
        (ExitFee.Curve memory c, uint256 there) = curve(target, buffer, least, most);
        uint256 taken = bound(a, 0, there);
        uint256 emptier = bound(less, taken, there);
        assertLe(c.feeUp(there, taken), c.feeUp(emptier, taken));
        assertGe(c.feeUp(there, taken), taken * Ppm.unwrap(c.least) / 1e6);
        assertLe(c.feeUp(there, taken), taken * Ppm.unwrap(c.most) / 1e6 + 1);
    }

    function curve(uint96 target, uint96 buffer, uint32 least, uint32 most)
        private
        pure
        returns (ExitFee.Curve memory, uint256)
    {
        least = uint32(bound(least, 0, 50_000));
        most = uint32(bound(most, least, 100_000));
        // No more than all TIDE.
        return (ExitFee.Curve(Ppm.wrap(least), Ppm.wrap(most), bound(target, 1, 1e27)), bound(buffer, 0, 1e27));
    }
}
