// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {StakePools} from "./StakePools.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {OperatorKeys} from "./libraries/OperatorKeys.sol";
import {delegationPool} from "./types/PoolId.sol";
import {Ppm} from "./types/Ppm.sol";
import {Role} from "./types/Role.sol";

/// @title Who the operators are, which keys sign for them, what they earned and what they take
abstract contract ProviderRegistry is StakePools {
    using OperatorKeys for OperatorKeys.Keys;

    mapping(address operator => Operator) internal _operators;
    mapping(Role role => mapping(address operator => bytes32)) private _metadata;
    OperatorKeys.Keys private _keys;
    address[] private _providers;

    modifier onlyRegistered(Role role) {
        _requireRegistered(role, msg.sender);
        _;
    }

    /// @inheritdoc IProviderStaking
    function setMetadata(Role role, bytes32 metadataHash) external onlyRegistered(role) {
        _metadata[role][msg.sender] = metadataHash;
        emit MetadataSet(role, msg.sender, metadataHash);
    }

    /// @inheritdoc IProviderStaking
    function bindKeys(KeyBinding calldata keys) external onlyRegistered(Role.Provider) {
        _keys.bindResultKey(keys);
    }

    /// @inheritdoc IProviderStaking
    function unbindKeys(address resultKey) external {
        _keys.unbindResultKey(resultKey);
    }

    /// @inheritdoc IProviderStaking
    function bindVoucherKey(address voucherKey, bytes calldata signature) external onlyRegistered(Role.Coordinator) {
        _keys.bindVoucherKey(voucherKey, signature);
    }

    /// @inheritdoc IProviderStaking
    function unbindVoucherKey(address voucherKey) external {
        _keys.unbindVoucherKey(voucherKey);
    }

    /// @inheritdoc IProviderStaking
    function setCommission(Ppm next) external onlyRegistered(Role.Provider) {
        Operator storage operator = _operators[msg.sender];
        uint48 effectiveAt = uint48(block.timestamp);
        // Where nobody is delegated, there is nobody to leave first.
        if (_book.pools[delegationPool(msg.sender)].shares > 0) effectiveAt += thawPeriod;
        operator.commission = effectiveAt > block.timestamp ? _commissionOf(operator) : next;
        operator.nextCommission = next.checked();
        operator.nextCommissionAt = effectiveAt;
        emit CommissionAnnounced(msg.sender, next, effectiveAt);
    }

    /// @inheritdoc IProviderStaking
    function setMaxDelegated(uint96 most) external onlyRegistered(Role.Provider) {
        _book.standings[Role.Provider][msg.sender].maxDelegated = most;
        emit MaxDelegatedSet(msg.sender, most);
    }

    /// @inheritdoc IProviderStaking
    function withdrawEarnings() external returns (uint256 amount) {
        amount = _operators[msg.sender].earned;
        _operators[msg.sender].earned = 0;
        emit EarningsWithdrawn(msg.sender, amount);
        // No comparison of times: the tool follows the record's other field.
        // slither-disable-next-line timestamp
        if (amount > 0) _pay(msg.sender, amount);
    }

    /// @inheritdoc IProviderStaking
    function operatorRecord(address operator) external view returns (Operator memory record) {
        record = _operators[operator];
        record.commission = _commissionOf(_operators[operator]);
    }

    /// @inheritdoc IProviderStaking
    function isRegistered(Role role, address operator) public view returns (bool) {
        return role == Role.Provider ? _operators[operator].isProvider : _operators[operator].isCoordinator;
    }

    /// @inheritdoc IProviderStaking
    function providerCount() external view returns (uint256) {
        return _providers.length;
    }

    /// @inheritdoc IProviderStaking
    function providerAt(uint256 index) external view returns (address) {
        return _providers[index];
    }

    /// @inheritdoc IProviderStaking
    function metadataOf(Role role, address operator) external view returns (bytes32) {
        return _metadata[role][operator];
    }

    /// @inheritdoc IProviderStaking
    function operatorOf(address resultKey) external view returns (address) {
        return _keys.results[resultKey].operator;
    }

    /// @inheritdoc IProviderStaking
    function isBoundTo(address resultKey, address operator) external view returns (bool) {
        ResultKey storage key = _keys.results[resultKey];
        return operator != address(0) && key.operator == operator && key.unboundAt == 0;
    }

    /// @inheritdoc IProviderStaking
    function operatorAt(address resultKey, uint48 time) external view returns (address) {
        ResultKey storage key = _keys.results[resultKey];
        if (time < key.boundAt || (key.unboundAt != 0 && time >= key.unboundAt)) return address(0);
        return key.operator;
    }

    /// @inheritdoc IProviderStaking
    function resultKeyRecord(address resultKey) external view returns (ResultKey memory) {
        return _keys.results[resultKey];
    }

    /// @inheritdoc IProviderStaking
    function voucherKeyRecord(address voucherKey) external view returns (VoucherKey memory) {
        return _keys.vouchers[voucherKey];
    }

    /// @inheritdoc IProviderStaking
    function isVoucherKeyOf(address voucherKey, address coordinator) external view returns (bool) {
        VoucherKey storage key = _keys.vouchers[voucherKey];
        return coordinator != address(0) && key.coordinator == coordinator && key.unboundAt == 0;
    }

    function _registerProvider(bytes32 metadataHash, Ppm commission, KeyBinding calldata keys) internal {
        Operator storage operator = _operators[msg.sender];
        if (operator.isProvider) revert AlreadyRegistered(Role.Provider, msg.sender);
        operator.isProvider = true;
        operator.commission = commission.checked();
        operator.nextCommission = commission;
        _providers.push(msg.sender);
        _metadata[Role.Provider][msg.sender] = metadataHash;
        emit Registered(Role.Provider, msg.sender, metadataHash);
        emit CommissionAnnounced(msg.sender, commission, uint48(block.timestamp));
        _keys.bindResultKey(keys);
    }

    function _registerCoordinator(bytes32 metadataHash) internal {
        Operator storage operator = _operators[msg.sender];
        if (operator.isCoordinator) revert AlreadyRegistered(Role.Coordinator, msg.sender);
        operator.isCoordinator = true;
        _metadata[Role.Coordinator][msg.sender] = metadataHash;
        emit Registered(Role.Coordinator, msg.sender, metadataHash);
    }

    function _requireRegistered(Role role, address operator) internal view {
        if (!isRegistered(role, operator)) revert NotRegistered(role, operator);
    }

    // Never overflows: no more is ever earned than exists.
    function _earn(address operator, uint256 amount) internal override {
        _operators[operator].earned += uint96(amount);
    }

    /// @dev Pay is for work of up to a stream period ago, so the lesser of what the commission is and was then: nobody
    /// holds back pay until a higher one is in effect. A new announcement takes over the lesser, too.
    function _commissionOf(Operator storage operator) internal view returns (Ppm) {
        Ppm former = operator.commission;
        Ppm next = operator.nextCommission;
        // Seconds that a block's maker can move are nothing to the weeks of the delay.
        // slither-disable-next-line timestamp
        if (block.timestamp < operator.nextCommissionAt) return former;
        // slither-disable-next-line timestamp
        if (block.timestamp >= uint256(operator.nextCommissionAt) + streamPeriod) return next;
        return Ppm.unwrap(former) < Ppm.unwrap(next) ? former : next;
    }
}
