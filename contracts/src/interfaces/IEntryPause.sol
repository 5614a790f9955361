// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title A pause of entries that ends by itself
/// @notice A guardian may close the ways in (never a way out, and never a slash) for at most a week, and not again
/// before the entries have been open for as long as they were closed: a guardian alone cannot freeze them for good.
interface IEntryPause {
    /// @notice Entries are closed until `until`.
    event EntriesPaused(address indexed by, uint48 until);

    /// @notice A pause was ended before its time.
    event EntriesUnpaused(address indexed by);

    /// @notice No entry before `until`.
    error EntriesArePaused(uint48 until);

    /// @notice A pause lasts from one second to `longest`.
    error PauseOutOfBounds(uint32 given, uint32 longest);

    /// @notice The next pause may begin at `earliest`.
    error PauseTooSoon(uint48 earliest);

    /// @notice Nothing is paused.
    error NotPaused();

    /// @notice Closes the entries for `duration` seconds from now. Guardians only.
    function pause(uint32 duration) external;

    /// @notice Opens them at once. Restricted.
    function unpause() external;

    /// @notice When the entries open again; a time in the past if they are open.
    function pausedUntil() external view returns (uint48);

    /// @notice The earliest time at which a pause can be asked for.
    function nextPauseAt() external view returns (uint48);
}
