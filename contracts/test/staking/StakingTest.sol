// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ProviderStaking} from "../../src/ProviderStaking.sol";
import {Tide} from "../../src/Tide.sol";
import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {ITide} from "../../src/interfaces/ITide.sol";
import {PoolId, PoolKind, bondPool, delegationPool, toPoolId} from "../../src/types/PoolId.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {ThawId} from "../../src/types/ThawId.sol";
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {Test} from "forge-std/Test.sol";

/// @notice One token, one staking contract, and people. Tests end with `sanityCheck`.
abstract contract StakingTest is Test {
    uint64 internal constant GUARDIAN = 1;
    uint64 internal constant GOVERNOR = 3;
    uint32 internal constant THAW = 28 days;
    uint32 internal constant STREAM = 7 days;
    uint32 internal constant TEN_PERCENT = 100_000;
    bytes32 internal constant METADATA = keccak256("metadata");

    address internal guardian = makeAddr("guardian");
    address internal governor = makeAddr("governor");
    // Slashes providers by all their own and half of what others have, providers by a tenth of their own, coordinators by
    // all: for each case.
    address internal judge = makeAddr("judge");
    address internal court = makeAddr("court");
    address internal escrow = makeAddr("escrow");

    address internal paul = makeAddr("provider paul");
    address internal petra = makeAddr("provider petra");
    address internal cora = makeAddr("coordinator cora");
    address internal dora = makeAddr("delegator dora");
    address internal dirk = makeAddr("delegator dirk");
    address internal eve = makeAddr("stranger eve");

    // So that each of the judge's cases is another.
    uint256 private cases;

    AccessManager internal manager;
    Tide internal tide;
    ProviderStaking internal staking;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        manager = new AccessManager(address(this));
        ITide.Allocation[] memory genesis = new ITide.Allocation[](1);
        genesis[0] = ITide.Allocation({to: address(this), amount: 600_000_000e18});
        tide = new Tide(address(manager), genesis);
        IProviderStaking.InitialSlasher[] memory slashers = new IProviderStaking.InitialSlasher[](3);
        slashers[0] = IProviderStaking.InitialSlasher(judge, Role.Provider, reach(1_000_000, 500_000));
        slashers[1] = IProviderStaking.InitialSlasher(court, Role.Provider, reach(TEN_PERCENT, 0));
        slashers[2] = IProviderStaking.InitialSlasher(escrow, Role.Coordinator, reach(1_000_000, 0));
        staking = new ProviderStaking(address(manager), tide, THAW, STREAM, slashers);

        _allow(staking.pause.selector, GUARDIAN);
        _allow(staking.unpause.selector, GOVERNOR);
        _allow(staking.setSlasher.selector, GOVERNOR);
        _allow(staking.setDelegationRatio.selector, GOVERNOR);
        manager.grantRole(GUARDIAN, guardian, 0);
        manager.grantRole(GOVERNOR, governor, 0);

        tide.approve(address(staking), type(uint256).max);
        address[6] memory people = [paul, petra, cora, dora, dirk, eve];
        for (uint256 i = 0; i < people.length; ++i) {
            fund(people[i]);
        }
    }

    // What is in pools and earnings of everybody here is what the contract holds, to the wei.
    function sanityCheck() internal view {
        assertEq(tide.balanceOf(address(staking)), accountedFor(), "conservation to the wei");
    }

    function accountedFor() internal view returns (uint256 sum) {
        address[3] memory operators = [paul, petra, cora];
        for (uint256 i = 0; i < operators.length; ++i) {
            sum += staking.operatorRecord(operators[i]).earned;
            for (uint8 kind = 0; kind <= uint8(PoolKind.Delegation); ++kind) {
                IProviderStaking.PoolState memory p = staking.poolOf(toPoolId(PoolKind(kind), operators[i]));
                sum += p.active + p.locked + p.thawing;
            }
        }
    }

    function fund(address who) internal {
        tide.transfer(who, 10_000_000e18);
        vm.prank(who);
        tide.approve(address(staking), type(uint256).max);
    }

    function registerProvider(address who, uint32 commission) internal {
        IProviderStaking.KeyBinding memory keys = keysFor(who, string.concat("result key of ", vm.toString(who)));
        vm.prank(who);
        staking.registerProvider(METADATA, Ppm.wrap(commission), keys);
    }

    // A provider with a bond and an open pool, the usual beginning.
    function provider(address who, uint256 bonded, uint32 commission) internal {
        registerProvider(who, commission);
        bond(who, Role.Provider, bonded);
        allow(who, type(uint96).max);
    }

    function allow(address who, uint96 most) internal {
        vm.prank(who);
        staking.setMaxDelegated(most);
    }

    function coordinator(address who, uint256 bonded) internal {
        vm.prank(who);
        staking.registerCoordinator(METADATA);
        bond(who, Role.Coordinator, bonded);
    }

    function bond(address who, Role role, uint256 amount) internal returns (uint256) {
        vm.prank(who);
        return staking.bond(role, amount);
    }

    function delegate(address who, address to, uint256 amount) internal returns (uint256) {
        vm.prank(who);
        return staking.delegate(to, amount);
    }

    function undelegate(address who, address from, uint256 shares) internal returns (ThawId thawId, uint256 amount) {
        vm.prank(who);
        return staking.undelegate(from, shares);
    }

    function undelegateAll(address who, address from) internal returns (ThawId thawId, uint256 amount) {
        return undelegate(who, from, sharesOf(who, from));
    }

    function unbondAll(address who, Role role) internal returns (ThawId thawId, uint256 amount) {
        uint256 shares = staking.sharesOf(bondPool(role, who), who);
        vm.prank(who);
        return staking.unbond(role, shares);
    }

    function withdraw(address who, ThawId thawId) internal returns (uint256) {
        vm.prank(who);
        return staking.withdraw(only(thawId));
    }

    // Pay from outside, by this contract.
    function credit(address to, uint96 amount) internal returns (uint256) {
        IProviderStaking.Credit[] memory credits = new IProviderStaking.Credit[](1);
        credits[0] = IProviderStaking.Credit(to, amount);
        return staking.credit(credits);
    }

    // Cover from outside, by this contract.
    function donate(address to, uint256 amount) internal returns (uint256) {
        return staking.donate(to, amount);
    }

    function slash(address who, uint256 amount) internal returns (uint256) {
        return slash(who, amount, "case");
    }

    // By as many cases as it takes, as one reaches but half of the delegations.
    function slash(address who, uint256 amount, bytes32 caseId) internal returns (uint256 taken) {
        for (uint256 i = 0; i < 200; ++i) {
            vm.prank(judge);
            (uint256 own, uint256 delegated) =
                staking.slash(Role.Provider, who, amount - taken, keccak256(abi.encode(caseId, cases++)));
            taken += own + delegated;
            if (taken == amount || own + delegated == 0) return taken;
        }
    }

    // By one case alone.
    function slashBy(address slasher, Role role, address who, uint256 amount, bytes32 caseId)
        internal
        returns (uint256)
    {
        vm.prank(slasher);
        (uint256 own, uint256 delegated) = staking.slash(role, who, amount, caseId);
        return own + delegated;
    }

    function reach(uint32 own, uint32 delegated) internal pure returns (IProviderStaking.Reach memory) {
        return IProviderStaking.Reach(Ppm.wrap(own), Ppm.wrap(delegated));
    }

    function sharesOf(address who, address where) internal view returns (uint256) {
        return staking.sharesOf(delegationPool(where), who);
    }

    function valueOf(address who, address where) internal view returns (uint256) {
        return staking.valueOf(delegationPool(where), who);
    }

    function delegation(address where) internal view returns (IProviderStaking.PoolState memory) {
        return staking.poolOf(delegationPool(where));
    }

    function earned(address who) internal view returns (uint256) {
        return staking.operatorRecord(who).earned;
    }

    function only(ThawId thawId) internal pure returns (ThawId[] memory ids) {
        ids = new ThawId[](1);
        ids[0] = thawId;
    }

    // The key called `name`, signing that it is `operator`'s.
    function keysFor(address operator, string memory name) internal returns (IProviderStaking.KeyBinding memory keys) {
        (address resultKey, uint256 secret) = makeAddrAndKey(name);
        keys.nodeKey = keccak256(bytes(name));
        keys.resultKey = resultKey;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, bindingDigest(operator, keys.nodeKey, resultKey));
        keys.signature = abi.encodePacked(r, s, v);
    }

    function voucherKeyFor(address owner, string memory name) internal returns (address key, bytes memory signature) {
        uint256 secret;
        (key, secret) = makeAddrAndKey(name);
        bytes32 typehash = keccak256("VoucherKeyBinding(address coordinator,address voucherKey)");
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, typed(keccak256(abi.encode(typehash, owner, key))));
        signature = abi.encodePacked(r, s, v);
    }

    // EIP-712 by hand, so that the contract's own hashing is checked against something else.
    function bindingDigest(address operator, bytes32 nodeKey, address resultKey) internal view returns (bytes32) {
        bytes32 typehash = keccak256("ResultKeyBinding(address operator,bytes32 nodeKey,address resultKey)");
        return typed(keccak256(abi.encode(typehash, operator, nodeKey, resultKey)));
    }

    function typed(bytes32 statement) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Tidemill ProviderStaking"),
                keccak256("1"),
                block.chainid,
                address(staking)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, statement));
    }

    function _allow(bytes4 selector, uint64 role) private {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = selector;
        manager.setTargetFunctionRole(address(staking), selectors, role);
    }
}
