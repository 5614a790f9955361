// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PoolId} from "../types/PoolId.sol";
import {Ppm} from "../types/Ppm.sol";
import {Role} from "../types/Role.sol";
import {ThawId} from "../types/ThawId.sol";

/// @title Stake of operators and of those who delegate to them
/// @notice Every stake lies in a pool of shares: an operator's own bond for each of its roles, and for a provider a
/// pool of delegations. Stake leaves by thawing: it stays slashable for exactly the thaw period and cannot be
/// stopped. Nothing here loops over delegators or thaws. All amounts are wei of TIDE.
///
/// TIDE held = what is active, locked and thawing in all pools + what operators have earned. TIDE sent here by plain
/// transfer belongs to nobody and is counted nowhere.
interface IProviderStaking {
    // ---------------------------------------------------------------------------------------------- types

    /// @notice A key that signs results for an operator, and the network key of the node that holds it.
    /// @param nodeKey The node's Ed25519 key. A claim of the operator: no chain can check it, its peers do.
    /// @param resultKey The address of the secp256k1 key that signs results.
    /// @param signature By the result key, over EIP-712 `ResultKeyBinding(address operator,bytes32 nodeKey,address
    /// resultKey)` in this contract's domain ("Tidemill ProviderStaking", "1"): nobody binds a key that it does not
    /// hold.
    struct KeyBinding {
        bytes32 nodeKey;
        address resultKey;
        bytes signature;
    }

    /// @notice Whose key a result key is, for ever, and when it was in use: from `boundAt` to before `unboundAt`, in
    /// seconds; zero while it is. What it signs counts for leases of that time alone. Where it came back, the first
    /// `boundAt` stays: who binds it again answers for the time between too.
    struct ResultKey {
        address operator;
        uint48 boundAt;
        uint48 unboundAt;
        bytes32 nodeKey;
    }

    /// @notice Whose key a voucher key is, for ever, and when it was in use, as for result keys. Escrows that were opened
    /// with it keep it to their end.
    struct VoucherKey {
        address coordinator;
        uint48 boundAt;
        uint48 unboundAt;
    }

    /// @notice Pay for one provider.
    struct Credit {
        address provider;
        uint96 amount;
    }

    /// @notice A slasher that the contract is born with.
    struct InitialSlasher {
        address slasher;
        Role role;
        Reach reach;
    }

    /// @notice What a slasher may take for one case.
    /// @param own Of the operator's own stake.
    /// @param delegated Of what others have delegated to it: zero, or at most half and then with all of `own`. Zero for
    /// coordinators.
    struct Reach {
        Ppm own;
        Ppm delegated;
    }

    /// @notice What else is known of an operator in one role. Deposits are not taken while a case is open and marked.
    /// @param maxDelegated The most that may be delegated to it; zero until a provider opens its pool.
    /// @param slashes How often it lost something.
    /// @param openCases Cases that were opened and not closed.
    /// @param markedUntil Until when they count: a thaw period after the last one was opened.
    struct Standing {
        uint96 maxDelegated;
        uint32 slashes;
        uint32 openCases;
        uint48 markedUntil;
    }

    /// @notice An operator's record.
    /// @param earned What the operator may withdraw at once.
    /// @param commission What it takes of its delegators' part of its pay now.
    /// @param nextCommission What it will take from `nextCommissionAt` on; equal to `commission` if no change waits.
    struct Operator {
        uint96 earned;
        Ppm commission;
        Ppm nextCommission;
        uint48 nextCommissionAt;
        bool isProvider;
        bool isCoordinator;
    }

    /// @notice All that answers for an operator in one role. The delegated parts are zero for coordinators.
    /// @param bonded Its own active stake.
    /// @param bondThawing Its own stake on its way out that can still be slashed.
    /// @param delegated Others' active stake behind it.
    /// @param delegatedLocked Rewards of its delegators that have not streamed to them yet.
    /// @param delegatedThawing Others' stake on its way out that can still be slashed.
    /// @param moved Others' stake that went to another provider and can still be slashed for this one.
    struct Stake {
        uint256 bonded;
        uint256 bondThawing;
        uint256 delegated;
        uint256 delegatedLocked;
        uint256 delegatedThawing;
        uint256 moved;
    }

    /// @notice What lies in one pool now.
    /// @param active Tokens behind the shares.
    /// @param locked Tokens that have not streamed to them yet.
    /// @param thawing Tokens set aside for requests to leave, those whose time is over too, until they are withdrawn.
    /// @param shares All shares, as of this era. Some may be nobody's, at most one for each holder: what rounding left
    /// when an era ended.
    /// @param streamEnd When the locked tokens will all have arrived.
    /// @param era How often the pool's shares were divided by a million; seven times at once where nothing was left.
    /// @param thawEra The era in which a thaw would begin.
    struct PoolState {
        uint256 active;
        uint256 locked;
        uint256 thawing;
        uint256 shares;
        uint48 streamEnd;
        uint32 era;
        uint32 thawEra;
    }

    /// @notice One request to leave.
    /// @param owner Who may withdraw it; zero once it is withdrawn.
    /// @param end From this time on it cannot be slashed and can be withdrawn.
    /// @param value What it is worth, after every slash so far.
    struct ThawRequest {
        address owner;
        uint48 end;
        uint256 value;
    }

    /// @notice Stake that went from one provider's delegations to another's, and until `end` answers for both.
    /// @param owner Whose it is; zero once it is settled.
    /// @param from The provider that it left.
    /// @param to The provider that it is with.
    /// @param end From this time on it can be settled, where it does not thaw.
    /// @param shares Its shares in the pool of `to`, as of that pool's era, before what is lost by slashes of `from`; zero
    /// once it thaws.
    /// @param thawId Its request to leave `to`; zero if there is none.
    /// @param amount What it was worth when it moved.
    /// @param kept What of that amount slashes of `from` left so far: of its shares, or of what its request gives, it keeps
    /// this part.
    struct Move {
        address owner;
        address from;
        address to;
        uint48 end;
        uint256 shares;
        ThawId thawId;
        uint256 amount;
        uint256 kept;
    }

    /// @notice How far a case is. Growing: it began with a slash, and what answers grows with the operator's stake. Open:
    /// it was opened as such, and what answers is what was there. Closed: it takes nothing more.
    enum CasePhase {
        None,
        Growing,
        Open,
        Closed
    }

    /// @notice A slasher's case against one operator. Each half: the slasher's fraction when the case began, what it may
    /// take at most, as of its opening or last slash, and what it took.
    struct Case {
        Ppm own;
        uint96 ownBound;
        uint96 ownTaken;
        CasePhase phase;
        Ppm delegated;
        uint96 delegatedBound;
        uint96 delegatedTaken;
    }

    // --------------------------------------------------------------------------------------------- events

    /// @notice An operator took up a role.
    event Registered(Role indexed role, address indexed operator, bytes32 metadataHash);
    /// @notice What an operator says of itself changed.
    event MetadataSet(Role indexed role, address indexed operator, bytes32 metadataHash);
    /// @notice A result key came into use.
    event KeysBound(address indexed operator, address indexed resultKey, bytes32 indexed nodeKey);
    /// @notice A result key went out of use. It stays its operator's as evidence.
    event KeysUnbound(address indexed operator, address indexed resultKey);
    /// @notice A voucher key came into use.
    event VoucherKeyBound(address indexed coordinator, address indexed voucherKey);
    /// @notice A voucher key went out of use for new escrows.
    event VoucherKeyUnbound(address indexed coordinator, address indexed voucherKey);
    /// @notice No entry lifts what is delegated to the provider over `most`.
    event MaxDelegatedSet(address indexed provider, uint96 most);
    /// @notice A provider will take `commission` from `effectiveAt` on.
    event CommissionAnnounced(address indexed provider, Ppm commission, uint48 effectiveAt);
    /// @notice Stake entered a pool.
    event Staked(PoolId indexed pool, address indexed holder, uint256 amount, uint256 shares);
    /// @notice Stake began to thaw. An exit worth nothing has the id zero and no request.
    event Thawed(PoolId indexed pool, address indexed holder, uint256 shares, uint256 amount, ThawId thawId);
    /// @notice Stake left `from` for `to`, and answers for both until a thaw period is over.
    event Redelegated(
        ThawId indexed moveId, address indexed holder, address indexed to, address from, uint256 amount, uint256 shares
    );
    /// @notice Stake that moved became its holder's as any other, as `shares`, or was paid, as `paid`. `forfeited` was burned:
    /// what slashes of the provider that it had left cost it.
    event MoveSettled(ThawId indexed moveId, address indexed holder, uint256 shares, uint256 paid, uint256 forfeited);
    /// @notice A slash cost the stake that left `provider` for others `amount`, as of when it left.
    event MovedSlashed(address indexed provider, uint256 amount);
    /// @notice Thawed stake was paid out.
    event Withdrawn(ThawId indexed thawId, address indexed holder, uint256 amount);
    /// @notice An operator took its earnings.
    event EarningsWithdrawn(address indexed operator, uint256 amount);
    /// @notice A provider was paid: `toProvider` to itself, `toDelegators` streaming to its delegators.
    event Credited(address indexed provider, address indexed payer, uint256 toProvider, uint256 toDelegators);
    /// @notice Pay for an operator that is no provider was not pulled.
    event CreditSkipped(address indexed provider, address indexed payer, uint256 amount);
    /// @notice What was left in a pool that has no holders to pay, and was not for who left it, went to its operator.
    event LeftToOperator(PoolId indexed pool, uint256 amount);
    /// @notice Somebody gave `amount` to a provider's delegators; it streams to them.
    event Donated(address indexed provider, address indexed from, uint256 amount);
    /// @notice A slasher opened a case: it may take these of what is there now.
    event CaseOpened(
        Role indexed role,
        address indexed operator,
        bytes32 indexed caseId,
        address slasher,
        uint256 ownBound,
        uint256 delegatedBound
    );
    /// @notice A slasher closed a case that it had opened.
    event CaseClosed(Role indexed role, address indexed operator, bytes32 indexed caseId, address slasher);
    /// @notice Stake was taken, `own` of the operator's bond and `delegated` of its delegators'.
    event Slashed(
        Role indexed role,
        address indexed operator,
        bytes32 indexed caseId,
        address slasher,
        uint256 own,
        uint256 delegated
    );
    /// @notice A slash left a pool's shares worth so little that all were divided by a million for each era from `era`
    /// to `next`, which changes nobody's value; or it left nothing, and after seven eras at once no share is left.
    event EraEnded(PoolId indexed pool, uint32 era, uint32 next);
    /// @notice A slash left so little of a pool's thaws in their window that new ones count in units that are a
    /// billionfold for each era from `era` to `next`, which changes no value; or it left nothing, and five eras end at
    /// once.
    event ThawEraEnded(PoolId indexed pool, uint32 era, uint32 next);
    /// @notice A slasher will have this reach from `effectiveAt` on, and has the lesser of it and the former one until
    /// then; cases that began keep theirs.
    event SlasherSet(address indexed slasher, Role indexed role, Reach reach, uint48 effectiveAt);
    /// @notice How many times its own active bond may be delegated to a provider changed.
    event DelegationRatioSet(uint8 ratio);

    // --------------------------------------------------------------------------------------------- errors

    /// @notice The operator has that role already.
    error AlreadyRegistered(Role role, address operator);
    /// @notice The operator does not have that role.
    error NotRegistered(Role role, address operator);
    /// @notice The key is another operator's.
    error KeyTaken(address key, address operator);
    /// @notice The key is in use already.
    error KeyAlreadyBound(address key);
    /// @notice The key is not in use by the caller.
    error KeyNotBound(address key);
    /// @notice The signature is not the key's.
    error KeySignatureInvalid(address key);
    /// @notice Nothing enters or leaves by this.
    error ZeroAmount();
    /// @notice The amount is worth less than one share.
    error AmountBelowOneShare(uint256 amount);
    /// @notice The holder has only `held` shares.
    error NotEnoughShares(uint256 held, uint256 wanted);
    /// @notice The provider takes only `room` more delegation: by its own bond, by what it allows, or for an open case.
    error DelegationOverRoom(uint256 room, uint256 wanted);
    /// @notice Stake moves to another provider.
    error SameProvider(address provider);
    /// @notice The move is not the caller's, or leaves already.
    error NotMoveOwner(ThawId moveId);
    /// @notice There is no such move, or it is settled.
    error NoSuchMove(ThawId moveId);
    /// @notice The room gives fewer shares than wanted.
    error TooFewShares(uint256 shares, uint256 wanted);
    /// @notice The past is what is before this second.
    error NotYetPast(uint48 time);
    /// @notice The request is not the caller's, or is withdrawn already.
    error NotThawOwner(ThawId thawId);
    /// @notice The request is still thawing.
    error StillThawing(ThawId thawId, uint48 end);
    /// @notice Only a slasher of that role may open a case.
    error NotSlasher(Role role, address caller);
    /// @notice The case is too far for this, or not far enough.
    error WrongCasePhase(bytes32 caseId, CasePhase phase);
    /// @notice A reach to delegations is at most a half, and with all of the own bond; to coordinators' there is none.
    error ReachOutOfBounds(Role role, Reach reach);
    /// @notice The ratio must be within 1 to 20.
    error RatioOutOfBounds(uint8 given);
    /// @notice The thaw period must be at least the stream period, and that at least a second.
    error PeriodsOutOfBounds(uint32 thawPeriod, uint32 streamPeriod);
    /// @notice A slasher cannot be the zero address.
    error SlasherIsZero();

    // --------------------------------------------------------------------------------------- registration

    /// @notice Makes the caller a provider, for ever.
    /// @param metadataHash Of what it says of itself off the chain.
    /// @param commission What it takes of its delegators' part of its pay, from now on.
    /// @param keys Its first keys; more by `bindKeys`.
    function registerProvider(bytes32 metadataHash, Ppm commission, KeyBinding calldata keys) external;

    /// @notice Makes the caller a coordinator, for ever.
    function registerCoordinator(bytes32 metadataHash) external;

    /// @notice Replaces what the caller says of itself.
    function setMetadata(Role role, bytes32 metadataHash) external;

    /// @notice Brings a result key into use for the caller, a provider. A result key belongs to one operator for ever,
    /// so that what it signed stays evidence; an unbound one may come back.
    function bindKeys(KeyBinding calldata keys) external;

    /// @notice Takes a result key of the caller's out of use.
    function unbindKeys(address resultKey) external;

    /// @notice Brings a voucher key into use for the caller, a coordinator, whose bond answers for what it signs in escrows
    /// that name it. It belongs to one coordinator for ever.
    /// @param signature By the voucher key, over EIP-712 `VoucherKeyBinding(address coordinator,address voucherKey)` in
    /// this contract's domain.
    function bindVoucherKey(address voucherKey, bytes calldata signature) external;

    /// @notice Takes a voucher key of the caller's out of use: no more escrows are opened with it.
    function unbindVoucherKey(address voucherKey) external;

    /// @notice Announces the caller's next commission. It takes effect after the thaw period, so that every delegator
    /// can leave first, and at once while nobody is delegated. For pay that comes within the stream period after that
    /// the lesser of the two holds. A new announcement replaces one that waits and starts the delay anew; what is in
    /// effect stays.
    function setCommission(Ppm next) external;

    /// @notice Sets the most that may be delegated to the caller, a provider. Only entries ask for it.
    function setMaxDelegated(uint96 most) external;

    // ---------------------------------------------------------------------------------------------- stake

    /// @notice Adds `amount` of the caller's to its own bond in `role`.
    /// @return shares As many as `previewBond` says.
    function bond(Role role, uint256 amount) external returns (uint256 shares);

    /// @notice Lets `shares` of the caller's bond thaw.
    /// @return thawId The request; zero if the shares were worth nothing.
    /// @return amount What is set aside.
    function unbond(Role role, uint256 shares) external returns (ThawId thawId, uint256 amount);

    /// @notice Adds `amount` of the caller's to a provider's delegation pool. The pool may grow to the delegation
    /// ratio times the provider's own active bond, and to what the provider allows; not while a case is open.
    /// @return shares As many as `previewDelegate` says.
    function delegate(address provider, uint256 amount) external returns (uint256 shares);

    /// @notice Adds as much of `amount` as there is room for, which may be nothing. Reverts where that gives fewer shares
    /// than `minShares`.
    /// @return entered What was added.
    /// @return shares What it gave.
    function delegateUpTo(address provider, uint256 amount, uint256 minShares)
        external
        returns (uint256 entered, uint256 shares);

    /// @notice Lets `shares` of the caller's delegation thaw. Always possible. With the last who leaves goes what
    /// streams, as far as its shares had been there a stream period ago.
    /// @return thawId The request; zero if the shares were worth nothing.
    /// @return amount What is set aside.
    function undelegate(address provider, uint256 shares) external returns (ThawId thawId, uint256 amount);

    /// @notice Moves `shares` of the caller's from one provider's delegations to another's at once. Until a thaw period is
    /// over they answer for both: each slash that takes a part of the delegations of `from` costs them the same part of
    /// what they brought along. That is burned when the move is settled. Until then they cannot move again, and do not
    /// vote. An entry to `to`, by the rules of `delegate`; gives at least `minShares` there.
    /// @return moveId The move. It is named like a request to leave, of the pool kind `Moved`.
    /// @return amount What moved.
    /// @return entered The shares that it gave.
    function redelegate(address from, address to, uint256 shares, uint256 minShares)
        external
        returns (ThawId moveId, uint256 amount, uint256 entered);

    /// @notice Lets all of a move of the caller's thaw where it is now. Always possible, once. What comes of it is paid by
    /// `settleMove`.
    /// @return thawId The request; zero if the shares were worth nothing, and then the move is over.
    /// @return amount What is set aside.
    function undelegateMoved(ThawId moveId) external returns (ThawId thawId, uint256 amount);

    /// @notice Ends a move whose time is over: gives its owner the shares, or pays what thawed, less the part that slashes
    /// of the provider that it had left cost it, rounded against the owner. Anybody may.
    /// @return shares What the owner got of shares.
    /// @return paid What it was paid.
    /// @return forfeited What was burned.
    function settleMove(ThawId moveId) external returns (uint256 shares, uint256 paid, uint256 forfeited);

    /// @notice Pays out requests of the caller's own whose thaw period is over.
    function withdraw(ThawId[] calldata thawIds) external returns (uint256 amount);

    /// @notice Pays out what the caller has earned as an operator.
    function withdrawEarnings() external returns (uint256 amount);

    // ------------------------------------------------------------------------------------------- money in

    /// @notice Pays providers, by the caller's money. Of each amount the own and the delegated stake earn the same per
    /// token; of the delegators' part the provider keeps its commission, rounded down, and the rest streams to them
    /// over the stream period. Of either stake counts the lesser of what is there and what was there a stream period
    /// ago; where nothing was, all is the provider's, and so is what would more than double the delegators' stake. Pay for an account that is no provider is skipped and not pulled, so that one bad payee
    /// holds up nobody. There is no other way to pay a provider here, and so none around its delegators.
    /// @return total What was pulled.
    function credit(Credit[] calldata credits) external returns (uint256 total);

    /// @notice Gives the caller's money to a provider's delegators, without commission: cover for a slash, or a reward. It
    /// streams to them as pay does, at most what doubles the stake that was there a stream period ago.
    /// @return taken What was pulled.
    function donate(address provider, uint256 amount) external returns (uint256 taken);

    // ------------------------------------------------------------------------------------------- slashing

    /// @notice Opens a case before it is known what it takes: it may take the caller's reach of what answers for the
    /// operator now, and nothing of what comes after. It marks the operator until it is closed, for a thaw period at
    /// most, and while it is marked nobody can delegate to it. Slashers only.
    function openCase(Role role, address operator, bytes32 caseId) external;

    /// @notice Closes a case that the caller opened.
    function closeCase(Role role, address operator, bytes32 caseId) external;

    /// @notice Takes up to `amount` of what answers for `operator` in `role` and pays it to the caller: first the
    /// operator's own, active and thawing alike, then (for a provider) its delegators', active, locked and thawing
    /// alike. Takes less where there is less, or where the case's bound is reached, and nothing for who is no slasher;
    /// never reverts, whatever the state and whatever a provider has set; is never paused.
    /// @param caseId The slasher's name for the fault. A case keeps the fractions that its slasher had when it began, and
    /// takes at most those of the operator's own stake and of its delegators', each for itself. Where it was not opened
    /// before, they are of what is slashable plus what the case took before, at the slash where that was most. So a
    /// bond that grows after the first slash answers too: else an operator could have a case begun against itself while
    /// its bond is small, and be safe from it for ever.
    /// @return own What was really taken of the operator's and paid.
    /// @return delegated What was really taken of its delegators' and paid.
    function slash(Role role, address operator, uint256 amount, bytes32 caseId)
        external
        returns (uint256 own, uint256 delegated);

    // ------------------------------------------------------------------------------------------- governed

    /// @notice Lets `slasher` take up to `reach` of the stake of an operator in `role` for each case; zero lets it begin
    /// no more cases, and those that began keep the bound that they have. What becomes more does so after the thaw
    /// period, what becomes less at once. Restricted.
    function setSlasher(address slasher, Role role, Reach calldata reach) external;

    /// @notice Sets how many times its own active bond may be delegated to a provider, 1 to 20. Restricted.
    function setDelegationRatio(uint8 ratio) external;

    // ---------------------------------------------------------------------------------------------- views

    /// @notice How long stake thaws, in seconds. Fixed for ever.
    function thawPeriod() external view returns (uint32);

    /// @notice Over how long a reward streams to delegators, in seconds. Fixed for ever.
    function streamPeriod() external view returns (uint32);

    /// @notice How many times its own active bond may be delegated to a provider.
    function delegationRatio() external view returns (uint8);

    /// @notice The operator's record, with a commission that took effect counted as in effect.
    function operatorRecord(address operator) external view returns (Operator memory);

    /// @notice Whether `operator` has `role`.
    function isRegistered(Role role, address operator) external view returns (bool);

    /// @notice What an operator said of itself last.
    function metadataOf(Role role, address operator) external view returns (bytes32);

    /// @notice Whose result key it is or was; zero if nobody's ever.
    function operatorOf(address resultKey) external view returns (address);

    /// @notice Whether the result key is `operator`'s and in use.
    function isBoundTo(address resultKey, address operator) external view returns (bool);

    /// @notice Whose the result key was at a time at which it was in use; zero if it was not.
    function operatorAt(address resultKey, uint48 time) external view returns (address);

    /// @notice All that is known of a result key.
    function resultKeyRecord(address resultKey) external view returns (ResultKey memory);

    /// @notice Whether the voucher key is `coordinator`'s and in use.
    function isVoucherKeyOf(address voucherKey, address coordinator) external view returns (bool);

    /// @notice All that is known of a voucher key.
    function voucherKeyRecord(address voucherKey) external view returns (VoucherKey memory);

    /// @notice How many providers there are, by the order of their registration.
    function providerCount() external view returns (uint256);

    /// @notice The provider at that place, from zero on.
    function providerAt(uint256 index) external view returns (address);

    /// @notice What answers for an operator in a role, now.
    function stakeOf(Role role, address operator) external view returns (Stake memory);

    /// @notice The sum of that: what a slash of everything would take.
    function slashable(Role role, address operator) external view returns (uint256);

    /// @notice Limits and marks of an operator in a role.
    function standingOf(Role role, address operator) external view returns (Standing memory);

    /// @notice How many slashes took something, of anybody: while it is the same, nothing was lost.
    function slashCount() external view returns (uint256);

    /// @notice What lay in a pool at a time before this second, active and locked: after the last entry, exit or slash
    /// until then. For a bond that is what it was, to the wei.
    function tokensAt(PoolId pool, uint48 time) external view returns (uint256);

    /// @notice What a holder's shares were of that, rounded down. Who governs may count it as votes.
    function stakeAt(PoolId pool, address holder, uint48 time) external view returns (uint256);

    /// @notice The active own bonds of all providers together, at a time before this second.
    function bondedAt(uint48 time) external view returns (uint256);

    /// @notice What lies in a pool.
    function poolOf(PoolId pool) external view returns (PoolState memory);

    /// @notice A holder's shares in a pool, as of the pool's era.
    function sharesOf(PoolId pool, address holder) external view returns (uint256);

    /// @notice What a holder's shares are worth: what an exit now would set aside.
    function valueOf(PoolId pool, address holder) external view returns (uint256);

    /// @notice The shares that `bond` of `amount` would give now.
    function previewBond(Role role, address operator, uint256 amount) external view returns (uint256 shares);

    /// @notice The shares that `delegate` of `amount` would give now.
    function previewDelegate(address provider, uint256 amount) external view returns (uint256 shares);

    /// @notice How much more may be delegated to a provider now.
    function delegationRoom(address provider) external view returns (uint256);

    /// @notice A thaw request. Reverts if there never was one.
    function thawRequest(ThawId thawId) external view returns (ThawRequest memory);

    /// @notice Stake that moved. Reverts if there never was such a move.
    function moveOf(ThawId moveId) external view returns (Move memory);

    /// @notice A slasher's case against an operator.
    function caseOf(address slasher, Role role, address operator, bytes32 caseId) external view returns (Case memory);

    /// @notice What a slasher may take for a case that begins now; zero if none may.
    function slasherReach(address slasher, Role role) external view returns (Reach memory);
}
