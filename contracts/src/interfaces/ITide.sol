// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";

/// @title The network's token, as the other contracts need it
/// @notice 18 decimals; never more than 1,000,000,000 TIDE exist, so every amount fits 90 bits.
interface ITide is IERC20, IERC20Permit {
    /// @notice One line of the genesis allocation.
    struct Allocation {
        address to;
        uint256 amount;
    }

    /// @notice Makes `amount` for `to`, within the cap. Only the minter role, which nobody holds on day one.
    function mint(address to, uint256 amount) external;

    /// @notice Destroys `amount` of the caller's own.
    function burn(uint256 amount) external;
}
