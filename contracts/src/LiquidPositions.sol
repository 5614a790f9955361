// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PermitEntry} from "./PermitEntry.sol";
import {IExitQueue} from "./interfaces/IExitQueue.sol";
import {ILiquidStake} from "./interfaces/ILiquidStake.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {IStTide} from "./interfaces/IStTide.sol";
import {bondPool, delegationPool} from "./types/PoolId.sol";
import {PPM_ONE, Ppm} from "./types/Ppm.sol";
import {Role} from "./types/Role.sol";
import {ThawId} from "./types/ThawId.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title What the liquid stake has, and where
/// @notice The running total, its stream, the positions with providers, and what anybody may do for them. Amounts fit 96
/// bits, as fewer than 2^90 wei of TIDE exist.
abstract contract LiquidPositions is ILiquidStake, PermitEntry {
    using Checkpoints for Checkpoints.Trace208;
    using SafeCast for uint256;

    /// @notice Over how long earnings stream at the least: shorter than any thaw.
    uint32 public constant STREAM = 7 days;

    /// @notice How often a provider is thawed from at most.
    uint32 public constant EPOCH = 7 days;

    /// @notice So many providers can be looked at in one call.
    uint256 public constant MAX_PROVIDERS = 16;

    /// @notice Less than this is not delegated by itself.
    uint256 public constant MIN_BATCH = 1e18;

    /// @notice A share worth less than one of so many parts of a TIDE is worth too little to enter by.
    uint256 public constant MAX_SHARES_PER_TIDE = 1000;

    /// @dev No stream is longer, however much came at once.
    uint256 private constant MAX_STREAM = 36_500 days;

    /// @dev What a case can take of delegations, as ProviderStaking bounds it: a half.
    uint256 private constant CASE_DIVISOR = 2;

    IProviderStaking internal immutable _staking;
    IStTide internal immutable _share;
    IExitQueue internal immutable _exitQueue;

    // Two slots are all that a deposit writes here.
    uint96 private _assets;
    uint96 private _streaming;
    uint48 private _streamEnd;

    uint96 internal _buffer;
    uint64 private _slashes;
    uint48 private _streamedAt;
    uint48 private _reportedAt;

    uint96 private _capacity;
    uint96 private _toRecover;

    uint96 internal _target;
    address internal _treasury;

    Params internal _params;
    address[] private _providers;
    mapping(address provider => Position) private _positions;
    mapping(address provider => Thaw[]) private _thaws;
    Checkpoints.Trace208 private _rates;

    constructor(Setup memory setup) {
        _staking = setup.staking;
        _share = setup.share;
        _exitQueue = IExitQueue(setup.share.exitQueue());
        _slashes = uint64(setup.staking.slashCount());
    }

    /// @inheritdoc ILiquidStake
    function sync() external {
        _sync();
        _report();
    }

    /// @inheritdoc ILiquidStake
    function harvest() external {
        _sync();
        _harvest();
        _report();
    }

    /// @inheritdoc ILiquidStake
    function reap() external {
        _sync();
        _reap();
    }

    /// @inheritdoc ILiquidStake
    function spread() external {
        _sync();
        _report();
        _spread();
    }

    /// @inheritdoc ILiquidStake
    function draw() external {
        _sync();
        _harvest();
        // So that a provider never has more open requests than epochs fit a thaw period.
        _reap();
        _draw();
    }

    /// @inheritdoc ILiquidStake
    function tend() external {
        _sync();
        _harvest();
        _reap();
        _draw();
        _report();
        _spread();
    }

    /// @inheritdoc ILiquidStake
    function state() public view returns (State memory s) {
        (s.assets, s.streaming) = _live();
        s.streamEnd = _streamEnd;
        s.buffer = _buffer;
        s.toRecover = _toRecover;
        s.capacity = _capacity;
        s.bufferTarget = _target;
        s.reportedAt = _reportedAt;
    }

    /// @inheritdoc ILiquidStake
    function rate() public view returns (uint256) {
        return _toAssetsDown(1e18);
    }

    /// @inheritdoc ILiquidStake
    function rateAt(uint48 time) external view returns (uint256) {
        // slither-disable-next-line timestamp -- within the present second it may change still
        if (time >= block.timestamp) revert NotYetPast(time);
        return _rates.upperLookupRecent(time);
    }

    /// @inheritdoc ILiquidStake
    function isCalm() public view returns (bool) {
        uint256 atRisk = 0;
        for (uint256 i = 0; i < _providers.length; ++i) {
            address provider = _providers[i];
            IProviderStaking.Standing memory standing = _staking.standingOf(Role.Provider, provider);
            // slither-disable-next-line timestamp
            if (standing.openCases == 0 || block.timestamp >= standing.markedUntil) continue;
            atRisk += uint256(_positions[provider].known) + _positions[provider].thawing;
        }
        if (atRisk == 0) return true;
        (uint256 assets, uint256 streaming) = _live();
        return atRisk * PPM_ONE <= CASE_DIVISOR * Ppm.unwrap(_params.minExitFee) * (assets + streaming);
    }

    /// @inheritdoc ILiquidStake
    function instantRoom() public view returns (uint256) {
        return Math.saturatingSub(_buffer, _owed());
    }

    /// @inheritdoc ILiquidStake
    function providerCount() external view returns (uint256) {
        return _providers.length;
    }

    /// @inheritdoc ILiquidStake
    function providerAt(uint256 index) external view returns (address) {
        return _providers[index];
    }

    /// @inheritdoc ILiquidStake
    function positionOf(address provider) external view returns (Position memory) {
        return _positions[provider];
    }

    /// @inheritdoc ILiquidStake
    function thawsOf(address provider) external view returns (Thaw[] memory) {
        return _thaws[provider];
    }

    function _list(address provider, uint16 weight, uint16 operator) internal {
        Position storage p = _positions[provider];
        bool listed = false;
        for (uint256 i = 0; i < _providers.length; ++i) {
            if (_providers[i] != provider) continue;
            listed = true;
            if (weight == 0 && p.known == 0 && p.thawing == 0) {
                _providers[i] = _providers[_providers.length - 1];
                _providers.pop();
            }
            break;
        }
        if (!listed) {
            if (weight == 0) revert NotListed(provider);
            if (_providers.length == MAX_PROVIDERS) revert TooManyProviders(MAX_PROVIDERS);
            if (!_staking.isRegistered(Role.Provider, provider)) revert NotListed(provider);
            _providers.push(provider);
            p.slashes = _staking.standingOf(Role.Provider, provider).slashes;
        }
        p.weight = weight;
        p.operator = operator;
        emit ProviderSet(provider, weight, operator);
        _report();
    }

    // ------------------------------------------------------------------------------------------ the total

    // Adds `amount` that came to the buffer, for new shares or for nobody's.
    function _takeIn(uint256 amount) internal {
        _assets = (_assets + amount).toUint96();
        _buffer = (_buffer + amount).toUint96();
    }

    // Takes out of the total what burned shares were worth, and out of the buffer what is paid; what is over streams.
    function _letOut(uint256 gross, uint256 paid, uint256 shares) internal {
        uint256 supply = _share.totalSupply();
        // Losses stay with who stays, but for those of who leaves.
        uint256 lost = _toRecover;
        if (lost > 0) _toRecover = uint96(lost - lost * shares / supply);
        _assets -= uint96(gross);
        _buffer -= uint96(paid);
        if (gross > paid) _stream(gross - paid);
    }

    // Lets `amount` that is in the buffer already stream to holders.
    function _streamIn(uint256 amount) internal {
        _buffer = (_buffer + amount).toUint96();
        _stream(amount);
    }

    // Moves what has streamed to the assets, and takes what slashes cost since the last look.
    function _sync() internal {
        _accrue();
        uint256 count = _staking.slashCount();
        if (count == _slashes) return;
        uint256 loss = 0;
        for (uint256 i = 0; i < _providers.length; ++i) {
            loss += _look(_providers[i]);
        }
        _slashes = uint64(count);
        if (loss > 0) _lose(loss);
    }

    function _live() internal view returns (uint256 assets, uint256 streaming) {
        (assets, streaming) = (_assets, _streaming);
        if (streaming > 0) {
            uint256 arrived = _arrivedDown();
            assets += arrived;
            streaming -= arrived;
        }
        if (_staking.slashCount() == _slashes) return (assets, streaming);
        uint256 loss = 0;
        for (uint256 i = 0; i < _providers.length; ++i) {
            loss += _lossOf(_providers[i]);
        }
        uint256 first = Math.min(loss, streaming);
        return (assets - (loss - first), streaming - first);
    }

    /// @dev ⌊assets · (S + 1) / (A + 1)⌋. Nobody can give to A but through a stream, and the seed's shares are nobody's.
    function _toSharesDown(uint256 assets) internal view returns (uint256) {
        (uint256 all,) = _live();
        return Math.mulDiv(assets, _share.totalSupply() + 1, all + 1);
    }

    function _toSharesUp(uint256 assets) internal view returns (uint256) {
        (uint256 all,) = _live();
        return Math.mulDiv(assets, _share.totalSupply() + 1, all + 1, Math.Rounding.Ceil);
    }

    function _toAssetsDown(uint256 shares) internal view returns (uint256) {
        (uint256 all,) = _live();
        return Math.mulDiv(shares, all + 1, _share.totalSupply() + 1);
    }

    function _toAssetsUp(uint256 shares) internal view returns (uint256) {
        (uint256 all,) = _live();
        return Math.mulDiv(shares, all + 1, _share.totalSupply() + 1, Math.Rounding.Ceil);
    }

    // How much may enter by what providers take; nothing where a share is worth next to nothing.
    function _roomToEnter() internal view returns (uint256) {
        (uint256 assets, uint256 streaming) = _live();
        if (assets * MAX_SHARES_PER_TIDE < _share.totalSupply()) return 0;
        return Math.saturatingSub(_capacity, assets + streaming);
    }

    // What would have to be given for a share to be worth enough; zero where it is.
    function _lackUp() internal view returns (uint256) {
        (uint256 assets,) = _live();
        return Math.saturatingSub(Math.ceilDiv(_share.totalSupply(), MAX_SHARES_PER_TIDE), assets);
    }

    // What the queue waits for, at most: gains of those who wait are not theirs, but are not known one by one.
    function _owed() private view returns (uint256) {
        uint256 shares = _exitQueue.pendingShares();
        return shares == 0 ? 0 : _toAssetsDown(shares);
    }

    function _accrue() private {
        if (_streaming == 0) return;
        uint256 arrived = _arrivedDown();
        // Less than a wei: the time is not used up, so that nobody holds up a stream by calls.
        // slither-disable-next-line incorrect-equality,timestamp
        if (arrived == 0) return;
        _assets += uint96(arrived);
        _streaming -= uint96(arrived);
        _streamedAt = uint48(block.timestamp);
    }

    function _arrivedDown() private view returns (uint256) {
        uint256 end = _streamEnd;
        // slither-disable-next-line timestamp
        if (block.timestamp >= end) return _streaming;
        uint256 since = _streamedAt;
        return uint256(_streaming) * (block.timestamp - since) / (end - since);
    }

    // Lets `amount` arrive over the stream's period, or as much longer as the daily cap says. Ends are averaged by amount, so
    // that dust cannot put off what is on its way.
    function _stream(uint256 amount) private {
        if (amount == 0) return;
        _accrue();
        uint256 streaming = _streaming;
        uint256 rest = streaming == 0 ? 0 : _streamEnd - block.timestamp;
        uint256 all = streaming + amount;
        uint256 period = (streaming * rest + amount * STREAM) / all;
        uint256 daily = _params.dailyCap.mulDown(_assets);
        uint256 capped = daily == 0 ? MAX_STREAM : Math.ceilDiv(all * 1 days, daily);
        period = Math.min(Math.max(Math.max(period, capped), 1), MAX_STREAM);
        _streaming = all.toUint96();
        _streamEnd = uint48(block.timestamp + period);
        _streamedAt = uint48(block.timestamp);
    }

    function _lose(uint256 loss) private {
        uint256 first = Math.min(loss, _streaming);
        _streaming -= uint96(first);
        _assets -= uint96(loss - first);
        _toRecover = (_toRecover + loss).toUint96();
        emit LossTaken(loss);
    }

    // Splits a gain: the fee at once and as shares, so that the treasury bears what comes as everybody does; the rest
    // streams. Nobody's share changes in value by it.
    function _gain(address provider, uint256 gain) private {
        uint256 recovered = Math.min(gain, _toRecover);
        if (recovered > 0) _toRecover -= uint96(recovered);
        uint256 fee = _params.performanceFee.mulDown(gain - recovered);
        uint256 shares = fee == 0 ? 0 : _toSharesDown(fee);
        if (shares == 0) fee = 0;
        if (fee > 0) {
            _assets = (_assets + fee).toUint96();
            _share.mint(_treasury, shares);
        }
        emit Harvested(provider, gain, fee);
        _stream(gain - fee);
    }

    // -------------------------------------------------------------------------------------- the positions

    // Takes over what a provider's slashes cost.
    function _look(address provider) private returns (uint256 loss) {
        Position storage p = _positions[provider];
        uint32 slashes = _staking.standingOf(Role.Provider, provider).slashes;
        if (slashes == p.slashes) return 0;
        p.slashes = slashes;
        uint256 known = p.known;
        uint256 value = Math.min(known, _worth(provider));
        loss = known - value;
        p.known = uint96(value);
        uint256 ofThaws = 0;
        Thaw[] storage thaws = _thaws[provider];
        for (uint256 i = 0; i < thaws.length; ++i) {
            value = _staking.thawRequest(thaws[i].id).value;
            ofThaws += thaws[i].known - value;
            thaws[i].known = uint96(value);
        }
        p.thawing -= uint96(ofThaws);
        loss += ofThaws;
    }

    function _lossOf(address provider) private view returns (uint256 loss) {
        Position storage p = _positions[provider];
        if (_staking.standingOf(Role.Provider, provider).slashes == p.slashes) return 0;
        loss = Math.saturatingSub(p.known, _worth(provider));
        Thaw[] storage thaws = _thaws[provider];
        for (uint256 i = 0; i < thaws.length; ++i) {
            loss += thaws[i].known - _staking.thawRequest(thaws[i].id).value;
        }
    }

    function _worth(address provider) private view returns (uint256) {
        return _staking.valueOf(delegationPool(provider), address(this));
    }

    function _harvest() private {
        for (uint256 i = 0; i < _providers.length; ++i) {
            address provider = _providers[i];
            Position storage p = _positions[provider];
            uint256 known = p.known;
            uint256 value = _worth(provider);
            if (value == known) continue;
            p.known = uint96(value);
            if (value > known) _gain(provider, value - known);
            // Entering rounds down, by less than a share.
            else _lose(known - value);
        }
    }

    function _reap() private {
        for (uint256 i = 0; i < _providers.length; ++i) {
            address provider = _providers[i];
            Thaw[] storage thaws = _thaws[provider];
            uint256 place = 0;
            while (place < thaws.length) {
                Thaw memory thaw = thaws[place];
                // slither-disable-next-line timestamp
                if (block.timestamp < thaw.end) {
                    ++place;
                    continue;
                }
                thaws[place] = thaws[thaws.length - 1];
                thaws.pop();
                _positions[provider].thawing -= thaw.known;
                ThawId[] memory ids = new ThawId[](1);
                ids[0] = thaw.id;
                uint256 amount = _staking.withdraw(ids);
                // What a request is worth was looked at after the last slash, so this is what is known of it.
                _buffer = (_buffer + amount).toUint96();
                emit Reaped(provider, amount);
            }
        }
    }

    function _draw() private {
        uint256 known = 0;
        uint256 there = _buffer;
        for (uint256 i = 0; i < _providers.length; ++i) {
            Position storage p = _positions[_providers[i]];
            known += p.known;
            there += p.thawing;
        }
        uint256 lack = Math.saturatingSub(_owed(), there);
        uint32 epoch = uint32(block.timestamp / EPOCH);
        for (uint256 i = 0; i < _providers.length; ++i) {
            Position storage p = _positions[_providers[i]];
            if (p.known == 0 || p.thawEpoch == epoch) continue;
            uint256 wanted = p.weight == 0 ? p.known : Math.mulDiv(lack, p.known, known, Math.Rounding.Ceil);
            if (wanted == 0) continue;
            p.thawEpoch = epoch;
            _thawFrom(_providers[i], p, wanted);
        }
    }

    function _thawFrom(address provider, Position storage p, uint256 wanted) private {
        uint256 all = _staking.sharesOf(delegationPool(provider), address(this));
        uint256 known = p.known;
        uint256 shares = wanted >= known ? all : Math.min(all, Math.mulDiv(all, wanted, known, Math.Rounding.Ceil));
        (ThawId id, uint256 amount) = _staking.undelegate(provider, shares);
        if (amount == 0) return;
        // Who leaves last takes along what streams to the pool.
        if (amount > known) {
            _gain(provider, amount - known);
            known = amount;
        }
        p.known = uint96(known - amount);
        p.thawing += uint96(amount);
        _thaws[provider].push(Thaw(id, uint96(amount), uint48(block.timestamp) + _staking.thawPeriod()));
        emit Undelegated(provider, amount, id);
    }

    function _spread() private {
        uint256 free = Math.saturatingSub(instantRoom(), _target);
        if (free < MIN_BATCH) return;
        (uint256 assets, uint256 streaming) = _live();
        uint256 all = assets + streaming;
        uint256 weights = 0;
        for (uint256 i = 0; i < _providers.length; ++i) {
            weights += _positions[_providers[i]].weight;
        }
        for (uint256 i = 0; i < _providers.length && free >= MIN_BATCH; ++i) {
            Position storage p = _positions[_providers[i]];
            if (p.weight == 0) continue;
            uint256 most = Math.min((all - _target) * p.weight / weights, _limitOf(_providers[i], p, all));
            uint256 amount = Math.min(free, Math.saturatingSub(most, p.known));
            if (amount < MIN_BATCH) continue;
            (uint256 entered,) = _staking.delegateUpTo(_providers[i], amount, 0);
            if (entered == 0) continue;
            p.known += uint96(entered);
            _buffer -= uint96(entered);
            free -= entered;
            emit Delegated(_providers[i], entered);
        }
    }

    // The most that may be with a provider, of `all`.
    function _limitOf(address provider, Position storage p, uint256 all) private view returns (uint256 most) {
        most = Math.min(_params.providerCap.mulDown(all), _byBond(provider));
        uint256 ofOthers = 0;
        for (uint256 i = 0; i < _providers.length; ++i) {
            Position storage other = _positions[_providers[i]];
            if (_providers[i] != provider && other.operator == p.operator) ofOthers += other.known;
        }
        return Math.min(most, Math.saturatingSub(_params.operatorCap.mulDown(all), ofOthers));
    }

    function _byBond(address provider) private view returns (uint256) {
        return _params.bondMultiple * _staking.poolOf(bondPool(Role.Provider, provider)).active;
    }

    // Writes down the rate, and the limits anew.
    function _report() internal {
        (uint256 assets, uint256 streaming) = _live();
        _target = _params.bufferTarget.mulDown(assets + streaming).toUint96();
        uint256 capacity = _target;
        for (uint256 i = 0; i < _providers.length; ++i) {
            Position storage p = _positions[_providers[i]];
            uint256 takes = p.known;
            if (p.weight > 0) {
                takes =
                    Math.max(takes, Math.min(_byBond(_providers[i]), takes + _staking.delegationRoom(_providers[i])));
            }
            capacity += takes;
        }
        _capacity = Math.min(capacity, type(uint96).max).toUint96();
        _reportedAt = uint48(block.timestamp);
        // slither-disable-next-line unused-return
        _rates.push(uint48(block.timestamp), rate().toUint208());
    }
}
