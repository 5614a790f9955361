// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {JobEscrow} from "../../src/JobEscrow.sol";
import {ProviderStaking} from "../../src/ProviderStaking.sol";
import {Tide} from "../../src/Tide.sol";
import {Case, Escrow, IJobEscrow, Payment, State, Terms} from "../../src/interfaces/IJobEscrow.sol";
import {IProviderStaking} from "../../src/interfaces/IProviderStaking.sol";
import {ITide} from "../../src/interfaces/ITide.sol";
import {Release, SignedRelease, SignedVoucher, Voucher} from "../../src/libraries/Vouchers.sol";
import {EscrowId} from "../../src/types/EscrowId.sol";
import {Ppm} from "../../src/types/Ppm.sol";
import {Role} from "../../src/types/Role.sol";
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {Test, Vm} from "forge-std/Test.sol";

/// The three contracts as they are deployed, and a small cast: a requester with TIDE, a bonded coordinator, providers.
abstract contract EscrowFixture is Test {
    uint32 internal constant THAW = 28 days;
    uint32 internal constant STREAM = 7 days;
    uint32 internal constant COLLECT = 3 days;
    uint32 internal constant EVIDENCE = 7 days;
    uint32 internal constant LONGEST = 14 days;
    uint64 internal constant GUARDIAN = 1;
    uint64 internal constant GOVERNOR = 3;

    uint96 internal constant BUDGET = 1000e18;
    uint96 internal constant BOND = 5000e18;
    /// 2 % to the protocol, 5 % to the coordinator.
    Ppm internal constant PROTOCOL_FEE = Ppm.wrap(20_000);
    Ppm internal constant FEE = Ppm.wrap(50_000);

    AccessManager internal authority;
    Tide internal tide;
    ProviderStaking internal staking;
    JobEscrow internal escrows;

    address internal treasury = makeAddr("treasury");
    address internal guardian = makeAddr("guardian");
    /// Slashes providers.
    address internal judge = makeAddr("judge");
    address internal governor = makeAddr("governor");
    address internal requester = makeAddr("requester");
    address internal stranger = makeAddr("stranger");
    Vm.Wallet internal coordinator;
    Vm.Wallet[] internal providers;
    /// The result key of each provider.
    Vm.Wallet[] internal resultKeys;

    /// Every escrow that a test opened through the fixture, and every coordinator that fees may be owed to: what
    /// `sanityCheck` sums over.
    EscrowId[] internal opened;
    address[] internal feeTakers;

    /// Ends a test with the sum of all money.
    modifier sane() {
        _;
        sanityCheck();
    }

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        authority = new AccessManager(address(this));
        ITide.Allocation[] memory genesis = new ITide.Allocation[](1);
        genesis[0] = ITide.Allocation(address(this), 600_000_000e18);
        tide = new Tide(address(authority), genesis);
        IProviderStaking.InitialSlasher[] memory slashers = new IProviderStaking.InitialSlasher[](2);
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        slashers[0] = IProviderStaking.InitialSlasher(
            predicted, Role.Coordinator, IProviderStaking.Reach(Ppm.wrap(1_000_000), Ppm.wrap(0))
        );
        slashers[1] = IProviderStaking.InitialSlasher(
            judge, Role.Provider, IProviderStaking.Reach(Ppm.wrap(1_000_000), Ppm.wrap(500_000))
        );
        staking = new ProviderStaking(address(authority), tide, THAW, STREAM, slashers);
        escrows = newJobEscrow(COLLECT, EVIDENCE, LONGEST);
        assertEq(address(escrows), predicted);
        grantRoles();

        coordinator = vm.createWallet("coordinator");
        feeTakers.push(coordinator.addr);
        becomeCoordinator(coordinator.addr, BOND);
        for (uint256 i = 0; i < 5; i++) {
            addProvider();
        }
        fund(requester, 100 * BUDGET);
    }

    // --------------------------------------------------------------------------------------------- the cast

    function newJobEscrow(uint32 collect, uint32 evidence, uint32 longest) internal returns (JobEscrow) {
        return new JobEscrow(address(authority), tide, staking, collect, evidence, longest, PROTOCOL_FEE, treasury);
    }

    function grantRoles() private {
        bytes4[] memory guarded = new bytes4[](1);
        guarded[0] = escrows.pause.selector;
        authority.setTargetFunctionRole(address(escrows), guarded, GUARDIAN);
        authority.setTargetFunctionRole(address(staking), guarded, GUARDIAN);
        bytes4[] memory governed = new bytes4[](4);
        governed[0] = escrows.unpause.selector;
        governed[1] = escrows.setProtocolFee.selector;
        governed[2] = escrows.setTreasury.selector;
        governed[3] = escrows.setBurnShare.selector;
        authority.setTargetFunctionRole(address(escrows), governed, GOVERNOR);
        authority.grantRole(GUARDIAN, guardian, 0);
        authority.grantRole(GOVERNOR, governor, 0);
    }

    /// TIDE, and an allowance to the escrow contract for all of it.
    function fund(address who, uint256 amount) internal {
        assertTrue(tide.transfer(who, amount));
        vm.prank(who);
        tide.approve(address(escrows), type(uint256).max);
    }

    function becomeCoordinator(address who, uint256 bond) internal {
        vm.startPrank(who);
        staking.registerCoordinator(keccak256("metadata"));
        vm.stopPrank();
        if (bond > 0) addBond(who, bond);
    }

    function addBond(address who, uint256 bond) internal {
        assertTrue(tide.transfer(who, bond));
        vm.startPrank(who);
        tide.approve(address(staking), bond);
        staking.bond(Role.Coordinator, bond);
        vm.stopPrank();
    }

    function addProvider() internal returns (address) {
        string memory number = vm.toString(providers.length);
        providers.push(vm.createWallet(string.concat("provider ", number)));
        resultKeys.push(vm.createWallet(string.concat("result key ", number)));
        IProviderStaking.KeyBinding memory keys = keysOf(providers.length - 1);
        vm.prank(provider(providers.length - 1));
        staking.registerProvider(keccak256("metadata"), Ppm.wrap(100_000), keys);
        return provider(providers.length - 1);
    }

    /// The result key of a provider, signing that it is that one's.
    function keysOf(uint256 i) internal view returns (IProviderStaking.KeyBinding memory) {
        bytes32 nodeKey = keccak256(bytes(vm.toString(i)));
        bytes32 binding = keccak256(
            abi.encode(
                keccak256("ResultKeyBinding(address operator,bytes32 nodeKey,address resultKey)"),
                provider(i),
                nodeKey,
                resultKeys[i].addr
            )
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Tidemill ProviderStaking"),
                keccak256("1"),
                block.chainid,
                address(staking)
            )
        );
        bytes memory signature = sign(resultKeys[i], keccak256(abi.encodePacked(hex"1901", domain, binding)));
        return IProviderStaking.KeyBinding(nodeKey, resultKeys[i].addr, signature);
    }

    function provider(uint256 i) internal view returns (address) {
        return providers[i].addr;
    }

    /// Not `block.timestamp`, which the optimizer takes to be the same all through a test.
    function timeNow() internal view returns (uint48) {
        return uint48(vm.getBlockTimestamp());
    }

    // ------------------------------------------------------------------------------------------ what is said

    function terms() internal view returns (Terms memory) {
        return Terms({
            coordinator: coordinator.addr,
            voucherKey: coordinator.addr,
            budget: BUDGET,
            deadline: timeNow() + 7 days,
            fee: FEE,
            specHash: keccak256("job")
        });
    }

    function openEscrow() internal returns (EscrowId) {
        return openEscrow(terms(), bytes32(opened.length));
    }

    function openEscrow(Terms memory t, bytes32 salt) internal returns (EscrowId id) {
        vm.prank(requester);
        id = escrows.open(t, salt);
        opened.push(id);
    }

    function sign(Vm.Wallet memory wallet, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(wallet.privateKey, digest);
        return abi.encodePacked(r, s, v);
    }

    function signed(Vm.Wallet memory wallet, Voucher memory v) internal view returns (SignedVoucher memory) {
        return SignedVoucher(v, sign(wallet, escrows.voucherDigest(v)));
    }

    function voucher(EscrowId id, address payee, uint96 amount, uint64 sequence, uint96 total)
        internal
        view
        returns (SignedVoucher memory)
    {
        return signed(coordinator, Voucher(id, payee, amount, sequence, total));
    }

    /// A voucher of a coordinator that keeps silent about the total.
    function voucher(EscrowId id, address payee, uint96 amount) internal view returns (SignedVoucher memory) {
        return voucher(id, payee, amount, uint64(uint160(payee)), 0);
    }

    function release(EscrowId id, uint256 i, uint96 amount) internal view returns (SignedRelease memory) {
        return releaseBy(providers[i], id, provider(i), amount);
    }

    function releaseBy(Vm.Wallet memory signer, EscrowId id, address payee, uint96 amount)
        internal
        view
        returns (SignedRelease memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signer.privateKey, escrows.releaseDigest(Release(id, payee, amount)));
        return SignedRelease(payee, amount, r, bytes32(uint256(v - 27) << 255) | s);
    }

    /// Releases of providers 0 to n - 1, in the order that `close` wants.
    function releases(EscrowId id, uint96[] memory amounts) internal view returns (SignedRelease[] memory all) {
        all = new SignedRelease[](amounts.length);
        for (uint256 i = 0; i < all.length; i++) {
            all[i] = release(id, i, amounts[i]);
        }
        sort(all);
    }

    function sort(SignedRelease[] memory all) internal pure {
        for (uint256 i = 1; i < all.length; i++) {
            for (uint256 j = i; j > 0 && all[j].provider < all[j - 1].provider; j--) {
                (all[j], all[j - 1]) = (all[j - 1], all[j]);
            }
        }
    }

    /// What `accuse` has to be shown of an escrow that these closed.
    function releasedBy(SignedRelease[] memory all) internal pure returns (address[] memory released) {
        released = new address[](all.length);
        for (uint256 i = 0; i < all.length; i++) {
            released[i] = all[i].provider;
        }
    }

    // -------------------------------------------------------------------------------------------- what is done

    function settle(EscrowId id, Payment[] memory payments) internal returns (uint256) {
        vm.prank(coordinator.addr);
        return escrows.settle(id, payments, bytes32(0));
    }

    function settle(EscrowId id, uint256 i, uint96 amount) internal returns (uint256) {
        return settle(id, one(provider(i), amount));
    }

    function one(address payee, uint96 amount) internal pure returns (Payment[] memory payments) {
        payments = new Payment[](1);
        payments[0] = Payment(payee, amount);
    }

    function acknowledge(EscrowId id, SignedRelease memory r) internal returns (uint256) {
        vm.prank(coordinator.addr);
        return escrows.acknowledge(id, one(r));
    }

    function close(EscrowId id, SignedRelease[] memory all) internal {
        vm.prank(coordinator.addr);
        escrows.close(id, all, "root");
    }

    function one(SignedRelease memory r) internal pure returns (SignedRelease[] memory all) {
        all = new SignedRelease[](1);
        all[0] = r;
    }

    /// Of an escrow that was not closed early.
    function accuse(address prover, EscrowId id, SignedVoucher memory a) internal returns (uint256) {
        return accuse(prover, id, a, nobody());
    }

    function accuse(address prover, EscrowId id, SignedVoucher memory a, address[] memory released)
        internal
        returns (uint256)
    {
        SignedVoucher[] memory all = new SignedVoucher[](1);
        all[0] = a;
        vm.prank(prover);
        return escrows.accuse(id, all, released);
    }

    function enrol(EscrowId id, uint256 i) internal {
        vm.prank(coordinator.addr);
        escrows.enrol(id, list(provider(i)));
    }

    function end(EscrowId id) internal {
        vm.prank(requester);
        escrows.end(id);
    }

    function list(address a) internal pure returns (address[] memory all) {
        all = new address[](1);
        all[0] = a;
    }

    function nobody() internal pure returns (address[] memory) {
        return new address[](0);
    }

    function passCollectWindow(EscrowId id) internal {
        vm.warp(escrows.escrow(id).collectUntil);
    }

    function passEvidenceWindow(EscrowId id) internal {
        vm.warp(escrows.escrow(id).collectUntil + EVIDENCE);
    }

    function expectState(EscrowId id, State state) internal {
        vm.expectRevert(abi.encodeWithSelector(IJobEscrow.WrongState.selector, id, state));
    }

    // -------------------------------------------------------------------------------------------- what is seen

    /// What is in a provider's record in the staking contract. None here has delegators, so it is all it was paid.
    function earned(uint256 i) internal view returns (uint256) {
        return staking.operatorRecord(provider(i)).earned;
    }

    /// What a provider gets of `gross` at the fixture's fees.
    function net(uint256 gross) internal pure returns (uint256) {
        return gross - gross * 70_000 / 1_000_000;
    }

    function assertState(EscrowId id, State state) internal view {
        assertEq(uint256(escrows.stateOf(id)), uint256(state), "state");
    }

    /// To the wei: what the contract holds is what has not left the escrows, the fees owed, and the pots.
    function sanityCheck() internal view {
        uint256 owed = escrows.protocolFees();
        for (uint256 i = 0; i < feeTakers.length; i++) {
            owed += escrows.feesOf(feeTakers[i]);
        }
        for (uint256 i = 0; i < opened.length; i++) {
            Escrow memory e = escrows.escrow(opened[i]);
            assertLe(e.paid, e.deposited, "paid over deposited");
            Case memory c = escrows.caseOf(opened[i]);
            assertLe(c.pot, c.slashed, "pot over slashed");
            owed += c.pot;
            if (!e.closed) owed += e.deposited - e.paid;
        }
        assertEq(tide.balanceOf(address(escrows)), owed, "conservation");
    }
}
