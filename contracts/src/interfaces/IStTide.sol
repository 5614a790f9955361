// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title The share of the liquid stake, stTIDE
/// @notice An ERC-20 with permits (EIP-2612), votes by time (ERC-5805), 18 decimals, and two entry points that were fixed
/// when it was deployed: LiquidStake for TIDE that comes and instant exits, ExitQueue for exits by request. They alone
/// mint, burn and move shares for their holders.
interface IStTide is IERC20 {
    /// @notice Only an entry point may call this.
    error NotEntryPoint(address caller);
    /// @notice An entry point cannot be the zero address, nor the other one.
    error EntryPointsInvalid(address liquidStake, address exitQueue);

    /// @notice Makes `shares` for `to`. LiquidStake only.
    function mint(address to, uint256 shares) external;

    /// @notice Burns `shares` of `owner`'s, and uses up `spender`'s allowance where it is somebody else. LiquidStake only,
    /// and it burns what ExitQueue holds besides what callers own.
    function burnFrom(address owner, address spender, uint256 shares) external;

    /// @notice Moves `shares` of `owner`'s to ExitQueue, as `burnFrom` where `spender` is somebody else. ExitQueue only.
    function queueFrom(address owner, address spender, uint256 shares) external;

    /// @notice Where TIDE enters.
    function liquidStake() external view returns (address);

    /// @notice Where shares wait.
    function exitQueue() external view returns (address);
}
