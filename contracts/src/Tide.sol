// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ITide} from "./interfaces/ITide.sol";
import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {ERC6372Utils} from "@openzeppelin/contracts/utils/ERC6372Utils.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

/// @title The network's token
/// @notice Capped, with permits, and with votes that count time in seconds, so that they mean the same on chains of
/// any block rate. What is burned may be minted again by who holds the minter's role; the cap is on what exists.
contract Tide is ERC20, ERC20Burnable, ERC20Capped, ERC20Permit, ERC20Votes, AccessManaged, ITide {
    /// @notice No more than this exists at any time.
    uint256 public constant CAP = 1_000_000_000e18;

    constructor(address authority, Allocation[] memory genesis)
        ERC20("Tide", "TIDE")
        ERC20Capped(CAP)
        ERC20Permit("Tide")
        AccessManaged(authority)
    {
        for (uint256 i = 0; i < genesis.length; ++i) {
            _mint(genesis[i].to, genesis[i].amount);
        }
    }

    /// @inheritdoc ITide
    function mint(address to, uint256 amount) external restricted {
        _mint(to, amount);
    }

    /// @inheritdoc ITide
    function burn(uint256 amount) public override(ITide, ERC20Burnable) {
        ERC20Burnable.burn(amount);
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

    /// @inheritdoc IERC20Permit
    function nonces(address owner) public view override(IERC20Permit, ERC20Permit, Nonces) returns (uint256) {
        return ERC20Permit.nonces(owner);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Capped, ERC20Votes) {
        super._update(from, to, value);
    }
}
