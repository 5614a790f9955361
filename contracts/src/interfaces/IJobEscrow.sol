// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Release, SignedRelease, SignedVoucher, Voucher} from "../libraries/Vouchers.sol";
import {EscrowId} from "../types/EscrowId.sol";
import {Ppm} from "../types/Ppm.sol";
import {IProviderStaking} from "./IProviderStaking.sol";

/// What an escrow is opened on. All of it is part of the escrow's id, so a voucher binds the terms it was given under.
struct Terms {
    /// Its bond answers for the vouchers, and the fees are its. Any account, a contract's too.
    address coordinator;
    /// Signs the vouchers, and may call for the coordinator. Its own account, or a voucher key that it has bound in the
    /// staking contract; a key's account in any case: a contract could take its signature back.
    address voucherKey;
    /// TIDE locked at the opening; `deposit` adds to it.
    uint96 budget;
    /// When the escrow ends by itself, in seconds of the chain's clock.
    uint48 deadline;
    /// The coordinator's part of every payment.
    Ppm fee;
    /// What the job is, for whoever has to judge it. Kept in the id and in the event, not in storage.
    bytes32 specHash;
}

/// What a provider shall have been paid, gross and altogether.
struct Payment {
    address provider;
    uint96 amount;
}

/// Open: work goes on. Collecting: no new work, vouchers are paid. Refundable: the rest is the requester's, and anyone
/// may send it there. Closed: the rest has been sent. Time alone leads from Open to Refundable.
enum State {
    None,
    Open,
    Collecting,
    Refundable,
    Closed
}

/// Ordered so that of an escrow's slots a close writes one.
struct Escrow {
    address requester;
    /// All that was ever put in.
    uint96 deposited;
    address coordinator;
    Ppm fee;
    /// The protocol's part of every payment, as it was at the opening.
    Ppm protocolFee;
    /// Providers that have been enrolled.
    uint32 enrolled;
    /// All that was ever paid out of it to providers, fees included.
    uint96 paid;
    /// How many of the enrolled have a release that is acknowledged.
    uint32 acknowledged;
    /// End of the collect window; the escrow itself ends one window earlier.
    uint48 collectUntil;
    bool closed;
    /// Closed early, with a release of every enrolled provider.
    bool released;
    /// Merkle root of the receipts that the last settlement named.
    bytes32 root;
    /// Of an escrow that was closed early: keccak256 over the providers of the closing releases, in rising order and
    /// each in a word of 32 bytes. 0 if there were none.
    bytes32 releasedBy;
    /// As in the terms.
    address voucherKey;
}

/// What an escrow keeps of a provider. All of it is 0 for one that was first met in the early close, paid or not: there
/// the events tell.
struct Holder {
    /// Paid so far, gross.
    uint96 paid;
    /// The best voucher that was proven against the coordinator; 0 when none was, or its loss has been made good.
    uint96 proven;
    bool enrolled;
    /// Its release has been acknowledged, and nothing was paid to it since.
    bool acknowledged;
}

/// What has been shown of a coordinator's over-issue in one escrow.
struct Case {
    /// Sum over proven providers of what their vouchers exceed their payments by.
    uint128 unpaid;
    /// The highest total or amount that a voucher shown so far speaks of.
    uint96 issued;
    bool convicted;
    /// Taken from the coordinator's bond so far.
    uint96 slashed;
    /// Of that, still set aside for the unpaid providers.
    uint96 pot;
}

/// @title Budgets of jobs, locked until they are paid to providers or go back to the requester
/// @notice A requester locks TIDE under a coordinator's name; the coordinator promises parts of it to providers by
/// vouchers, pays many at once with `settle`, and each provider can cash its last voucher alone with `collect`. The
/// escrow ends at its deadline or before, by a word of the requester or the coordinator; then providers have the
/// collect window, and what is left goes back to the requester. A coordinator that promised more than was deposited
/// loses its bond by `accuse`.
///
/// Money: what comes in by `open` and `deposit` leaves by payments (the provider's part into its record in the staking
/// contract; the fees to the coordinator and the treasury, who fetch them) and by one refund. What is taken from a bond
/// goes to the prover, to the unpaid, and to nobody (burned). The contract's balance is the sum of what has not left.
///
/// What each party must do for its own safety:
/// - A provider works only in an escrow that is Open, counts a coordinator's active bond alone (not what is thawing;
///   and it answers for all the coordinator's escrows), keeps what it is owed small beside it, and collects within the
///   window. Once it is enrolled (a first voucher, even of nothing, collected by itself does it), the escrow cannot
///   close early without it. Vouchers to accomplices of the coordinator share in the compensation, so a bond deters
///   while its burned fifth exceeds what the coordinator could withhold.
/// - A coordinator counts a deposit only when the chain will not take it back, never reuses a sequence number, and
///   never promises more in all than is deposited.
/// - A requester trusts the coordinator with the budget, and with nothing beyond it.
interface IJobEscrow {
    event Opened(
        EscrowId indexed id,
        address indexed requester,
        address indexed coordinator,
        address voucherKey,
        uint96 budget,
        uint48 deadline,
        Ppm fee,
        Ppm protocolFee,
        bytes32 specHash,
        bytes32 salt
    );
    event Deposited(EscrowId indexed id, address indexed from, uint96 amount);
    event Enrolled(EscrowId indexed id, address indexed provider);
    event Ended(EscrowId indexed id, address indexed by, uint48 collectUntil);
    /// `gross` left the escrow, `net` of it went to the provider's record in the staking contract.
    event Paid(EscrowId indexed id, address indexed provider, uint96 gross, uint96 net);
    /// The provider is not registered, so there is no record to pay into. Nothing was paid or enrolled.
    event PayeeSkipped(EscrowId indexed id, address indexed provider);
    event Settled(EscrowId indexed id, bytes32 root);
    /// The provider has released with `amount`, and been paid all of it.
    event Acknowledged(EscrowId indexed id, address indexed provider, uint96 amount);
    /// The release was passed over: its signer's key is not the provider's now, the provider has been paid more since, is
    /// not registered, or the escrow lacks the money. Nothing was paid for it.
    event ReleaseSkipped(EscrowId indexed id, address indexed provider, uint96 amount);
    /// The escrow is closed early with releases of these, in rising order: the list that `accuse` asks for. None is told
    /// where the list is empty.
    event Released(EscrowId indexed id, address[] providers);
    event Closed(EscrowId indexed id, uint96 refunded, bool released);

    event VoucherProven(EscrowId indexed id, address indexed provider, uint96 amount);
    event OverIssueProven(
        EscrowId indexed id, address indexed coordinator, address indexed prover, uint256 excess, uint256 taken
    );
    event Compensated(EscrowId indexed id, address indexed provider, uint96 amount);
    /// Slashed TIDE that nobody is owed any more was burned.
    event SurplusBurned(EscrowId indexed id, uint96 amount);

    event ProtocolFeeSet(Ppm fee);
    event TreasurySet(address indexed treasury);
    event FeesWithdrawn(address indexed to, uint256 amount);
    event BurnShareSet(Ppm share);
    /// Of the protocol's fees that were withdrawn, this was burned.
    event FeesBurned(uint256 amount);

    error ZeroAddress();
    error ZeroAmount();
    /// The staking contract lets go of a bond before the last evidence against it could come.
    error ThawTooShort(uint256 thawPeriod, uint256 needed);
    error FeeTooHigh(Ppm fee, Ppm highest);
    error DeadlineOutOfRange(uint48 deadline, uint256 latest);
    error AlreadyOpened(EscrowId id);
    /// The escrow is in a state in which this cannot be done.
    error WrongState(EscrowId id, State state);
    /// The coordinator has not bound this voucher key, or not any more.
    error VoucherKeyNotBound(address voucherKey, address coordinator);
    /// Neither the coordinator nor its voucher key.
    error NotCoordinator(EscrowId id, address caller);
    /// Neither the requester nor the coordinator, nor its voucher key.
    error NotParty(EscrowId id, address caller);
    /// The coordinator of this escrow has been convicted of over-issue.
    error CoordinatorConvicted(EscrowId id);
    error NotRegistered(address provider);
    error WrongEscrow(EscrowId expected, EscrowId found);
    error WrongSigner(address expected, address recovered);
    /// Releases come in rising order of their providers, each one once.
    error ReleasesUnsorted(address provider);
    /// Of the enrolled providers without an acknowledged release, not all have released.
    error ReleasesMissing(uint256 needed, uint256 found);
    error ReleaseBelowPaid(address provider, uint96 released, uint96 paid);
    error BudgetExceeded(address provider, uint256 asked, uint256 left);
    /// These are not the providers whose releases closed the escrow early. Where it was not closed early, or with no
    /// release, none is to be named.
    error WrongReleasedList(EscrowId id, bytes32 expected, bytes32 found);
    /// The past is what is before this second.
    error NotYetPast(uint48 time);
    error EvidenceOver(EscrowId id, uint256 since);
    error EvidenceOpen(EscrowId id, uint256 until);
    /// The two vouchers are no contradiction.
    error NoConflict();

    /// @notice Locks `terms.budget` of the caller's TIDE under `terms`. With `permit` before it in one `multicall`, no
    /// allowance is needed beforehand.
    /// @dev The id binds requester, terms and salt, so nobody can open it before the requester does, and if the chain
    /// drops the opening, vouchers that were already signed are good under the same terms or not at all.
    function open(Terms calldata terms, bytes32 salt) external returns (EscrowId id);

    /// @notice Adds `amount` of the caller's TIDE to an open escrow. It is the requester's from then on.
    function deposit(EscrowId id, uint96 amount) external;

    /// @notice The coordinator names providers that hold, or will hold, vouchers; from then on the escrow cannot close
    /// early without their release. Who is not registered is skipped; who is enrolled stays so. `settle`, `collect`,
    /// `acknowledge` and a proven voucher enrol too; `close` does not.
    function enrol(EscrowId id, address[] calldata providers) external;

    /// @notice The requester or the coordinator ends an open escrow: the collect window starts now. Without a call it
    /// starts at the deadline.
    function end(EscrowId id) external;

    /// @notice The coordinator pays each provider up to the amount named for it, in the order given and as far as the
    /// money goes. Amounts are cumulative: what has been paid already is not paid again. A payee that is not registered
    /// is skipped, so that none can stand in the way of the others.
    /// @param root Merkle root of the receipts that the payments stand for; 0 leaves the former one
    /// @return gross What left the escrow, fees included
    function settle(EscrowId id, Payment[] calldata payments, bytes32 root) external returns (uint256 gross);

    /// @notice Pays a provider up to its voucher, as far as the money goes; anyone may call. A voucher that has been
    /// paid already pays 0.
    function collect(SignedVoucher calldata signed) external returns (uint256 gross);

    /// @notice The coordinator pays providers up to the amounts they have released, ahead of an early close, which then
    /// needs no release of theirs: so an escrow of any number of providers can close early. Enrols them all. A release that
    /// is not good any more is skipped, so that none can stand in the way of the others.
    /// @dev Releases are checked as in `close`, and may come in any order. Until the close it is a payment like others:
    /// the provider's vouchers keep their force. A later payment takes the acknowledgement back, for the release was not
    /// the provider's last word; a newer one has to be acknowledged then, or listed. To name one again changes nothing.
    /// @return gross What left the escrow, fees included
    function acknowledge(EscrowId id, SignedRelease[] calldata releases) external returns (uint256 gross);

    /// @notice The coordinator pays providers up to the amounts they have released, and sends the rest to the requester
    /// at once. Every enrolled provider must be among them or be acknowledged, and may be both.
    /// @dev Releases are signed by the provider's operator or by a result key bound to it, and listed by rising
    /// provider. The coordinator's alone, since it alone knows who holds vouchers: a requester that could close without
    /// it would make it an over-issuer. Whoever held a voucher and was left out proves the over-issue, for what is
    /// refunded here is no deposit any more.
    ///
    /// Who was not enrolled before does not become so, which would cost a slot each: its `holder` stays empty, `Paid`
    /// says what it got, and of the whole list the hash is kept, and `Released` tells it. Who gets something must be
    /// registered; who asks for nothing need not be.
    function close(EscrowId id, SignedRelease[] calldata releases, bytes32 root) external;

    /// @notice Sends what is left to the requester once the collect window is over; anyone may call, always.
    function refund(EscrowId id) external;

    /// @notice Shows vouchers of one escrow. They are kept, so that evidence may come in pieces; a coordinator whose
    /// promises exceed the deposits is convicted: the escrow ends, and the excess and a penalty are taken from its bond
    /// as far as that goes. Further vouchers raise the sum, until the evidence window after the collect window is over.
    /// @dev Over-issue is the sum over providers of the greater of payment and best voucher, less all deposits (without
    /// an early refund); or the highest total or amount that a voucher speaks of, less all deposits. A provider that
    /// released an early closed escrow, by the closing list or acknowledged, counts with what it was paid, and vouchers
    /// to it are passed over. The penalty is a part of what was issued, at most of the deposits: a requester cannot
    /// raise it by a deposit.
    /// @param released The list that `Released` told of; empty if there was none
    /// @return taken What was slashed by this call: a part goes to the caller, a part is burned, the rest is for the
    /// unpaid
    function accuse(EscrowId id, SignedVoucher[] calldata vouchers, address[] calldata released)
        external
        returns (uint256 taken);

    /// @notice Shows two different vouchers of one escrow with one sequence number, which convicts by itself.
    function accuseConflict(SignedVoucher calldata a, SignedVoucher calldata b, address[] calldata released)
        external
        returns (uint256 taken);

    /// @notice After the evidence window: pays proven providers their share of the pot, in proportion to what they are
    /// unpaid and at most that, into their records in the staking contract. Anyone may call, for any of them.
    function claimCompensation(EscrowId id, address[] calldata providers) external returns (uint256 paid);

    /// @notice After the evidence window: burns what of the pot exceeds all that is still unpaid.
    function burnSurplus(EscrowId id) external returns (uint256 burned);

    /// @notice Sends the caller, a coordinator, its fees.
    function withdrawFees() external returns (uint256 amount);

    /// @notice Burns the set share of the protocol's fees, and sends the rest to the treasury; anyone may call.
    /// @return amount Both together
    function withdrawProtocolFees() external returns (uint256 amount);

    /// @notice The protocol's part of payments in escrows opened from now on.
    function setProtocolFee(Ppm fee) external;

    function setTreasury(address treasury_) external;

    /// @notice What of the protocol's fees is burned, whenever they are withdrawn from now on.
    function setBurnShare(Ppm share) external;

    /// @notice Where providers are registered and paid, and coordinators bonded.
    function staking() external view returns (IProviderStaking);

    /// @notice How long vouchers are paid after an escrow has ended, in seconds. Fixed for ever.
    function collectWindow() external view returns (uint32);

    /// @notice How long after that evidence of over-issue is taken, in seconds. Fixed for ever.
    function evidenceWindow() external view returns (uint32);

    /// @notice The longest that an escrow may be open, in seconds. Fixed for ever.
    function maxDuration() external view returns (uint32);

    /// @notice The id under which `requester` opens, or would open, an escrow.
    function escrowId(address requester, Terms calldata terms, bytes32 salt) external pure returns (EscrowId);

    function escrow(EscrowId id) external view returns (Escrow memory);

    function stateOf(EscrowId id) external view returns (State);

    function holder(EscrowId id, address provider) external view returns (Holder memory);

    function caseOf(EscrowId id) external view returns (Case memory);

    /// @notice What the provider would be short of if the escrow ended now, as far as it has been proven.
    function unpaidOf(EscrowId id, address provider) external view returns (uint96);

    /// @notice A coordinator's fees that it has not withdrawn.
    function feesOf(address coordinator) external view returns (uint256);

    function protocolFees() external view returns (uint256);

    function protocolFee() external view returns (Ppm);

    function treasury() external view returns (address);

    /// @notice What of the protocol's fees is burned.
    function burnShare() external view returns (Ppm);

    /// @notice The protocol's fees that were withdrawn until a time before this second, and what of them was burned, both
    /// from the beginning on: so what a contract pays out for a period can be held to what the period burned.
    function feesUntil(uint48 time) external view returns (uint256 withdrawn, uint256 burned);

    /// @notice The EIP-712 digest that a coordinator signs.
    function voucherDigest(Voucher calldata voucher) external view returns (bytes32);

    /// @notice The EIP-712 digest that a provider signs.
    function releaseDigest(Release calldata release) external view returns (bytes32);
}
