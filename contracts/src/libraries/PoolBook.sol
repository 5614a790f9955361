// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../interfaces/IProviderStaking.sol";
import {PoolId, PoolKind} from "../types/PoolId.sol";
import {Role} from "../types/Role.sol";
import {ThawId, toThawId} from "../types/ThawId.sol";
import {SharePool} from "./SharePool.sol";
import {ThawQueue} from "./ThawQueue.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title The pools with their holders, their thaws and their past
/// @notice The same for every kind of pool. It moves no money. ProviderStaking and the libraries that are linked into it
/// share it, so it is compiled into each.
library PoolBook {
    using Checkpoints for Checkpoints.Trace208;
    using SharePool for SharePool.Pool;
    using ThawQueue for ThawQueue.Queue;

    /// @dev By how many bits the past knows fewer of a pool's shares: with their tokens they fit one slot then.
    uint256 internal constant SHARES_CUT = 16;
    uint256 internal constant SHARES_BITS = 112;

    /// @notice Stake that moved to another provider and answers for the former one yet.
    /// @param owner Whose it is; zero once it is settled.
    /// @param amount What it was worth when it moved.
    /// @param to Where it is now.
    /// @param era The pool's era as of which its shares are.
    /// @param shares What it holds there.
    /// @param thaw Its request to leave from there, if it does.
    struct Move {
        address owner;
        uint96 amount;
        address to;
        uint32 era;
        uint128 shares;
        ThawId thaw;
    }

    /// @param thawOwners Who may withdraw a request; for one of a move, the contract itself.
    /// @param holdings A holder's shares and the pool's era as of which they are (the lower 32 bits); each era that the
    /// pool ended since divides them.
    /// @param history A pool's tokens, active and locked, above its shares, cut and rounded up: after each entry, exit and
    /// slash. What was paid in since is not in it until the next of these.
    /// @param eras The era, where one ended.
    /// @param moves By the request in the former provider's queue of what left for others.
    /// @param bonded The active tokens of all providers' own bonds together.
    struct Book {
        mapping(PoolId pool => SharePool.Pool) pools;
        mapping(Role role => mapping(address operator => IProviderStaking.Standing)) standings;
        mapping(PoolId pool => ThawQueue.Queue) thaws;
        mapping(ThawId thawId => address) thawOwners;
        mapping(PoolId pool => mapping(address holder => Checkpoints.Trace208)) holdings;
        mapping(PoolId pool => Checkpoints.Trace208) history;
        mapping(PoolId pool => Checkpoints.Trace208) eras;
        mapping(ThawId moveId => Move) moves;
        Checkpoints.Trace208 bonded;
    }

    /// @notice A holder's shares, as of the pool's era.
    function sharesOf(Book storage self, PoolId pool, address holder) internal view returns (uint256) {
        return sharesIn(self.holdings[pool][holder].latest(), self.pools[pool].era);
    }

    /// @notice Writes down what a holder has now.
    function hold(Book storage self, PoolId pool, address holder, uint256 shares) internal {
        // Fewer than 2^120 exist.
        // slither-disable-next-line unused-return
        self.holdings[pool][holder].push(uint48(block.timestamp), uint208(shares << 32 | self.pools[pool].era));
    }

    /// @notice Writes down what is in the pool now.
    /// @param before Its active tokens before the change.
    function record(Book storage self, PoolId pool, SharePool.Pool storage p, uint256 before) internal {
        uint256 active = p.active;
        uint256 shares = (uint256(p.shares) + (1 << SHARES_CUT) - 1) >> SHARES_CUT;
        // slither-disable-next-line unused-return
        self.history[pool].push(uint48(block.timestamp), uint208((active + p.locked) << SHARES_BITS | shares));
        if (pool.kindOf() == PoolKind.ProviderBond) {
            // slither-disable-next-line unused-return
            self.bonded.push(uint48(block.timestamp), uint208(self.bonded.latest() + active - before));
        }
    }

    /// @notice Takes `shares` out of the pool, and sets aside what they are worth. Its caller writes down what their holder
    /// has left.
    /// @param holder Whose they are; zero where what streams follows nobody.
    /// @return amount What was set aside.
    /// @return toOperator What streamed to too few and does not follow the holder, for the operator.
    function depart(Book storage self, PoolId pool, address holder, uint256 shares, uint32 streamPeriod)
        internal
        returns (uint256 amount, uint256 toOperator)
    {
        SharePool.Pool storage p = self.pools[pool];
        uint256 before = p.active;
        (amount, toOperator) = p.exit(shares);
        if (toOperator > 0) {
            // What streams to too few goes with who leaves them, as far as it had shares a stream period ago; the rest is
            // the operator's. So nobody comes for it.
            uint256 then = self.holdings[pool][holder].upperLookupRecent(uint48(block.timestamp - streamPeriod));
            uint256 following = toOperator * Math.min(shares, sharesIn(then, p.era)) / shares;
            p.thawing += uint96(following);
            amount += following;
            toOperator -= following;
            if (toOperator > 0) emit IProviderStaking.LeftToOperator(pool, toOperator);
        }
        record(self, pool, p, before);
    }

    /// @notice Lets what was set aside thaw for `owner`.
    function thaw(Book storage self, PoolId pool, address owner, uint256 amount) internal returns (ThawId thawId) {
        (uint32 era, uint56 index) = self.thaws[pool].push(amount);
        thawId = toThawId(pool, era, index);
        self.thawOwners[thawId] = owner;
    }

    function sharesIn(uint256 held, uint256 era) internal pure returns (uint256) {
        return SharePool.afterErasDown(held >> 32, era - uint32(held));
    }
}
