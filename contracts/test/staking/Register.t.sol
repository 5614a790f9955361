// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ProviderStaking} from "../../src/ProviderStaking.sol";
import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {Ppm, PpmOverOne} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {StakingTest} from "./StakingTest.sol";

contract RegisterTest is StakingTest {
    function test_a_provider_registers_with_its_keys() public {
        IProviderStaking.KeyBinding memory keys = keysFor(paul, "key");
        vm.expectEmit(address(staking));
        emit IProviderStaking.Registered(Role.Provider, paul, METADATA);
        vm.expectEmit(address(staking));
        emit IProviderStaking.KeysBound(paul, keys.resultKey, keys.nodeKey);
        vm.prank(paul);
        staking.registerProvider(METADATA, Ppm.wrap(TEN_PERCENT), keys);

        IProviderStaking.Operator memory record = staking.operatorRecord(paul);
        assertTrue(record.isProvider && !record.isCoordinator);
        assertEq(Ppm.unwrap(record.commission), TEN_PERCENT);
        assertTrue(staking.isRegistered(Role.Provider, paul));
        assertFalse(staking.isRegistered(Role.Coordinator, paul));
        assertEq(staking.metadataOf(Role.Provider, paul), METADATA);
        assertEq(staking.operatorOf(keys.resultKey), paul);
        assertTrue(staking.isBoundTo(keys.resultKey, paul));
        assertTrue(staking.isBoundTo(keys.resultKey, paul));
        assertFalse(staking.isBoundTo(keys.resultKey, petra));
        assertFalse(staking.isBoundTo(paul, address(0)), "a key that nobody bound is nobody's");
        assertEq(staking.resultKeyRecord(keys.resultKey).nodeKey, keys.nodeKey);
    }

    function test_one_account_may_have_both_roles_each_once() public {
        registerProvider(paul, 0);
        vm.startPrank(paul);
        staking.registerCoordinator("other");
        assertEq(staking.metadataOf(Role.Coordinator, paul), "other");
        assertEq(staking.metadataOf(Role.Provider, paul), METADATA);

        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.AlreadyRegistered.selector, Role.Coordinator, paul));
        staking.registerCoordinator("again");
        vm.stopPrank();

        IProviderStaking.KeyBinding memory more = keysFor(paul, "another key");
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.AlreadyRegistered.selector, Role.Provider, paul));
        vm.prank(paul);
        staking.registerProvider(METADATA, Ppm.wrap(0), more);
    }

    function test_metadata_is_replaced_by_who_has_the_role() public {
        registerProvider(paul, 0);
        vm.prank(paul);
        staking.setMetadata(Role.Provider, "new");
        assertEq(staking.metadataOf(Role.Provider, paul), "new");

        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Coordinator, paul));
        vm.prank(paul);
        staking.setMetadata(Role.Coordinator, "new");
    }

    function testFuzz_no_commission_over_the_whole(uint32 commission) public {
        commission = uint32(bound(commission, 1_000_001, type(uint32).max));
        IProviderStaking.KeyBinding memory keys = keysFor(paul, "key");
        vm.expectRevert(abi.encodeWithSelector(PpmOverOne.selector, commission));
        vm.prank(paul);
        staking.registerProvider(METADATA, Ppm.wrap(commission), keys);
    }

    // ------------------------------------------------------------------------------------------- keys

    function test_a_key_signs_for_the_operator_that_it_names_alone() public {
        registerProvider(paul, 0);
        IProviderStaking.KeyBinding memory forPetra = keysFor(petra, "key");
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeySignatureInvalid.selector, forPetra.resultKey));
        vm.prank(paul);
        staking.bindKeys(forPetra);
    }

    function test_a_signature_covers_the_node_key() public {
        registerProvider(paul, 0);
        IProviderStaking.KeyBinding memory keys = keysFor(paul, "key");
        keys.nodeKey = "another node";
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeySignatureInvalid.selector, keys.resultKey));
        vm.prank(paul);
        staking.bindKeys(keys);
    }

    function test_a_malformed_signature_binds_nothing_and_not_the_zero_address() public {
        registerProvider(paul, 0);
        IProviderStaking.KeyBinding memory keys = keysFor(paul, "key");
        keys.signature = hex"0102";
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeySignatureInvalid.selector, keys.resultKey));
        vm.prank(paul);
        staking.bindKeys(keys);

        keys.resultKey = address(0);
        keys.signature = new bytes(65);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeySignatureInvalid.selector, address(0)));
        vm.prank(paul);
        staking.bindKeys(keys);
    }

    function test_a_signature_for_another_contract_is_none_here() public {
        registerProvider(paul, 0);
        IProviderStaking.KeyBinding memory keys = keysFor(paul, "key");
        ProviderStaking here = staking;
        staking = new ProviderStaking(address(manager), tide, THAW, STREAM, new IProviderStaking.InitialSlasher[](0));
        IProviderStaking.KeyBinding memory there = keysFor(paul, "key");
        staking = here;
        assertNotEq(keccak256(keys.signature), keccak256(there.signature));
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeySignatureInvalid.selector, there.resultKey));
        vm.prank(paul);
        staking.bindKeys(there);
    }

    function test_a_result_key_is_one_operators_for_ever() public {
        registerProvider(paul, 0);
        registerProvider(petra, 0);
        IProviderStaking.KeyBinding memory pauls = keysFor(paul, "shared key");
        IProviderStaking.KeyBinding memory petras = keysFor(petra, "shared key");
        vm.startPrank(paul);
        staking.bindKeys(pauls);
        staking.unbindKeys(pauls.resultKey);
        vm.stopPrank();
        assertFalse(staking.isBoundTo(pauls.resultKey, paul));
        assertFalse(staking.isBoundTo(pauls.resultKey, paul));
        assertEq(staking.operatorOf(pauls.resultKey), paul, "what it signed stays evidence");

        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyTaken.selector, pauls.resultKey, paul));
        vm.prank(petra);
        staking.bindKeys(petras);

        vm.startPrank(paul);
        staking.bindKeys(pauls);
        assertTrue(staking.isBoundTo(pauls.resultKey, paul), "an unbound key may come back");
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyAlreadyBound.selector, pauls.resultKey));
        staking.bindKeys(pauls);
        vm.stopPrank();
    }

    function test_a_key_counts_for_the_time_in_which_it_was_in_use() public {
        registerProvider(paul, 0);
        IProviderStaking.KeyBinding memory keys = keysFor(paul, "key");
        uint48 start = uint48(vm.getBlockTimestamp());
        skip(10);
        vm.prank(paul);
        staking.bindKeys(keys);
        assertEq(staking.operatorAt(keys.resultKey, start + 9), address(0));
        assertEq(staking.operatorAt(keys.resultKey, start + 10), paul);
        assertEq(staking.operatorAt(keys.resultKey, type(uint48).max), paul);
        skip(10);
        vm.prank(paul);
        staking.unbindKeys(keys.resultKey);
        IProviderStaking.ResultKey memory record = staking.resultKeyRecord(keys.resultKey);
        assertEq(record.boundAt, start + 10);
        assertEq(record.unboundAt, start + 20);
        assertEq(staking.operatorAt(keys.resultKey, start + 19), paul);
        assertEq(staking.operatorAt(keys.resultKey, start + 20), address(0), "stolen, it signs nothing against paul");
        skip(10);
        vm.prank(paul);
        staking.bindKeys(keys);
        assertEq(staking.operatorAt(keys.resultKey, start + 25), paul, "who takes it back answers for it");
        assertEq(staking.resultKeyRecord(keys.resultKey).boundAt, start + 10);
        assertEq(staking.operatorAt(address(0xdead), start), address(0));
    }

    // ------------------------------------------------------------------------------------- voucher keys

    function test_a_coordinator_binds_a_voucher_key_and_both_sign() public {
        coordinator(cora, 1e18);
        (address key, bytes memory signature) = voucherKeyFor(cora, "voucher key");
        vm.expectEmit(address(staking));
        emit IProviderStaking.VoucherKeyBound(cora, key);
        vm.prank(cora);
        staking.bindVoucherKey(key, signature);
        assertTrue(staking.isVoucherKeyOf(key, cora));
        assertFalse(staking.isVoucherKeyOf(key, paul));
        assertFalse(staking.isVoucherKeyOf(paul, address(0)));
        assertEq(staking.voucherKeyRecord(key).coordinator, cora);
        assertEq(staking.voucherKeyRecord(key).boundAt, vm.getBlockTimestamp());

        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyNotBound.selector, key));
        vm.prank(eve);
        staking.unbindVoucherKey(key);
        vm.startPrank(cora);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyAlreadyBound.selector, key));
        staking.bindVoucherKey(key, signature);
        vm.expectEmit(address(staking));
        emit IProviderStaking.VoucherKeyUnbound(cora, key);
        staking.unbindVoucherKey(key);
        assertFalse(staking.isVoucherKeyOf(key, cora));
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyNotBound.selector, key));
        staking.unbindVoucherKey(key);
        staking.bindVoucherKey(key, signature);
        vm.stopPrank();
        assertTrue(staking.isVoucherKeyOf(key, cora));
    }

    function test_a_voucher_key_is_one_coordinators_and_binds_by_its_own_word() public {
        coordinator(cora, 1e18);
        (address key, bytes memory forPaul) = voucherKeyFor(paul, "voucher key");
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeySignatureInvalid.selector, key));
        vm.prank(cora);
        staking.bindVoucherKey(key, forPaul);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Coordinator, paul));
        vm.prank(paul);
        staking.bindVoucherKey(key, forPaul);
        coordinator(paul, 1e18);
        vm.prank(paul);
        staking.bindVoucherKey(key, forPaul);
        (, bytes memory forCora) = voucherKeyFor(cora, "voucher key");
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyTaken.selector, key, paul));
        vm.prank(cora);
        staking.bindVoucherKey(key, forCora);
    }

    // ------------------------------------------------------------------------------------- all providers

    function test_providers_are_listed_by_their_registration() public {
        assertEq(staking.providerCount(), 0);
        registerProvider(petra, 0);
        coordinator(cora, 1e18);
        registerProvider(paul, 0);
        assertEq(staking.providerCount(), 2);
        assertEq(staking.providerAt(0), petra);
        assertEq(staking.providerAt(1), paul);
    }

    function test_only_its_operator_unbinds_a_key_and_once() public {
        registerProvider(paul, 0);
        IProviderStaking.KeyBinding memory keys = keysFor(paul, "key");
        vm.prank(paul);
        staking.bindKeys(keys);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyNotBound.selector, keys.resultKey));
        vm.prank(eve);
        staking.unbindKeys(keys.resultKey);

        vm.startPrank(paul);
        staking.unbindKeys(keys.resultKey);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyNotBound.selector, keys.resultKey));
        staking.unbindKeys(keys.resultKey);
        vm.stopPrank();
    }

    function test_strangers_bind_no_keys() public {
        IProviderStaking.KeyBinding memory keys = keysFor(eve, "key");
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.NotRegistered.selector, Role.Provider, eve));
        vm.prank(eve);
        staking.bindKeys(keys);
    }

    // ------------------------------------------------------------------------------------ construction

    function test_a_stream_is_no_longer_than_the_thaw() public {
        IProviderStaking.InitialSlasher[] memory none = new IProviderStaking.InitialSlasher[](0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.PeriodsOutOfBounds.selector, 7 days, 8 days));
        new ProviderStaking(address(manager), tide, 7 days, 8 days, none);
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.PeriodsOutOfBounds.selector, 7 days, 0));
        new ProviderStaking(address(manager), tide, 7 days, 0, none);
    }

    function test_slashers_are_there_from_the_first_block() public view {
        assertEq(Ppm.unwrap(staking.slasherReach(judge, Role.Provider).own), 1_000_000);
        assertEq(Ppm.unwrap(staking.slasherReach(judge, Role.Provider).delegated), 500_000);
        assertEq(Ppm.unwrap(staking.slasherReach(judge, Role.Coordinator).own), 0);
        assertEq(Ppm.unwrap(staking.slasherReach(escrow, Role.Coordinator).own), 1_000_000);
    }
}
