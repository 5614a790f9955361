// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {RequestToken} from "./RequestToken.sol";
import {IERC7540Operator, IERC7540Redeem, IERC7540RedeemTransferable, IERC7575Vault} from "./interfaces/IERC7540.sol";
import {IExitQueue} from "./interfaces/IExitQueue.sol";
import {ILiquidStake} from "./interfaces/ILiquidStake.sol";
import {IStTide} from "./interfaces/IStTide.sol";
import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IERC721Metadata} from "@openzeppelin/contracts/token/ERC721/extensions/IERC721Metadata.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title Exits by request
contract ExitQueue is RequestToken, IExitQueue {
    using Checkpoints for Checkpoints.Trace208;
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @notice The fewest shares of a request: a thousandth.
    uint256 public constant MIN_SHARES = 1e15;

    /// @dev ERC-4626's and `share()`: the interface of a vault by ERC-7575.
    bytes4 private constant VAULT_INTERFACE = 0x2f0a18c5;

    /// @dev By how many bits a batch's value is above its shares.
    uint256 private constant BATCH_BITS = 104;

    /// @dev A request as sums: of all shares up to and with it, and of what all were worth when each was made; and when it
    /// was made, in seconds. 2^112 is five million times all TIDE, and the seconds last until 2106.
    struct Ticket {
        uint112 shares;
        uint112 assets;
        uint32 time;
    }

    /// @dev What was claimed of a request in part.
    struct Claimed {
        uint128 shares;
        uint128 assets;
    }

    /// @dev What of a batch was not claimed yet.
    struct Left {
        uint128 shares;
        uint128 assets;
    }

    /// @inheritdoc IExitQueue
    uint32 public immutable minWait;

    ILiquidStake private immutable _liquid;
    IStTide private immutable _share;
    IERC20 private immutable _tide;
    uint32 private immutable _epoch;
    uint32 private immutable _thawPeriod;

    uint48 private _last;
    uint48 private _finalised;
    uint128 private _locked;

    mapping(uint256 id => Ticket) private _tickets;
    mapping(uint256 id => Claimed) private _claimed;
    /// @dev By its last request: what a batch was worth, above its shares.
    Checkpoints.Trace208 private _batches;
    mapping(uint256 batch => Left) private _left;

    constructor(IStTide share_, ILiquidStake liquid, IERC20 tide, uint32 minWait_, uint32 thawPeriod_, uint32 epoch_) {
        if (share_.exitQueue() != address(this)) revert NotItsEntryPoint(share_.exitQueue());
        if (share_.liquidStake() != address(liquid)) revert NotItsEntryPoint(share_.liquidStake());
        if (minWait_ < epoch_ || minWait_ > thawPeriod_) revert WaitOutOfBounds(minWait_);
        (_share, _liquid, _tide) = (share_, liquid, tide);
        (minWait, _thawPeriod, _epoch) = (minWait_, thawPeriod_, epoch_);
    }

    // ----------------------------------------------------------------------------------------------- exits

    /// @inheritdoc IERC7540Redeem
    function requestRedeem(uint256 shares, address controller, address owner) external returns (uint256 requestId) {
        if (shares < MIN_SHARES) revert RequestTooSmall(MIN_SHARES);
        // Nobody fills another's list.
        if (controller != owner && !_mayActFor(controller, msg.sender)) revert NotOperatorOf(controller, msg.sender);
        uint256 assets = IERC4626(address(_liquid)).convertToAssets(shares);
        requestId = ++_last;
        Ticket memory before = _tickets[requestId - 1];
        _tickets[requestId] = Ticket({
            shares: (before.shares + shares).toUint112(),
            assets: (before.assets + assets).toUint112(),
            time: uint32(block.timestamp)
        });
        _give(controller, requestId);
        emit RedeemRequest(controller, owner, requestId, msg.sender, shares);
        _share.queueFrom(owner, _mayActFor(owner, msg.sender) ? owner : msg.sender, shares);
    }

    /// @inheritdoc IERC7540RedeemTransferable
    function transferRedeemRequest(uint256 requestId, address oldController, address newController) external {
        if (!_mayActFor(oldController, msg.sender)) revert NotOperatorOf(oldController, msg.sender);
        if (requestId <= _finalised || _controllerOf(requestId) != oldController) {
            revert NotPending(requestId, oldController);
        }
        _hand(oldController, newController, requestId);
    }

    /// @inheritdoc IExitQueue
    function finalise(uint256 last) external returns (uint256 locked) {
        uint256 done = _finalised;
        if (last <= done || last > _last) revert NothingToFinalise(last);
        Ticket memory to = _tickets[last];
        Ticket memory from = _tickets[done];
        // slither-disable-start timestamp
        if (block.timestamp < uint256(to.time) + minWait) revert TooEarly(last, uint48(to.time) + minWait);
        uint48 latest = _latestClaimAt(to.time);
        if (block.timestamp < latest && !_liquid.isCalm()) revert CaseOpen(last, latest);
        // slither-disable-end timestamp
        uint256 shares = to.shares - from.shares;
        uint256 value;
        _finalised = uint48(last);
        (locked, value) = _liquid.settleExits(shares, to.assets - from.assets);
        // slither-disable-next-line unused-return
        _batches.push(uint48(last), (value << BATCH_BITS | shares).toUint208());
        _left[last] = Left(uint128(shares), uint128(locked));
        _locked += uint128(locked);
        emit Finalised(done + 1, last, shares, value, locked);
    }

    /// @inheritdoc IExitQueue
    function claim(uint256[] calldata requestIds, address receiver) external returns (uint256 assets) {
        for (uint256 i = 0; i < requestIds.length; ++i) {
            uint256 id = requestIds[i];
            address controller = _controllerOf(id);
            if (controller == address(0) || !_mayActFor(controller, msg.sender) || id > _finalised) {
                revert NotClaimable(id);
            }
            (uint256 batch, uint256 shares, uint256 worth) = _claimOf(id);
            assets += worth;
            _take(id, batch, shares, worth, true);
            emit Withdraw(msg.sender, receiver, controller, worth, shares);
        }
        _pay(receiver, assets);
    }

    /// @notice ERC-7540: claims exactly `shares` of the controller's requests, the oldest that it has first.
    function redeem(uint256 shares, address receiver, address controller) external returns (uint256 assets) {
        if (!_mayActFor(controller, msg.sender)) revert NotOperatorOf(controller, msg.sender);
        uint256 done = _finalised;
        uint256 wanted = shares;
        uint256 id = _firstOf(controller);
        while (wanted > 0 && id != 0) {
            uint256 next = _nextOf(id);
            if (id <= done) {
                (uint256 batch, uint256 has, uint256 worth) = _claimOf(id);
                uint256 part = Math.min(wanted, has);
                uint256 gets = part == has ? worth : worth * part / has;
                wanted -= part;
                assets += gets;
                _take(id, batch, part, gets, part == has);
            }
            id = next;
        }
        if (wanted > 0) revert ClaimOverMax(shares - wanted, shares);
        emit Withdraw(msg.sender, receiver, controller, assets, shares);
        _pay(receiver, assets);
    }

    /// @notice ERC-7540: claims exactly `assets` of the controller's requests, the oldest that it has first, for as many
    /// shares, rounded up.
    function withdraw(uint256 assets, address receiver, address controller) external returns (uint256 shares) {
        if (!_mayActFor(controller, msg.sender)) revert NotOperatorOf(controller, msg.sender);
        uint256 done = _finalised;
        uint256 wanted = assets;
        uint256 id = _firstOf(controller);
        while (wanted > 0 && id != 0) {
            uint256 next = _nextOf(id);
            if (id <= done) {
                (uint256 batch, uint256 has, uint256 worth) = _claimOf(id);
                uint256 gets = Math.min(wanted, worth);
                uint256 part = gets == worth ? has : Math.mulDiv(has, gets, worth, Math.Rounding.Ceil);
                wanted -= gets;
                shares += part;
                _take(id, batch, part, gets, part == has);
            }
            id = next;
        }
        if (wanted > 0) revert ClaimOverMax(assets - wanted, assets);
        emit Withdraw(msg.sender, receiver, controller, assets, shares);
        _pay(receiver, assets);
    }

    /// @inheritdoc IExitQueue
    function sweep(uint256 batch) external returns (uint256 amount) {
        Left memory left = _left[batch];
        if (left.shares > 0 || left.assets == 0) revert NothingToSweep(batch);
        amount = left.assets;
        delete _left[batch];
        _locked -= uint128(amount);
        emit Swept(batch, amount);
        _tide.safeTransfer(address(_liquid), amount);
        _liquid.takeBack(amount);
    }

    /// @notice ERC-4626: TIDE enters by LiquidStake.
    function deposit(uint256, address) external view returns (uint256) {
        revert EntersElsewhere(address(_liquid));
    }

    /// @notice ERC-4626: TIDE enters by LiquidStake.
    function mint(uint256, address) external view returns (uint256) {
        revert EntersElsewhere(address(_liquid));
    }

    // ----------------------------------------------------------------------------------------------- views

    /// @inheritdoc IERC7540Redeem
    function pendingRedeemRequest(uint256 requestId, address controller) external view returns (uint256 shares) {
        if (requestId <= _finalised || _controllerOf(requestId) != controller) return 0;
        return _sharesOf(requestId);
    }

    /// @inheritdoc IERC7540Redeem
    function claimableRedeemRequest(uint256 requestId, address controller) external view returns (uint256 shares) {
        if (requestId > _finalised || controller == address(0) || _controllerOf(requestId) != controller) return 0;
        (, shares,) = _claimOf(requestId);
    }

    /// @inheritdoc IExitQueue
    function requestOf(uint256 requestId) external view returns (Request memory r) {
        if (requestId == 0 || requestId > _last) revert NothingToFinalise(requestId);
        r.owner = _controllerOf(requestId);
        r.shares = _sharesOf(requestId);
        r.assets = _tickets[requestId].assets - _tickets[requestId - 1].assets;
        r.requestedAt = _tickets[requestId].time;
        r.latestClaimAt = _latestClaimAt(_tickets[requestId].time);
        if (r.owner == address(0)) return r;
        r.claimable = requestId <= _finalised;
        if (r.claimable) (, r.sharesLeft, r.assetsLeft) = _claimOf(requestId);
        else r.sharesLeft = r.shares;
    }

    /// @inheritdoc IExitQueue
    function requestsOf(address controller) external view returns (uint256[] memory ids) {
        uint256 count = 0;
        for (uint256 id = _firstOf(controller); id != 0; id = _nextOf(id)) {
            ++count;
        }
        ids = new uint256[](count);
        count = 0;
        for (uint256 id = _firstOf(controller); id != 0; id = _nextOf(id)) {
            ids[count++] = id;
        }
    }

    /// @inheritdoc IExitQueue
    function latestClaimIfRequestedNow() external view returns (uint48) {
        return _latestClaimAt(block.timestamp);
    }

    /// @inheritdoc IExitQueue
    function pendingShares() external view returns (uint256) {
        return _tickets[_last].shares - _tickets[_finalised].shares;
    }

    /// @inheritdoc IExitQueue
    function lockedAssets() external view returns (uint256) {
        return _locked;
    }

    /// @inheritdoc IExitQueue
    function counts() external view returns (uint256 last, uint256 finalised) {
        return (_last, _finalised);
    }

    /// @notice TIDE.
    function asset() external view returns (address) {
        return address(_tide);
    }

    /// @inheritdoc IERC7575Vault
    function share() external view returns (address) {
        return address(_share);
    }

    /// @notice ERC-4626: that of the whole liquid stake, as the shares are the same.
    function totalAssets() external view returns (uint256) {
        return IERC4626(address(_liquid)).totalAssets();
    }

    /// @notice ERC-4626: as LiquidStake.
    function convertToShares(uint256 assets) external view returns (uint256) {
        return IERC4626(address(_liquid)).convertToShares(assets);
    }

    /// @notice ERC-4626: as LiquidStake.
    function convertToAssets(uint256 shares) external view returns (uint256) {
        return IERC4626(address(_liquid)).convertToAssets(shares);
    }

    /// @notice ERC-4626: nothing enters here.
    function maxDeposit(address) external pure returns (uint256) {
        return 0;
    }

    /// @notice ERC-4626: nothing enters here.
    function maxMint(address) external pure returns (uint256) {
        return 0;
    }

    /// @notice ERC-7540: what the controller can claim.
    function maxWithdraw(address controller) external view returns (uint256 assets) {
        (assets,) = _claimableOf(controller);
    }

    /// @notice ERC-7540: the shares of that.
    function maxRedeem(address controller) external view returns (uint256 shares) {
        (, shares) = _claimableOf(controller);
    }

    /// @notice ERC-4626: nothing enters here.
    function previewDeposit(uint256) external view returns (uint256) {
        revert EntersElsewhere(address(_liquid));
    }

    /// @notice ERC-4626: nothing enters here.
    function previewMint(uint256) external view returns (uint256) {
        revert EntersElsewhere(address(_liquid));
    }

    /// @notice ERC-7540: reverts, as it must.
    function previewWithdraw(uint256) external pure returns (uint256) {
        revert NoPreview();
    }

    /// @notice ERC-7540: reverts, as it must.
    function previewRedeem(uint256) external pure returns (uint256) {
        revert NoPreview();
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC7540Operator).interfaceId || interfaceId == type(IERC7540Redeem).interfaceId
            || interfaceId == type(IERC7540RedeemTransferable).interfaceId || interfaceId == VAULT_INTERFACE
            || interfaceId == type(IERC721).interfaceId || interfaceId == type(IERC721Metadata).interfaceId
            || interfaceId == type(IERC165).interfaceId;
    }

    function _handed(address from, address to, uint256 id) internal override {
        if (id > _finalised) emit TransferRedeemRequest(id, from, to, _sharesOf(id));
    }

    // Takes `shares` and `assets` off a request and its batch, or ends it.
    function _take(uint256 id, uint256 batch, uint256 shares, uint256 assets, bool all) private {
        Left storage left = _left[batch];
        left.shares -= uint128(shares);
        left.assets -= uint128(assets);
        _locked -= uint128(assets);
        if (all) {
            _burn(id);
        } else {
            _claimed[id].shares += uint128(shares);
            _claimed[id].assets += uint128(assets);
        }
    }

    function _pay(address receiver, uint256 assets) private {
        if (assets > 0) _tide.safeTransfer(receiver, assets);
    }

    // What is left of a request that can be claimed, and the batch that it is of.
    function _claimOf(uint256 id) private view returns (uint256 batch, uint256 shares, uint256 assets) {
        Ticket memory to = _tickets[id];
        Ticket memory from = _tickets[id - 1];
        uint256 packed;
        (batch, packed) = _batchOf(id);
        shares = to.shares - from.shares;
        uint256 value = packed >> BATCH_BITS;
        uint256 ofAll = packed & ((1 << BATCH_BITS) - 1);
        assets = Math.min(to.assets - from.assets, Math.mulDiv(shares, value, ofAll));
        Claimed memory claimed = _claimed[id];
        shares -= claimed.shares;
        assets -= claimed.assets;
    }

    // By halving: the first batch that ends at the request or after it.
    function _batchOf(uint256 id) private view returns (uint256 batch, uint256 packed) {
        Checkpoints.Checkpoint208[] storage all = _batches._checkpoints;
        uint256 low = 0;
        uint256 high = all.length - 1;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (all[middle]._key < id) low = middle + 1;
            else high = middle;
        }
        Checkpoints.Checkpoint208 storage found = all[low];
        return (found._key, found._value);
    }

    function _claimableOf(address controller) private view returns (uint256 assets, uint256 shares) {
        uint256 done = _finalised;
        for (uint256 id = _firstOf(controller); id != 0; id = _nextOf(id)) {
            if (id > done) continue;
            (, uint256 has, uint256 worth) = _claimOf(id);
            shares += has;
            assets += worth;
        }
    }

    function _sharesOf(uint256 id) private view returns (uint256) {
        return _tickets[id].shares - _tickets[id - 1].shares;
    }

    // The end of the epoch in which a request is made, and a thaw period more: by then what is drawn for it has thawed.
    function _latestClaimAt(uint256 time) private view returns (uint48) {
        return uint48((time / _epoch + 1) * _epoch + _thawPeriod);
    }
}
