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
        assertTrue(staking.isBound(keys.resultKey));
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
        assertFalse(staking.isBound(pauls.resultKey));
        assertFalse(staking.isBoundTo(pauls.resultKey, paul));
        assertEq(staking.operatorOf(pauls.resultKey), paul, "what it signed stays evidence");

        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyTaken.selector, pauls.resultKey, paul));
        vm.prank(petra);
        staking.bindKeys(petras);

        vm.startPrank(paul);
        staking.bindKeys(pauls);
        assertTrue(staking.isBound(pauls.resultKey), "an unbound key may come back");
        vm.expectRevert(abi.encodeWithSelector(IProviderStaking.KeyAlreadyBound.selector, pauls.resultKey));
        staking.bindKeys(pauls);
        vm.stopPrank();
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
        assertEq(Ppm.unwrap(staking.slasherReach(judge, Role.Provider)), 1_000_000);
        assertEq(Ppm.unwrap(staking.slasherReach(judge, Role.Coordinator)), 0);
        assertEq(Ppm.unwrap(staking.slasherReach(escrow, Role.Coordinator)), 1_000_000);
    }
}
