// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EntryPause} from "./EntryPause.sol";
import {LiquidPositions} from "./LiquidPositions.sol";
import {PermitEntry} from "./PermitEntry.sol";
import {IERC7575Vault} from "./interfaces/IERC7540.sol";
import {ILiquidStake} from "./interfaces/ILiquidStake.sol";
import {ITide} from "./interfaces/ITide.sol";
import {ExitFee} from "./libraries/ExitFee.sol";
import {Ppm} from "./types/Ppm.sol";
import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Stake that stays liquid
/// @notice The ways in and out. What it has, and where, is in LiquidPositions.
contract LiquidStake is LiquidPositions, EntryPause, IERC165 {
    using ExitFee for ExitFee.Curve;
    using SafeERC20 for IERC20;

    /// @dev The bounds of parameters, in millionths.
    uint32 private constant MAX_PERFORMANCE_FEE = 200_000;
    uint32 private constant MAX_DAILY_CAP = 5_000;
    uint32 private constant MAX_LEAST_FEE = 50_000;
    uint32 private constant MAX_MOST_FEE = 100_000;
    uint32 private constant MAX_BUFFER = 250_000;
    uint32 private constant MAX_CAP = 500_000;
    uint8 private constant MAX_BOND_MULTIPLE = 20;

    /// @dev The seed's shares have no owner that could move them.
    address private constant NOBODY = address(0xdead);

    uint256 private constant MIN_SEED = 1e18;

    /// @dev ERC-4626's and `share()`: the interface of a vault by ERC-7575.
    bytes4 private constant VAULT_INTERFACE = 0x2f0a18c5;

    /// @notice Deploys and seeds in one: the deployer has allowed this contract's address to take the seed.
    constructor(Setup memory setup) AccessManaged(setup.authority) PermitEntry(setup.tide) LiquidPositions(setup) {
        if (setup.share.liquidStake() != address(this)) revert NotItsEntryPoint(setup.share.liquidStake());
        if (setup.seed < MIN_SEED) revert SeedTooSmall(setup.seed);
        _setTreasury(setup.treasury);
        _setParams(setup.params);
        IERC20(tide).forceApprove(address(setup.staking), type(uint256).max);
        _takeIn(setup.seed);
        _pull(setup.seed);
        setup.share.mint(NOBODY, setup.seed);
    }

    // --------------------------------------------------------------------------------------------- entries

    /// @notice ERC-4626: takes exactly `assets` of the caller's, for as many shares as `previewDeposit` says.
    function deposit(uint256 assets, address receiver) external whenEntriesOpen returns (uint256 shares) {
        _sync();
        shares = _toSharesDown(assets);
        _enter(assets, shares, receiver);
    }

    /// @notice ERC-4626: gives exactly `shares`, for as much as `previewMint` says.
    function mint(uint256 shares, address receiver) external whenEntriesOpen returns (uint256 assets) {
        _sync();
        assets = _toAssetsUp(shares);
        _enter(assets, shares, receiver);
    }

    // ----------------------------------------------------------------------------------------------- exits

    /// @notice ERC-4626: pays exactly `assets` at once out of the buffer, for as many shares as `previewWithdraw` says: those
    /// that the assets and the fee are worth.
    function withdraw(uint256 assets, address receiver, address owner) external returns (uint256 shares) {
        _sync();
        uint256 most = isCalm() ? instantRoom() : 0;
        if (assets > most) revert WithdrawOverMax(most, assets);
        uint256 gross = assets + _feeUp(most, assets);
        shares = _toSharesUp(gross);
        _exit(assets, gross, shares, receiver, owner);
    }

    /// @notice ERC-4626: burns exactly `shares` and pays at once out of the buffer what `previewRedeem` says: what they are
    /// worth less the fee.
    function redeem(uint256 shares, address receiver, address owner) external returns (uint256 assets) {
        _sync();
        uint256 most = _redeemable();
        if (shares > most) revert WithdrawOverMax(most, shares);
        uint256 gross = _toAssetsDown(shares);
        assets = _netDown(gross);
        _exit(assets, gross, shares, receiver, owner);
    }

    /// @inheritdoc ILiquidStake
    function settleExits(uint256 shares, uint256 most) external returns (uint256 paid, uint256 value) {
        if (msg.sender != address(_exitQueue)) revert NotExitQueue(msg.sender);
        _sync();
        value = _toAssetsDown(shares);
        paid = Math.min(value, most);
        if (paid > _buffer) revert BufferTooSmall(_buffer, paid);
        _letOut(value, paid, shares);
        _share.burnFrom(msg.sender, msg.sender, shares);
        emit ExitsSettled(shares, value, paid);
        if (paid > 0) IERC20(tide).safeTransfer(msg.sender, paid);
    }

    /// @inheritdoc ILiquidStake
    function takeBack(uint256 amount) external {
        if (msg.sender != address(_exitQueue)) revert NotExitQueue(msg.sender);
        _sync();
        _streamIn(amount);
    }

    /// @inheritdoc ILiquidStake
    function recapitalise(uint256 amount) external {
        _sync();
        uint256 least = _lackUp();
        if (least == 0 || amount < least) revert RecapitalisationInvalid(least);
        _takeIn(amount);
        emit Recapitalised(msg.sender, amount);
        _pull(amount);
        _report();
    }

    // --------------------------------------------------------------------------------------------- governed

    /// @inheritdoc ILiquidStake
    function setParams(Params calldata params) external restricted {
        _sync();
        _setParams(params);
        _report();
    }

    /// @inheritdoc ILiquidStake
    function setTreasury(address treasury_) external restricted {
        _setTreasury(treasury_);
    }

    /// @inheritdoc ILiquidStake
    function setProvider(address provider, uint16 weight, uint16 operator) external restricted {
        _sync();
        _list(provider, weight, operator);
    }

    // ------------------------------------------------------------------------------------------------ views

    /// @notice TIDE.
    function asset() external view returns (address) {
        return address(tide);
    }

    /// @inheritdoc IERC7575Vault
    function share() external view returns (address) {
        return address(_share);
    }

    /// @notice ERC-4626: what all shares are worth, with every slash counted. What streams is not in it yet.
    function totalAssets() external view returns (uint256 assets) {
        (assets,) = _live();
    }

    /// @notice ERC-4626: rounded down.
    function convertToShares(uint256 assets) external view returns (uint256) {
        return _toSharesDown(assets);
    }

    /// @notice ERC-4626: rounded down; without the fee of an instant exit.
    function convertToAssets(uint256 shares) external view returns (uint256) {
        return _toAssetsDown(shares);
    }

    /// @notice ERC-4626: zero while entries are closed, where providers take no more, and where a share is worth next to
    /// nothing.
    function maxDeposit(address) public view returns (uint256) {
        // slither-disable-next-line timestamp
        return block.timestamp < pausedUntil ? 0 : _roomToEnter();
    }

    /// @notice ERC-4626: the shares of that.
    function maxMint(address receiver) external view returns (uint256) {
        return _toSharesDown(maxDeposit(receiver));
    }

    /// @notice ERC-4626: rounded down.
    function previewDeposit(uint256 assets) external view returns (uint256) {
        return _toSharesDown(assets);
    }

    /// @notice ERC-4626: rounded up.
    function previewMint(uint256 shares) external view returns (uint256) {
        return _toAssetsUp(shares);
    }

    /// @notice ERC-4626: what the buffer has and the owner's shares pay for; nothing while a case is open that could cost
    /// more than the fee.
    function maxWithdraw(address owner) external view returns (uint256) {
        if (!isCalm()) return 0;
        return _netDown(_toAssetsDown(_share.balanceOf(owner)));
    }

    /// @notice ERC-4626: the shares of that.
    function maxRedeem(address owner) external view returns (uint256) {
        return Math.min(_share.balanceOf(owner), _redeemable());
    }

    /// @notice ERC-4626: with the fee, rounded up.
    function previewWithdraw(uint256 assets) external view returns (uint256) {
        return _toSharesUp(assets + exitFeeUp(assets));
    }

    /// @notice ERC-4626: less the fee, rounded down.
    function previewRedeem(uint256 shares) external view returns (uint256) {
        return _netDown(_toAssetsDown(shares));
    }

    /// @inheritdoc ILiquidStake
    function exitFeeUp(uint256 assets) public view returns (uint256) {
        return _feeUp(instantRoom(), assets);
    }

    /// @inheritdoc ILiquidStake
    function parameters() external view returns (Params memory) {
        return _params;
    }

    /// @inheritdoc ILiquidStake
    function treasury() external view returns (address) {
        return _treasury;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == VAULT_INTERFACE || interfaceId == type(IERC165).interfaceId;
    }

    function _enter(uint256 assets, uint256 shares, address receiver) private {
        uint256 most = _roomToEnter();
        if (assets > most) revert DepositOverMax(most, assets);
        if (shares == 0) revert ZeroShares();
        _takeIn(assets);
        emit IERC4626.Deposit(msg.sender, receiver, assets, shares);
        _pull(assets);
        _share.mint(receiver, shares);
    }

    function _exit(uint256 assets, uint256 gross, uint256 shares, address receiver, address owner) private {
        if (shares == 0) revert ZeroShares();
        _letOut(gross, assets, shares);
        _share.burnFrom(owner, msg.sender, shares);
        emit IERC4626.Withdraw(msg.sender, receiver, owner, assets, shares);
        if (assets > 0) IERC20(tide).safeTransfer(receiver, assets);
    }

    function _pull(uint256 amount) private {
        IERC20(tide).safeTransferFrom(msg.sender, address(this), amount);
    }

    // As many shares as the whole of the buffer pays for.
    function _redeemable() private view returns (uint256) {
        if (!isCalm()) return 0;
        uint256 room = instantRoom();
        return _toSharesDown(room + _feeUp(room, room));
    }

    function _feeUp(uint256 room, uint256 assets) private view returns (uint256) {
        return _curve().feeUp(room, assets);
    }

    function _netDown(uint256 gross) private view returns (uint256) {
        return _curve().netDown(instantRoom(), gross);
    }

    function _curve() private view returns (ExitFee.Curve memory) {
        return ExitFee.Curve(_params.minExitFee, _params.maxExitFee, Math.max(_target, 1));
    }

    function _setTreasury(address treasury_) private {
        if (treasury_ == address(0)) revert TreasuryIsZero();
        _treasury = treasury_;
        emit TreasurySet(treasury_);
    }

    function _setParams(Params memory p) private {
        uint256 daily = Ppm.unwrap(p.dailyCap);
        uint256 least = Ppm.unwrap(p.minExitFee);
        // Who enters and leaves at once takes at most a stream period's earnings along, and pays for as much.
        bool fees = Ppm.unwrap(p.performanceFee) <= MAX_PERFORMANCE_FEE && daily > 0 && daily <= MAX_DAILY_CAP
            && least >= daily * STREAM / 1 days && least <= MAX_LEAST_FEE && least <= Ppm.unwrap(p.maxExitFee)
            && Ppm.unwrap(p.maxExitFee) <= MAX_MOST_FEE;
        bool caps = Ppm.unwrap(p.bufferTarget) <= MAX_BUFFER && !p.providerCap.isZero()
            && Ppm.unwrap(p.providerCap) <= Ppm.unwrap(p.operatorCap) && Ppm.unwrap(p.operatorCap) <= MAX_CAP
            && p.bondMultiple > 0 && p.bondMultiple <= MAX_BOND_MULTIPLE;
        if (!fees || !caps) revert ParamsOutOfBounds(p);
        _params = p;
        emit ParamsSet(p);
    }
}
