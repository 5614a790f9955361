// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PermitEntry} from "../../src/PermitEntry.sol";
import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {bondPool} from "../../src/types/PoolId.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {StakingTest} from "../staking/StakingTest.sol";

/// @notice What each call costs, written to snapshots/Staking.json. Every call measured is a transaction of its own
/// (`isolate`): its figure has the 21,000 of the transaction, its calldata and cold slots in it, and refunds are taken
/// off, as a receipt's gasUsed. `tide_transfer` is there for comparison. "first" means that slots are written that
/// were empty; without it somebody else was there before.
/// forge-config: default.isolate = true
contract StakingGas is StakingTest {
    function setUp() public override {
        super.setUp();
        provider(paul, 1_000_000e18, TEN_PERCENT);
    }

    function test_gas_tide() public {
        tide.transfer(address(0xbeef), 1e18);
        vm.snapshotGasLastCall("Staking", "tide_transfer_first");
        tide.transfer(address(0xbeef), 1e18);
        vm.snapshotGasLastCall("Staking", "tide_transfer");
        sanityCheck();
    }

    function test_gas_register() public {
        IProviderStaking.KeyBinding memory keys = keysFor(petra, "key");
        vm.prank(petra);
        staking.registerProvider(METADATA, Ppm.wrap(TEN_PERCENT), keys);
        vm.snapshotGasLastCall("Staking", "register_provider");
        vm.prank(cora);
        staking.registerCoordinator(METADATA);
        vm.snapshotGasLastCall("Staking", "register_coordinator");
        keys = keysFor(petra, "second key");
        vm.prank(petra);
        staking.bindKeys(keys);
        vm.snapshotGasLastCall("Staking", "bind_keys");
        vm.prank(petra);
        staking.setCommission(Ppm.wrap(0));
        vm.snapshotGasLastCall("Staking", "set_commission");
        sanityCheck();
    }

    function test_gas_bond() public {
        registerProvider(petra, 0);
        bond(petra, Role.Provider, 10e18);
        vm.snapshotGasLastCall("Staking", "bond_first");
        bond(petra, Role.Provider, 10e18);
        vm.snapshotGasLastCall("Staking", "bond");
        uint256 half = staking.sharesOf(bondPool(Role.Provider, petra), petra) / 2;
        vm.prank(petra);
        staking.unbond(Role.Provider, half);
        vm.snapshotGasLastCall("Staking", "unbond_first");
        sanityCheck();
    }

    function test_gas_delegate() public {
        delegate(dirk, paul, 10e18);
        vm.snapshotGasLastCall("Staking", "delegate_first_of_pool");
        delegate(dora, paul, 10e18);
        vm.snapshotGasLastCall("Staking", "delegate_first");
        skip(1 hours);
        delegate(dora, paul, 10e18);
        vm.snapshotGasLastCall("Staking", "delegate");
        skip(STREAM);
        credit(paul, 1_000e18);
        skip(1 hours);
        delegate(dora, paul, 10e18);
        vm.snapshotGasLastCall("Staking", "delegate_while_streaming");
        sanityCheck();
    }

    function test_gas_delegate_with_permit() public {
        (address pia, uint256 key) = makeAddrAndKey("pia");
        tide.transfer(pia, 20e18);
        delegate(dora, paul, 10e18);
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 permit = keccak256(abi.encode(typehash, pia, address(staking), 10e18, 0, block.timestamp + 1 hours));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked(hex"1901", tide.DOMAIN_SEPARATOR(), permit)));
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(PermitEntry.permit, (10e18, block.timestamp + 1 hours, v, r, s));
        calls[1] = abi.encodeCall(IProviderStaking.delegate, (paul, 10e18));
        vm.prank(pia);
        staking.multicall(calls);
        vm.snapshotGasLastCall("Staking", "permit_and_delegate_first");
        sanityCheck();
    }

    function test_gas_undelegate_and_withdraw() public {
        delegate(dora, paul, 10e18);
        delegate(dirk, paul, 10e18);
        undelegate(dirk, paul, 1e18);
        vm.snapshotGasLastCall("Staking", "undelegate_first_of_pool");
        skip(1 hours);
        ThawId[] memory ids = new ThawId[](10);
        (ids[0],) = undelegate(dora, paul, 1e20);
        vm.snapshotGasLastCall("Staking", "undelegate");
        for (uint256 i = 1; i < 9; ++i) {
            (ids[i],) = undelegate(dora, paul, 1e20);
        }
        (ids[9],) = undelegateAll(dora, paul);
        vm.snapshotGasLastCall("Staking", "undelegate_all");
        skip(THAW);
        withdraw(dora, ids[0]);
        vm.snapshotGasLastCall("Staking", "withdraw_1");
        ids[0] = ids[9];
        assembly ("memory-safe") {
            mstore(ids, 9)
        }
        vm.prank(dora);
        staking.withdraw(ids);
        vm.snapshotGasLastCall("Staking", "withdraw_9");
        sanityCheck();
    }

    function test_gas_credit() public {
        delegate(dora, paul, 10e18);
        skip(STREAM);
        credit(paul, 1e18);
        vm.snapshotGasLastCall("Staking", "credit_1_first");
        skip(1 hours);
        credit(paul, 1e18);
        vm.snapshotGasLastCall("Staking", "credit_1");
        // Somebody entered of late, so that the past is looked up.
        delegate(dirk, paul, 10e18);
        bond(paul, Role.Provider, 10e18);
        skip(1 hours);
        credit(paul, 1e18);
        vm.snapshotGasLastCall("Staking", "credit_1_after_entries");
        registerProvider(petra, 0);
        credit(petra, 1e18);
        credit(petra, 1e18);
        vm.snapshotGasLastCall("Staking", "credit_1_without_delegators");
        vm.prank(petra);
        staking.withdrawEarnings();
        vm.snapshotGasLastCall("Staking", "withdraw_earnings");
        sanityCheck();
    }

    function test_gas_credit_many() public {
        IProviderStaking.Credit[] memory credits = new IProviderStaking.Credit[](100);
        for (uint256 i = 0; i < credits.length; ++i) {
            address who = makeAddr(string.concat("provider ", vm.toString(i)));
            tide.transfer(who, 1e18);
            registerProvider(who, 0);
            credits[i] = IProviderStaking.Credit(who, 1e18);
        }
        staking.credit(credits);
        vm.snapshotGasLastCall("Staking", "credit_100_first");
        staking.credit(credits);
        vm.snapshotGasLastCall("Staking", "credit_100");
    }

    // The same to the last unit from two on, however many delegators and thaws there are; with a single thaw the
    // newest is the oldest, too, and one cold slot less is read.
    function test_gas_slash_is_the_same_with_1_and_with_1000_delegators_and_thaws() public {
        tide.transfer(judge, 1);
        uint256 one = slashAmong(1, 0, "slash_1_delegator_1_thaw");
        uint256 two = slashAmong(2, 0, "slash_2_delegators_2_thaws");
        uint256 crowd = slashAmong(1000, 0, "slash_1000_delegators_1000_thaws");
        assertEq(crowd, two);
        assertEq(crowd, one + 2000);
    }

    // Where some thaws are over and some wait, the line between them is looked up by halving: a cold read for each
    // doubling of the requests that the pool ever had.
    function test_gas_slash_grows_by_the_logarithm_where_some_thaws_are_over() public {
        tide.transfer(judge, 1);
        uint256 few = slashAmong(2, 1, "slash_2_thaws_half_over");
        uint256 many = slashAmong(1000, 500, "slash_1000_thaws_half_over");
        assertLt(many, few + 13 * 2300);
    }

    // `count` people who delegate and let half of it thaw, a minute apart each, of whom the first `over` are through.
    function slashAmong(uint256 count, uint256 over, string memory name) private returns (uint256) {
        uint256 snapshot = vm.snapshotState();
        // No bond is left before the delegation, so that all of the slash falls on it.
        for (uint256 i = 0; i < count; ++i) {
            address who = address(uint160(0x10000 + i));
            tide.transfer(who, 10e18);
            vm.prank(who);
            tide.approve(address(staking), 10e18);
            delegate(who, paul, 10e18);
            (ThawId thawId,) = undelegate(who, paul, sharesOf(who, paul) / 2);
            assertFalse(ThawId.unwrap(thawId) == 0);
            skip(60);
        }
        if (over > 0) skip(THAW - 60 * (count - over) - 30);
        uint256 own = staking.stakeOf(Role.Provider, paul).bonded;
        uint256 taken = slashBy(judge, Role.Provider, paul, own + count * 1e18, "case");
        uint256 gas = vm.snapshotGasLastCall("Staking", name);
        assertEq(taken, own + count * 1e18);
        assertLe(staking.stakeOf(Role.Provider, paul).delegated, count * 5e18);
        sanityCheck();
        vm.revertToState(snapshot);
        return gas;
    }
}
