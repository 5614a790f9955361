// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EntryPause} from "./EntryPause.sol";
import {PermitEntry} from "./PermitEntry.sol";
import {Case, Escrow, Holder, IJobEscrow, State, Terms} from "./interfaces/IJobEscrow.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {ITide} from "./interfaces/ITide.sol";
import {FeeLog} from "./libraries/FeeLog.sol";
import {Release, SignedVoucher, Voucher, Vouchers} from "./libraries/Vouchers.sol";
import {EscrowId} from "./types/EscrowId.sol";
import {Ppm} from "./types/Ppm.sol";
import {Role} from "./types/Role.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title The accounts of all escrows
/// @dev Holds the state, says what may be read of it, and knows the one way in which a provider is paid. It trusts TIDE
/// and the staking contract, which are fixed for ever and call nobody back.
abstract contract EscrowAccounts is IJobEscrow, EIP712, PermitEntry, EntryPause {
    using FeeLog for FeeLog.Log;
    using SafeERC20 for ITide;
    using Vouchers for Voucher;
    using Vouchers for Release;

    /// @dev One round of payments out of one escrow, in memory until it is booked and sent.
    struct Payout {
        IProviderStaking.Credit[] credits;
        uint256 count;
        /// What the escrow still has.
        uint256 left;
        uint256 gross;
        uint256 fees;
        /// The protocol's and the coordinator's rate together.
        Ppm feeRate;
    }

    /// @inheritdoc IJobEscrow
    IProviderStaking public immutable staking;
    /// @inheritdoc IJobEscrow
    uint32 public immutable collectWindow;
    /// @inheritdoc IJobEscrow
    uint32 public immutable evidenceWindow;
    /// @inheritdoc IJobEscrow
    uint32 public immutable maxDuration;

    /// @inheritdoc IJobEscrow
    Ppm public protocolFee;
    /// @inheritdoc IJobEscrow
    address public treasury;
    /// @inheritdoc IJobEscrow
    uint256 public protocolFees;
    /// @inheritdoc IJobEscrow
    mapping(address coordinator => uint256) public feesOf;

    /// @inheritdoc IJobEscrow
    Ppm public burnShare;

    mapping(EscrowId => Escrow) internal _escrows;
    mapping(EscrowId => mapping(address provider => Holder)) internal _holders;
    mapping(EscrowId => Case) internal _cases;
    FeeLog.Log private _feeLog;

    constructor(
        ITide tide_,
        IProviderStaking staking_,
        uint32 collectWindow_,
        uint32 evidenceWindow_,
        uint32 maxDuration_
    ) EIP712("Tidemill JobEscrow", "1") PermitEntry(tide_) {
        // A bond that was active when an escrow was opened must be within reach until the last evidence may come.
        uint256 needed = uint256(maxDuration_) + collectWindow_ + evidenceWindow_;
        uint256 thaw = staking_.thawPeriod();
        if (thaw < needed) revert ThawTooShort(thaw, needed);
        staking = staking_;
        collectWindow = collectWindow_;
        evidenceWindow = evidenceWindow_;
        maxDuration = maxDuration_;
        // `credit` is the only function there that takes from this contract, for it takes from its caller alone.
        tide_.forceApprove(address(staking_), type(uint256).max);
    }

    /// @inheritdoc IJobEscrow
    function escrowId(address requester, Terms calldata terms, bytes32 salt) public pure returns (EscrowId) {
        return EscrowId.wrap(keccak256(abi.encode(requester, terms, salt)));
    }

    /// @inheritdoc IJobEscrow
    function escrow(EscrowId id) external view returns (Escrow memory found) {
        found = _escrows[id];
        found.voucherKey = _voucherKey(_escrows[id]);
    }

    /// @inheritdoc IJobEscrow
    function stateOf(EscrowId id) public view returns (State) {
        Escrow storage e = _escrows[id];
        if (e.requester == address(0)) return State.None;
        if (e.closed) return State.Closed;
        // slither-disable-next-line timestamp -- windows of days, which no producer of blocks can shift by much
        if (block.timestamp < e.collectUntil - collectWindow) return State.Open;
        return block.timestamp < e.collectUntil ? State.Collecting : State.Refundable;
    }

    /// @inheritdoc IJobEscrow
    function holder(EscrowId id, address provider) external view returns (Holder memory) {
        return _holders[id][provider];
    }

    /// @inheritdoc IJobEscrow
    function caseOf(EscrowId id) external view returns (Case memory) {
        return _cases[id];
    }

    /// @inheritdoc IJobEscrow
    function unpaidOf(EscrowId id, address provider) external view returns (uint96) {
        return _unpaid(_escrows[id], _holders[id][provider]);
    }

    /// @inheritdoc IJobEscrow
    function voucherDigest(Voucher calldata voucher) public view returns (bytes32) {
        return _hashTypedDataV4(voucher.hash());
    }

    /// @inheritdoc IJobEscrow
    function releaseDigest(Release calldata release) public view returns (bytes32) {
        return _hashTypedDataV4(release.hash());
    }

    /// @inheritdoc IJobEscrow
    function withdrawFees() external returns (uint256 amount) {
        amount = feesOf[msg.sender];
        feesOf[msg.sender] = 0;
        emit FeesWithdrawn(msg.sender, amount);
        tide.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IJobEscrow
    function withdrawProtocolFees() external returns (uint256 amount) {
        amount = protocolFees;
        protocolFees = 0;
        uint256 burned = burnShare.mulDown(amount);
        _feeLog.add(amount, burned);
        emit FeesBurned(burned);
        emit FeesWithdrawn(treasury, amount - burned);
        if (burned > 0) tide.burn(burned);
        tide.safeTransfer(treasury, amount - burned);
    }

    /// @inheritdoc IJobEscrow
    function feesUntil(uint48 time) external view returns (uint256 withdrawn, uint256 burned) {
        return _feeLog.until(time);
    }

    /// @dev Starts a round of payments to at most `payees`.
    function _payout(Escrow storage e, uint256 payees) internal view returns (Payout memory out) {
        out.credits = new IProviderStaking.Credit[](payees);
        out.left = e.deposited - e.paid;
        out.feeRate = Ppm.wrap(Ppm.unwrap(e.fee) + Ppm.unwrap(e.protocolFee));
    }

    /// @dev Enrols the provider, and pays it what it lacks of `upTo`, as far as the money goes. False, and nothing else,
    /// if it is not registered.
    function _pay(EscrowId id, Escrow storage e, Payout memory out, address provider, uint256 upTo)
        internal
        returns (bool)
    {
        Holder storage h = _holders[id][provider];
        if (!_enrol(id, e, h, provider)) return false;
        uint256 before = h.paid;
        uint256 gross = _draw(id, out, provider, before, upTo);
        if (gross == 0) return true;
        h.paid = uint96(before + gross);
        // What was proven to be unpaid is paid now.
        uint256 proven = h.proven;
        if (proven > before) _cases[id].unpaid -= uint128(Math.min(gross, proven - before));
        // What it released was not its last word.
        if (h.acknowledged) {
            h.acknowledged = false;
            e.acknowledged--;
        }
        return true;
    }

    /// @dev Adds to the round what a provider that was paid `before` lacks of `upTo`, as far as the money goes. The fees
    /// are those of all it was ever paid here, less those taken before: so by whatever steps a sum is paid, the provider
    /// gets the same of it.
    function _draw(EscrowId id, Payout memory out, address provider, uint256 before, uint256 upTo)
        internal
        returns (uint256 gross)
    {
        if (upTo <= before) return 0;
        // Nothing wraps from here on. What is paid is within what is left, which together with all that was paid is what
        // was deposited, and fits 96 bits. The rate is below the whole, so fees never fall as a sum grows, nor outgrow it.
        unchecked {
            gross = Math.min(upTo - before, out.left);
            if (gross == 0) return 0;
            uint256 fees = out.feeRate.mulDown(before + gross) - out.feeRate.mulDown(before);
            uint96 net = uint96(gross - fees);
            out.left -= gross;
            out.gross += gross;
            out.fees += fees;
            if (net > 0) {
                IProviderStaking.Credit memory credit = out.credits[out.count++];
                (credit.provider, credit.amount) = (provider, net);
            }
            emit Paid(id, provider, uint96(gross), net);
        }
    }

    /// @dev Writes a round into the accounts. To be called before `_send`.
    function _book(Escrow storage e, Payout memory out) internal {
        if (out.gross == 0) return;
        e.paid += uint96(out.gross);
        if (out.fees == 0) return;
        uint256 toProtocol = out.fees * Ppm.unwrap(e.protocolFee) / Ppm.unwrap(out.feeRate);
        if (toProtocol > 0) protocolFees += toProtocol;
        if (out.fees > toProtocol) feesOf[e.coordinator] += out.fees - toProtocol;
    }

    /// @dev Moves a round into the providers' records.
    function _send(Payout memory out) internal {
        _credit(out.credits, out.count, out.gross - out.fees);
    }

    /// @dev Credits the first `count` of `credits`, `total` altogether. What is for an account that is not registered is
    /// not taken there; so its answer tells whether all are, at no cost to each.
    function _credit(IProviderStaking.Credit[] memory credits, uint256 count, uint256 total) internal {
        if (count == 0) return;
        // The list was made as long as it could become; there is no other way to shorten it than to copy it.
        // slither-disable-next-line assembly
        assembly ("memory-safe") {
            mstore(credits, count)
        }
        if (staking.credit(credits) == total) return;
        uint256 i = 0;
        while (_isProvider(credits[i].provider)) i++;
        revert NotRegistered(credits[i].provider);
    }

    /// @dev Whether the provider is enrolled now; false if it is not registered.
    function _enrol(EscrowId id, Escrow storage e, Holder storage h, address provider) internal returns (bool) {
        if (h.enrolled) return true;
        if (!_isProvider(provider)) return false;
        h.enrolled = true;
        e.enrolled++;
        emit Enrolled(id, provider);
        return true;
    }

    /// @dev Asked once for each provider of an escrow, of a contract that answers from its own storage.
    function _isProvider(address account) internal view returns (bool) {
        // slither-disable-next-line calls-loop
        return staking.isRegistered(Role.Provider, account);
    }

    /// @dev What a provider's proven voucher exceeds its payments by. A release that closed the escrow waived the rest.
    function _unpaid(Escrow storage e, Holder storage h) internal view returns (uint96) {
        if (e.released && h.enrolled) return 0;
        return h.proven > h.paid ? h.proven - h.paid : 0;
    }

    /// @dev The escrow, if vouchers are still paid from it.
    function _live(EscrowId id) internal view returns (Escrow storage) {
        State state = stateOf(id);
        if (state != State.Open && state != State.Collecting) revert WrongState(id, state);
        return _escrows[id];
    }

    /// @dev Plain ECDSA and nothing else: what signs through a contract's code may take its word back.
    function _requireVoucher(Escrow storage e, SignedVoucher calldata signed) internal view {
        address signer = ECDSA.recover(voucherDigest(signed.voucher), signed.signature);
        address expected = _voucherKey(e);
        if (signer != expected) revert WrongSigner(expected, signer);
    }

    /// @dev Kept where it is not the coordinator's own account.
    function _voucherKey(Escrow storage e) internal view returns (address) {
        address key = e.voucherKey;
        return key == address(0) ? e.coordinator : key;
    }

    function _isCoordinator(Escrow storage e, address caller) internal view returns (bool) {
        return caller == e.coordinator || caller == e.voucherKey;
    }
}
