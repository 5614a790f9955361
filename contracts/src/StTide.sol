// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7575Share} from "./interfaces/IERC7540.sol";
import {IStTide} from "./interfaces/IStTide.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {ERC6372Utils} from "@openzeppelin/contracts/utils/ERC6372Utils.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

/// @title The share of the liquid stake
/// @notice Its entry points are named when it is deployed, before they exist, and each of them checks when it is deployed
/// that it is the one named; so nobody can ever add another.
contract StTide is ERC20, ERC20Permit, ERC20Votes, ERC165, IERC7575Share, IStTide {
    /// @inheritdoc IStTide
    address public immutable liquidStake;

    /// @inheritdoc IStTide
    address public immutable exitQueue;

    /// @dev What enters.
    address private immutable _asset;

    modifier onlyEntryPoint(address entryPoint) {
        if (msg.sender != entryPoint) revert NotEntryPoint(msg.sender);
        _;
    }

    constructor(address asset, address liquidStake_, address exitQueue_)
        ERC20("Staked Tide", "stTIDE")
        ERC20Permit("Staked Tide")
    {
        if (liquidStake_ == address(0) || exitQueue_ == address(0) || liquidStake_ == exitQueue_) {
            revert EntryPointsInvalid(liquidStake_, exitQueue_);
        }
        _asset = asset;
        liquidStake = liquidStake_;
        exitQueue = exitQueue_;
        emit VaultUpdate(asset, liquidStake_);
    }

    /// @inheritdoc IStTide
    function mint(address to, uint256 shares) external onlyEntryPoint(liquidStake) {
        _mint(to, shares);
    }

    /// @inheritdoc IStTide
    function burnFrom(address owner, address spender, uint256 shares) external onlyEntryPoint(liquidStake) {
        if (spender != owner) _spendAllowance(owner, spender, shares);
        _burn(owner, shares);
    }

    /// @inheritdoc IStTide
    function queueFrom(address owner, address spender, uint256 shares) external onlyEntryPoint(exitQueue) {
        if (spender != owner) _spendAllowance(owner, spender, shares);
        _transfer(owner, msg.sender, shares);
    }

    /// @inheritdoc IERC7575Share
    function vault(address asset) external view returns (address) {
        return asset == _asset ? liquidStake : address(0);
    }

    /// @notice The clock of votes: seconds.
    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    /// @notice The clock of votes, for machines to read.
    // ERC-6372 names it so.
    // slither-disable-next-line naming-convention
    function CLOCK_MODE() public view override returns (string memory) {
        return ERC6372Utils.timestampClockMode(clock);
    }

    /// @inheritdoc ERC20Permit
    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return ERC20Permit.nonces(owner);
    }

    /// @inheritdoc ERC165
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IERC7575Share).interfaceId || super.supportsInterface(interfaceId);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        super._update(from, to, value);
    }
}
