// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IEntryPause} from "./interfaces/IEntryPause.sol";
import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

/// @title The pause of entries, for contracts whose roles an AccessManager keeps
abstract contract EntryPause is IEntryPause, AccessManaged {
    /// @notice Long enough to warn everybody of a fault, too short to be a lock.
    uint32 public constant MAX_PAUSE = 7 days;

    uint48 private _pausedAt;

    /// @inheritdoc IEntryPause
    uint48 public pausedUntil;

    // A block's maker can move its time by seconds; pauses are hours and days.
    // slither-disable-start timestamp

    modifier whenEntriesOpen() {
        _requireEntriesOpen();
        _;
    }

    /// @inheritdoc IEntryPause
    function pause(uint32 duration) external restricted {
        if (duration == 0 || duration > MAX_PAUSE) revert PauseOutOfBounds(duration, MAX_PAUSE);
        uint48 earliest = nextPauseAt();
        if (block.timestamp < earliest) revert PauseTooSoon(earliest);
        _pausedAt = uint48(block.timestamp);
        pausedUntil = uint48(block.timestamp) + duration;
        emit EntriesPaused(msg.sender, pausedUntil);
    }

    /// @inheritdoc IEntryPause
    function unpause() external restricted {
        if (block.timestamp >= pausedUntil) revert NotPaused();
        pausedUntil = uint48(block.timestamp);
        emit EntriesUnpaused(msg.sender);
    }

    /// @inheritdoc IEntryPause
    function nextPauseAt() public view returns (uint48) {
        return pausedUntil + (pausedUntil - _pausedAt);
    }

    // Apart from the modifier, whose text is repeated at each use.
    function _requireEntriesOpen() private view {
        if (block.timestamp < pausedUntil) revert EntriesArePaused(pausedUntil);
    }
    // slither-disable-end timestamp
}
