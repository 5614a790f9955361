// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title The arithmetic of one pool of stake
/// @notice Who enters gets shares, who leaves gives them back for tokens that are set aside to thaw; rewards stream in
/// and slashes take. It moves no money and knows no holders: its caller keeps who holds what, and the thaws.
///
/// Token amounts fit 96 bits, since fewer than 2^90 wei exist; then nothing here overflows. Three things hold after
/// every call, and the rest follows from them:
/// - (shares + VIRTUAL_SHARES) <= MAX_SHARES_PER_TOKEN * (active + 1): entries and exits round so that it only falls,
///   rewards make it fall, and a slash that would break it divides all shares by ERA_DIVISOR, as often as needed;
/// - while shares < MIN_REWARDED_SHARES, no reward and no exit leaves more locked than active, nor anything locked over
///   less than MIN_REWARDED_TOKENS: so what is paid to dust makes no share dear. The price of a share, and with it the
///   least deposit, stays under (all tokens / MIN_REWARDED_SHARES) while shares are many, whoever pays and whoever
///   then leaves; over fewer it at most doubles with each stream, at the price of what the virtual shares take;
/// - active == 0 implies locked == 0.
library SharePool {
    using SafeCast for uint256;

    /// @notice Shares that nobody holds: they price the first entry, and what a donation could take from a later one.
    uint256 internal constant VIRTUAL_SHARES = 1e3;

    /// @notice The fewest shares (a thousandth TIDE at the first price) among which any reward is shared.
    uint256 internal constant MIN_REWARDED_SHARES = 1e18;

    /// @notice The fewest tokens (a thousandth TIDE) among which fewer shares than that share a reward: whoever makes
    /// shares dear, by rewards to few, cannot so make the real stake of others count as dust.
    uint256 internal constant MIN_REWARDED_TOKENS = 1e15;

    /// @notice Where a share has lost all but a millionth of its first price, an era ends. It keeps shares within 128
    /// bits under any number of slashes.
    uint256 internal constant MAX_SHARES_PER_TOKEN = 1e9;

    /// @notice By what the end of an era divides everybody's shares. Nobody loses tokens by it: a share's price rises as
    /// much. Holders' parts are rounded down, each by less than a share; so of all shares those that nobody holds are
    /// at most one for each holder, however many eras end, since the next one divides them, too.
    uint256 internal constant ERA_DIVISOR = 1e6;

    /// @notice As many eras end at once where nothing is left: no 2^128 shares outlive them.
    uint32 internal constant ERAS_OF_DEATH = 7;

    /// @dev The first two words are all that most calls touch; the third is read only while a reward streams.
    /// @param active Tokens behind the shares (A).
    /// @param thawing Tokens set aside for those who left.
    /// @param era How often the shares have been divided by ERA_DIVISOR.
    /// @param changedAt When somebody entered or left last, in seconds modulo 2^32.
    /// @param shares All shares, as of this era (S).
    /// @param locked A reward's tokens that have not streamed in yet (L).
    /// @param streamEnd When the last of them will have.
    /// @param updatedAt Since when they stream at the present rate.
    struct Pool {
        uint96 active;
        uint96 thawing;
        uint32 era;
        uint32 changedAt;
        uint128 shares;
        uint96 locked;
        uint48 streamEnd;
        uint48 updatedAt;
    }

    /// @notice What a slash took from each part.
    /// @param erasEnded How often the shares were divided by ERA_DIVISOR.
    struct Taken {
        uint256 active;
        uint256 locked;
        uint256 thawing;
        uint32 erasEnded;
    }

    /// @notice The amount is worth less than one share.
    error AmountBelowOneShare(uint256 amount);

    /// @notice Adds `amount` to the active tokens, for shares.
    function enter(Pool storage self, uint256 amount) internal returns (uint256 shares) {
        accrue(self);
        uint256 active = self.active;
        uint256 all = self.shares;
        shares = toSharesDown(amount, active, all);
        if (shares == 0) revert AmountBelowOneShare(amount);
        self.active = (active + amount).toUint96();
        self.changedAt = uint32(block.timestamp);
        self.shares = (all + shares).toUint128();
    }

    /// @notice Takes `shares`, at most all there are, out of the pool and sets aside what they are worth.
    /// @return amount What was set aside.
    /// @return left What nobody is left to own: rewards that stream to too few shares, but for what may double the
    /// tokens of those who stay, and, after the last one, the rounding. No longer in the pool.
    function exit(Pool storage self, uint256 shares) internal returns (uint256 amount, uint256 left) {
        accrue(self);
        uint256 active = self.active;
        uint256 all = self.shares;
        amount = toTokensDown(shares, active, all);
        active -= amount;
        all -= shares;
        if (all < MIN_REWARDED_SHARES) {
            uint256 locked = self.locked;
            uint256 kept = all == 0 || active < MIN_REWARDED_TOKENS ? 0 : Math.min(locked, active);
            left = locked - kept;
            self.locked = uint96(kept);
            if (all == 0) {
                left += active;
                active = 0;
            }
        }
        self.active = uint96(active);
        self.thawing += uint96(amount);
        self.changedAt = uint32(block.timestamp);
        self.shares = uint128(all);
    }

    /// @notice Lets up to `amount` stream in over `period`: as much as there is room for. Ends of streams are averaged
    /// by amount, so that dust cannot put off what is on its way.
    /// @return taken What streams in.
    function reward(Pool storage self, uint256 amount, uint32 period) internal returns (uint256 taken) {
        accrue(self);
        taken = Math.min(amount, rewardRoom(self));
        if (taken == 0) return 0;
        uint256 locked = self.locked;
        uint256 rest = locked == 0 ? 0 : self.streamEnd - block.timestamp;
        uint256 average = (locked * rest + taken * period) / (locked + taken);
        self.locked = (locked + taken).toUint96();
        self.streamEnd = uint48(block.timestamp + average);
        self.updatedAt = uint48(block.timestamp);
    }

    /// @notice Takes exactly min(amount, active + locked + thawing) from the three, pro rata to within two wei, the
    /// thaws rounded in their favour. Never reverts.
    /// @param thawing What of the thaws can be slashed, at most all that is set aside.
    function slash(Pool storage self, uint256 amount, uint256 thawing) internal returns (Taken memory taken) {
        accrue(self);
        uint256 active = self.active;
        uint256 locked = self.locked;
        uint256 total = active + locked + thawing;
        if (amount > total) amount = total;
        if (amount == 0) return taken;

        taken.active = amount * active / total;
        taken.thawing = amount * thawing / total;
        // What the two floors left over, at most one wei too much for the locked part, goes to the active one. That
        // one has room: a floor that took all of it left nothing over.
        uint256 rest = amount - taken.active - taken.thawing;
        taken.locked = Math.min(rest, locked);
        taken.active += rest - taken.locked;

        active -= taken.active;
        locked -= taken.locked;
        uint256 all = self.shares;
        if (all > 0 && active == 0) {
            // No locked tokens are left either: the floor took all active ones only if the amount was all there is.
            all = 0;
            taken.erasEnded = ERAS_OF_DEATH;
        }
        // At most five times, as shares are below 2^120; and some are left, as there were over a billion.
        while (all + VIRTUAL_SHARES > MAX_SHARES_PER_TOKEN * (active + 1)) {
            all /= ERA_DIVISOR;
            taken.erasEnded += 1;
        }
        if (taken.erasEnded > 0) {
            self.shares = uint128(all);
            self.era += taken.erasEnded;
        }
        self.active = uint96(active);
        self.locked = uint96(locked);
        self.thawing -= uint96(taken.thawing);
    }

    /// @notice Moves what has streamed since the last call to the active tokens.
    function accrue(Pool storage self) internal {
        uint256 locked = self.locked;
        if (locked == 0) return;
        uint256 arrived = arrivedDown(locked, self.updatedAt, self.streamEnd);
        // Less than a wei: the time is not used up, so that calls in quick succession cannot hold up a stream. The
        // comparison is exact since what arrived is computed; it is no balance that somebody could move by a wei.
        // slither-disable-next-line incorrect-equality,timestamp
        if (arrived == 0) return;
        self.active += uint96(arrived);
        self.locked = uint96(locked - arrived);
        self.updatedAt = uint48(block.timestamp);
    }

    /// @notice The pool as `accrue` would leave it.
    function accrued(Pool storage self) internal view returns (Pool memory pool) {
        pool = self;
        if (pool.locked == 0) return pool;
        uint96 arrived = uint96(arrivedDown(pool.locked, pool.updatedAt, pool.streamEnd));
        pool.active += arrived;
        pool.locked -= arrived;
    }

    /// @notice What is left of `shares` when `eras` have ended since.
    function afterErasDown(uint256 shares, uint256 eras) internal pure returns (uint256) {
        if (eras == 0) return shares;
        return eras < ERAS_OF_DEATH ? shares / ERA_DIVISOR ** eras : 0;
    }

    /// @notice Shares for `amount` tokens.
    function toSharesDown(uint256 amount, uint256 active, uint256 shares) internal pure returns (uint256) {
        return amount * (shares + VIRTUAL_SHARES) / (active + 1);
    }

    /// @notice Tokens for `amount` shares; at most `active` for at most `shares`.
    function toTokensDown(uint256 amount, uint256 active, uint256 shares) internal pure returns (uint256) {
        return amount * (active + 1) / (shares + VIRTUAL_SHARES);
    }

    // What the shares may be rewarded with, once accrued: without bound where they are many, and where they are few but
    // hold real tokens, what doubles those.
    function rewardRoom(Pool storage self) private view returns (uint256) {
        if (self.shares >= MIN_REWARDED_SHARES) return type(uint256).max;
        uint256 active = self.active;
        return active < MIN_REWARDED_TOKENS ? 0 : Math.saturatingSub(active, self.locked);
    }

    function arrivedDown(uint256 locked, uint256 since, uint256 end) private view returns (uint256) {
        // Seconds that a block's maker can move are nothing to the days of a stream.
        // slither-disable-next-line timestamp
        if (block.timestamp >= end) return locked;
        return locked * (block.timestamp - since) / (end - since);
    }
}
