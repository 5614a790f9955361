// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EscrowAccounts} from "./EscrowAccounts.sol";
import {OverIssue} from "./OverIssue.sol";
import {Case, Escrow, IJobEscrow, Payment, State, Terms} from "./interfaces/IJobEscrow.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {ITide} from "./interfaces/ITide.sol";
import {Release, SignedRelease, SignedVoucher, Voucher} from "./libraries/Vouchers.sol";
import {EscrowId} from "./types/EscrowId.sol";
import {Ppm} from "./types/Ppm.sol";
import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Budgets of jobs, locked until they are paid or go back
/// @dev `EscrowAccounts` keeps the accounts, `OverIssue` the fraud's; here is an escrow's life.
contract JobEscrow is OverIssue {
    using SafeERC20 for ITide;

    Ppm public constant MAX_PROTOCOL_FEE = Ppm.wrap(50_000);

    /// @dev With the protocol's it stays below the whole, so that a payment always leaves something to the provider.
    Ppm public constant MAX_COORDINATOR_FEE = Ppm.wrap(500_000);

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

        (e.requester, e.deposited, e.coordinator) = (msg.sender, terms.budget, terms.coordinator);
        (e.collectUntil, e.fee, e.protocolFee) = (terms.deadline + collectWindow, terms.fee, protocolFee);
        emit Opened(
            id,
            msg.sender,
            terms.coordinator,
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
        if (msg.sender != e.requester && msg.sender != e.coordinator) revert NotParty(id, msg.sender);
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
    function close(EscrowId id, SignedRelease[] calldata releases, bytes32 root) external {
        Escrow storage e = _live(id);
        _requireCoordinator(id, e);
        Case storage c = _cases[id];
        if (c.convicted) revert CoordinatorConvicted(id);
        Payout memory out = _payout(e, releases.length);
        address last = address(0);
        for (uint256 i = 0; i < releases.length; i++) {
            Release calldata release = releases[i].release;
            if (release.provider <= last) revert ReleasesUnsorted(release.provider);
            last = release.provider;
            _requireRelease(id, releases[i]);
            uint96 paid = _holders[id][last].paid;
            if (release.amount < paid) revert ReleaseBelowPaid(last, release.amount, paid);
            if (release.amount - paid > out.left) revert BudgetExceeded(last, release.amount - paid, out.left);
            if (!_pay(id, e, out, last, release.amount)) revert NotRegistered(last);
        }
        // Different providers, all enrolled by now: as many as there are, or some are missing.
        if (e.enrolled != releases.length) revert ReleasesMissing(e.enrolled, releases.length);
        // All who were proven to be unpaid are enrolled, and so have waived it.
        if (c.unpaid != 0) c.unpaid = 0;
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
        if (msg.sender != e.coordinator) revert NotCoordinator(id, msg.sender);
    }

    /// @dev Signed by the provider's operator, or by a result key that is bound to it now.
    function _requireRelease(EscrowId id, SignedRelease calldata signed) private view {
        Release calldata release = signed.release;
        if (release.escrow != id) revert WrongEscrow(id, release.escrow);
        address signer = ECDSA.recover(releaseDigest(release), signed.signature);
        if (signer == release.provider) return;
        // slither-disable-next-line calls-loop -- views of a contract that is fixed, for those who use a result key
        if (staking.operatorOf(signer) != release.provider || !staking.isBound(signer)) {
            revert WrongSigner(release.provider, signer);
        }
    }
}
