// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../interfaces/IProviderStaking.sol";
import {PoolId, delegationPool, movedFrom} from "../types/PoolId.sol";
import {ThawId, toThawId} from "../types/ThawId.sol";
import {PoolBook} from "./PoolBook.sol";
import {SharePool} from "./SharePool.sol";
import {ThawQueue} from "./ThawQueue.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Stake that moves from one provider to another, and answers for both for a while
/// @notice Deployed once and linked into ProviderStaking, in whose name its functions run.
///
/// The tokens go at once, so they are counted with the new provider alone. In a queue of the former one, of the same kind
/// as its thaws, each move stands with what it took along; a slash of the former provider lowers the queue's factor by
/// the part that it takes of the delegations. The factor at the end of the move says which part of its shares it keeps.
/// So a slash has no loop over moves, and needs nothing of any other provider.
library Redelegations {
    using PoolBook for PoolBook.Book;
    using SafeCast for uint256;
    using SharePool for SharePool.Pool;
    using ThawQueue for ThawQueue.Queue;

    /// @param room How much may enter `to`.
    struct Order {
        address from;
        address to;
        uint256 shares;
        uint256 minShares;
        uint256 room;
        uint32 streamPeriod;
    }

    function move(
        PoolBook.Book storage book,
        mapping(address operator => IProviderStaking.Operator) storage operators,
        Order memory order
    ) external returns (ThawId moveId, uint256 amount, uint256 entered) {
        if (order.from == order.to) revert IProviderStaking.SameProvider(order.to);
        amount = takeOut(book, operators, order);
        if (amount > order.room) revert IProviderStaking.DelegationOverRoom(order.room, amount);
        PoolId pool = delegationPool(order.to);
        SharePool.Pool storage p = book.pools[pool];
        uint256 before = p.active;
        entered = p.enter(amount);
        if (entered < order.minShares) revert IProviderStaking.TooFewShares(entered, order.minShares);
        book.record(pool, p, before);
        PoolId queue = movedFrom(order.from);
        (uint32 era, uint56 index) = book.thaws[queue].push(amount);
        moveId = toThawId(queue, era, index);
        book.moves[moveId] = PoolBook.Move({
            owner: msg.sender,
            amount: uint96(amount),
            to: order.to,
            era: p.era,
            shares: entered.toUint128(),
            thaw: ThawId.wrap(0)
        });
        emit IProviderStaking.Redelegated(moveId, msg.sender, order.to, order.from, amount, entered);
    }

    function exit(
        PoolBook.Book storage book,
        mapping(address operator => IProviderStaking.Operator) storage operators,
        ThawId moveId,
        uint32 streamPeriod
    ) external returns (ThawId thawId, uint256 amount) {
        PoolBook.Move storage m = book.moves[moveId];
        if (m.owner != msg.sender || ThawId.unwrap(m.thaw) != 0) revert IProviderStaking.NotMoveOwner(moveId);
        PoolId pool = delegationPool(m.to);
        uint256 shares = sharesOf(book, m, pool);
        uint256 toOperator = 0;
        if (shares > 0) (amount, toOperator) = book.depart(pool, msg.sender, shares, streamPeriod);
        if (toOperator > 0) operators[m.to].earned += uint96(toOperator);
        m.shares = 0;
        if (amount > 0) {
            // The contract's own, so that nobody withdraws it but by the move.
            thawId = book.thaw(pool, address(this), amount);
            m.thaw = thawId;
        } else {
            m.owner = address(0);
        }
        emit IProviderStaking.Thawed(pool, msg.sender, shares, amount, thawId);
    }

    function settle(
        PoolBook.Book storage book,
        mapping(address operator => IProviderStaking.Operator) storage operators,
        ThawId moveId,
        uint32 thawPeriod,
        uint32 streamPeriod
    ) external returns (address owner, uint256 shares, uint256 paid, uint256 forfeited) {
        PoolBook.Move memory m = book.moves[moveId];
        owner = m.owner;
        if (owner == address(0)) revert IProviderStaking.NoSuchMove(moveId);
        delete book.moves[moveId];
        (uint48 end, uint256 kept) = keptOf(book, moveId, thawPeriod);
        if (ThawId.unwrap(m.thaw) == 0) {
            // slither-disable-next-line timestamp -- the second decides here as it does for slashes
            if (block.timestamp < end) revert IProviderStaking.StillThawing(moveId, end);
            (shares, forfeited) = arrive(book, operators, m, kept, streamPeriod);
        } else {
            (paid, forfeited) = pay(book, m, kept, thawPeriod);
        }
        emit IProviderStaking.MoveSettled(moveId, owner, shares, paid, forfeited);
    }

    function moveOf(PoolBook.Book storage book, ThawId moveId, uint32 thawPeriod)
        external
        view
        returns (IProviderStaking.Move memory move_)
    {
        PoolBook.Move storage m = book.moves[moveId];
        move_.owner = m.owner;
        move_.from = moveId.poolOf().operatorOf();
        move_.to = m.to;
        (move_.end, move_.kept) = keptOf(book, moveId, thawPeriod);
        if (m.owner != address(0)) move_.shares = sharesOf(book, m, delegationPool(m.to));
        move_.thawId = m.thaw;
        move_.amount = m.amount;
    }

    // Takes the caller's shares out of where they are.
    function takeOut(
        PoolBook.Book storage book,
        mapping(address operator => IProviderStaking.Operator) storage operators,
        Order memory order
    ) private returns (uint256 amount) {
        if (order.shares == 0) revert IProviderStaking.ZeroAmount();
        PoolId pool = delegationPool(order.from);
        uint256 held = book.sharesOf(pool, msg.sender);
        if (order.shares > held) revert IProviderStaking.NotEnoughShares(held, order.shares);
        uint256 toOperator;
        (amount, toOperator) = book.depart(pool, msg.sender, order.shares, order.streamPeriod);
        if (toOperator > 0) operators[order.from].earned += uint96(toOperator);
        book.hold(pool, msg.sender, held - order.shares);
        if (amount == 0) revert IProviderStaking.ZeroAmount();
        // It does not wait here.
        book.pools[pool].thawing -= uint96(amount);
    }

    // Gives the owner what is left of its shares, and takes the rest out of the pool.
    function arrive(
        PoolBook.Book storage book,
        mapping(address operator => IProviderStaking.Operator) storage operators,
        PoolBook.Move memory m,
        uint256 kept,
        uint32 streamPeriod
    ) private returns (uint256 shares, uint256 forfeited) {
        PoolId pool = delegationPool(m.to);
        uint256 all = SharePool.afterErasDown(m.shares, book.pools[pool].era - m.era);
        shares = all * kept / m.amount;
        if (shares < all) {
            uint256 toOperator;
            (forfeited, toOperator) = book.depart(pool, address(0), all - shares, streamPeriod);
            if (toOperator > 0) operators[m.to].earned += uint96(toOperator);
            book.pools[pool].thawing -= uint96(forfeited);
        }
        if (shares > 0) book.hold(pool, m.owner, book.sharesOf(pool, m.owner) + shares);
    }

    // Takes what thawed out of the pool, for its owner and to be burned.
    function pay(PoolBook.Book storage book, PoolBook.Move memory m, uint256 kept, uint32 thawPeriod)
        private
        returns (uint256 paid, uint256 forfeited)
    {
        PoolId pool = delegationPool(m.to);
        (uint48 end, uint256 value) = book.thaws[pool].valueDown(m.thaw.eraOf(), m.thaw.indexOf(), thawPeriod);
        // slither-disable-next-line timestamp
        if (block.timestamp < end) revert IProviderStaking.StillThawing(m.thaw, end);
        delete book.thawOwners[m.thaw];
        book.pools[pool].thawing -= uint96(value);
        paid = value * kept / m.amount;
        forfeited = value - paid;
        emit IProviderStaking.Withdrawn(m.thaw, m.owner, paid);
    }

    function keptOf(PoolBook.Book storage book, ThawId moveId, uint32 thawPeriod)
        private
        view
        returns (uint48 end, uint256 kept)
    {
        return book.thaws[moveId.poolOf()].valueDown(moveId.eraOf(), moveId.indexOf(), thawPeriod);
    }

    function sharesOf(PoolBook.Book storage book, PoolBook.Move storage m, PoolId pool) private view returns (uint256) {
        return SharePool.afterErasDown(m.shares, book.pools[pool].era - m.era);
    }
}
