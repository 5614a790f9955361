// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EscrowAccounts} from "./EscrowAccounts.sol";
import {OverIssue} from "./OverIssue.sol";
import {Escrow, Holder, IJobEscrow, Payment, State, Terms} from "./interfaces/IJobEscrow.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {ITide} from "./interfaces/ITide.sol";
import {ReleasedList} from "./libraries/ReleasedList.sol";
import {SignedRelease, SignedVoucher, Voucher, Vouchers} from "./libraries/Vouchers.sol";
import {EscrowId} from "./types/EscrowId.sol";
import {Ppm} from "./types/Ppm.sol";
import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Budgets of jobs, locked until they are paid or go back
/// @dev `EscrowAccounts` keeps the accounts, `OverIssue` the fraud's; here is an escrow's life.
contract JobEscrow is OverIssue {
    using SafeERC20 for ITide;
    using ReleasedList for address[];

    Ppm public constant MAX_PROTOCOL_FEE = Ppm.wrap(50_000);

    /// @dev A provider that is its own coordinator can take this much past those who stand behind it, and no more. With
    /// the protocol's it stays below the whole, so that a payment always leaves something to the provider.
    Ppm public constant MAX_COORDINATOR_FEE = Ppm.wrap(200_000);

    constructor(
        address authority,
        ITide tide_,
        IProviderStaking staking_,
        uint32 collectWindow_,
        uint32 evidenceWindow_,
        uint32 maxDuration_,
        Ppm protocolFee_,
        address treasury_
    ) AccessManaged(authority) EscrowAccounts(tide_, staking_, collectWindow_, evidenceWindow_, maxDuration_) {
        _setProtocolFee(protocolFee_);
        _setTreasury(treasury_);
    }

    /// @inheritdoc IJobEscrow
    function open(Terms calldata terms, bytes32 salt) external whenEntriesOpen returns (EscrowId id) {
        if (terms.coordinator == address(0)) revert ZeroAddress();
        if (terms.budget == 0) revert ZeroAmount();
        if (Ppm.unwrap(terms.fee) > Ppm.unwrap(MAX_COORDINATOR_FEE)) revert FeeTooHigh(terms.fee, MAX_COORDINATOR_FEE);
        uint256 latest = block.timestamp + maxDuration;
        // slither-disable-next-line timestamp -- days, which no producer of blocks can shift by much
        if (terms.deadline <= block.timestamp || terms.deadline > latest) {
            revert DeadlineOutOfRange(terms.deadline, latest);
        }
        id = escrowId(msg.sender, terms, salt);
        Escrow storage e = _escrows[id];
        if (e.requester != address(0)) revert AlreadyOpened(id);
        if (terms.voucherKey != terms.coordinator) {
            // Without its consent anybody could promise in its name.
            if (!staking.isVoucherKeyOf(terms.voucherKey, terms.coordinator)) {
                revert VoucherKeyNotBound(terms.voucherKey, terms.coordinator);
            }
            e.voucherKey = terms.voucherKey;
        }

        (e.requester, e.deposited, e.coordinator) = (msg.sender, terms.budget, terms.coordinator);
        (e.collectUntil, e.fee, e.protocolFee) = (terms.deadline + collectWindow, terms.fee, protocolFee);
        emit Opened(
            id,
            msg.sender,
            terms.coordinator,
            terms.voucherKey,
            terms.budget,
            terms.deadline,
            terms.fee,
            protocolFee,
            terms.specHash,
            salt
        );
        tide.safeTransferFrom(msg.sender, address(this), terms.budget);
    }

    /// @inheritdoc IJobEscrow
    function deposit(EscrowId id, uint96 amount) external whenEntriesOpen {
        _requireOpen(id);
        if (amount == 0) revert ZeroAmount();
        _escrows[id].deposited += amount;
        emit Deposited(id, msg.sender, amount);
        tide.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IJobEscrow
    function enrol(EscrowId id, address[] calldata providers) external {
        Escrow storage e = _live(id);
        _requireCoordinator(id, e);
        for (uint256 i = 0; i < providers.length; i++) {
            if (!_enrol(id, e, _holders[id][providers[i]], providers[i])) emit PayeeSkipped(id, providers[i]);
        }
    }

    /// @inheritdoc IJobEscrow
    function end(EscrowId id) external {
        _requireOpen(id);
        Escrow storage e = _escrows[id];
        if (msg.sender != e.requester && !_isCoordinator(e, msg.sender)) revert NotParty(id, msg.sender);
        _endNow(id, e);
    }

    /// @inheritdoc IJobEscrow
    function settle(EscrowId id, Payment[] calldata payments, bytes32 root) external returns (uint256 gross) {
        Escrow storage e = _live(id);
        _requireCoordinator(id, e);
        Payout memory out = _payout(e, payments.length);
        for (uint256 i = 0; i < payments.length; i++) {
            if (!_pay(id, e, out, payments[i].provider, payments[i].amount)) {
                emit PayeeSkipped(id, payments[i].provider);
            }
        }
        _book(e, out);
        if (root != 0) e.root = root;
        emit Settled(id, root);
        _send(out);
        return out.gross;
    }

    /// @inheritdoc IJobEscrow
    function collect(SignedVoucher calldata signed) external returns (uint256 gross) {
        Voucher calldata v = signed.voucher;
        Escrow storage e = _live(v.escrow);
        _requireVoucher(e, signed);
        Payout memory out = _payout(e, 1);
        if (!_pay(v.escrow, e, out, v.provider, v.amount)) revert NotRegistered(v.provider);
        _book(e, out);
        _send(out);
        return out.gross;
    }

    /// @inheritdoc IJobEscrow
    function acknowledge(EscrowId id, SignedRelease[] calldata releases) external returns (uint256 gross) {
        Escrow storage e = _releasable(id);
        Payout memory out = _payout(e, releases.length);
        for (uint256 i = 0; i < releases.length; i++) {
            (address provider, uint96 amount) = (releases[i].provider, releases[i].amount);
            Holder storage h = _holders[id][provider];
            uint96 paid = h.paid;
            // A provider may unbind its key or collect more while the list is under way: that is no fault of the others.
            if (
                !_isSignedByProvider(_releaseSigner(id, releases[i]), provider) || amount < paid
                    || amount - paid > out.left || !_pay(id, e, out, provider, amount)
            ) {
                // So that a close, which may be on its way, does not pass it by.
                _enrol(id, e, h, provider);
                emit ReleaseSkipped(id, provider, amount);
                continue;
            }
            if (h.acknowledged) continue;
            h.acknowledged = true;
            e.acknowledged++;
            emit Acknowledged(id, provider, amount);
        }
        _book(e, out);
        _send(out);
        return out.gross;
    }

    /// @inheritdoc IJobEscrow
    function close(EscrowId id, SignedRelease[] calldata releases, bytes32 root) external {
        Escrow storage e = _releasable(id);
        Payout memory out = _payout(e, releases.length);
        _payReleased(id, e, out, releases);
        _book(e, out);
        e.collectUntil = uint48(block.timestamp);
        e.released = true;
        if (root != 0) e.root = root;
        emit Settled(id, root);
        uint256 rest = _shut(id, e);
        _send(out);
        tide.safeTransfer(e.requester, rest);
    }

    /// @inheritdoc IJobEscrow
    function refund(EscrowId id) external {
        State state = stateOf(id);
        if (state != State.Refundable) revert WrongState(id, state);
        Escrow storage e = _escrows[id];
        tide.safeTransfer(e.requester, _shut(id, e));
    }

    /// @inheritdoc IJobEscrow
    function setProtocolFee(Ppm fee) external restricted {
        _setProtocolFee(fee);
    }

    /// @inheritdoc IJobEscrow
    function setTreasury(address treasury_) external restricted {
        _setTreasury(treasury_);
    }

    /// @inheritdoc IJobEscrow
    function setBurnShare(Ppm share) external restricted {
        burnShare = share.checked();
        emit BurnShareSet(share);
    }

    /// @dev Pays those whose releases close the escrow, and requires that nobody is missing whom the chain knows of.
    function _payReleased(EscrowId id, Escrow storage e, Payout memory out, SignedRelease[] calldata releases) private {
        address[] memory released = new address[](releases.length);
        // Where nobody is enrolled, nobody's slot has to be read.
        bool someEnrolled = e.enrolled != 0;
        uint256 found = 0;
        address last = address(0);
        for (uint256 i = 0; i < releases.length; i++) {
            (address provider, uint96 amount) = _released(id, releases[i]);
            if (provider <= last) revert ReleasesUnsorted(provider);
            last = provider;
            released[i] = provider;
            Holder storage h = _holders[id][provider];
            if (someEnrolled && h.enrolled) {
                _requirePayable(out, provider, amount, h.paid);
                _pay(id, e, out, provider, amount);
                if (!h.acknowledged) found++;
            } else {
                _requirePayable(out, provider, amount, 0);
                _draw(id, out, provider, 0, amount);
            }
        }
        // Those found are different providers: as many as there are, or some are missing.
        uint256 needed = e.enrolled - e.acknowledged;
        if (found != needed) revert ReleasesMissing(needed, found);
        // All who were proven to be unpaid are enrolled, and so have waived it.
        if (_cases[id].unpaid != 0) _cases[id].unpaid = 0;
        if (released.length == 0) return;
        e.releasedBy = released.hash();
        emit Released(id, released);
    }

    /// @dev The escrow's last change; what is left of it is then the requester's.
    function _shut(EscrowId id, Escrow storage e) private returns (uint96 rest) {
        e.closed = true;
        rest = e.deposited - e.paid;
        emit Closed(id, rest, e.released);
    }

    function _setProtocolFee(Ppm fee) private {
        if (Ppm.unwrap(fee) > Ppm.unwrap(MAX_PROTOCOL_FEE)) revert FeeTooHigh(fee, MAX_PROTOCOL_FEE);
        protocolFee = fee;
        emit ProtocolFeeSet(fee);
    }

    function _setTreasury(address treasury_) private {
        if (treasury_ == address(0)) revert ZeroAddress();
        treasury = treasury_;
        emit TreasurySet(treasury_);
    }

    function _requireOpen(EscrowId id) private view {
        State state = stateOf(id);
        if (state != State.Open) revert WrongState(id, state);
    }

    function _requireCoordinator(EscrowId id, Escrow storage e) private view {
        if (!_isCoordinator(e, msg.sender)) revert NotCoordinator(id, msg.sender);
    }

    /// @dev The escrow, if the caller may pay by releases from it now.
    function _releasable(EscrowId id) private view returns (Escrow storage e) {
        e = _live(id);
        _requireCoordinator(id, e);
        if (_cases[id].convicted) revert CoordinatorConvicted(id);
    }

    /// @dev Who wants no more than what, signed by the provider's operator or by a result key that is bound to it now.
    function _released(EscrowId id, SignedRelease calldata signed) private view returns (address, uint96) {
        (address provider, uint96 amount) = (signed.provider, signed.amount);
        address signer = _releaseSigner(id, signed);
        if (!_isSignedByProvider(signer, provider)) revert WrongSigner(provider, signer);
        return (provider, amount);
    }

    /// @dev Zero where the signature is none.
    function _releaseSigner(EscrowId id, SignedRelease calldata signed) private view returns (address signer) {
        bytes32 digest = _hashTypedDataV4(Vouchers.releaseHash(id, signed.provider, signed.amount));
        // slither-disable-next-line unused-return
        (signer,,) = ECDSA.tryRecover(digest, signed.r, signed.vs);
    }

    function _isSignedByProvider(address signer, address provider) private view returns (bool) {
        if (signer == address(0)) return false;
        // slither-disable-next-line calls-loop -- a view of a contract that is fixed, for those who use a result key
        return signer == provider || staking.isBoundTo(signer, provider);
    }

    /// @dev A release is paid in full or not at all.
    function _requirePayable(Payout memory out, address provider, uint96 amount, uint96 paid) private pure {
        if (amount < paid) revert ReleaseBelowPaid(provider, amount, paid);
        if (amount - paid > out.left) revert BudgetExceeded(provider, amount - paid, out.left);
    }
}
