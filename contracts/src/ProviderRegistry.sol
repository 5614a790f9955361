// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {StakePools} from "./StakePools.sol";
import {IProviderStaking} from "./interfaces/IProviderStaking.sol";
import {Ppm} from "./types/Ppm.sol";
import {Role} from "./types/Role.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Who the operators are, which keys sign for them, what they earned and what they take
abstract contract ProviderRegistry is StakePools, EIP712 {
    bytes32 private constant RESULT_KEY_BINDING =
        keccak256("ResultKeyBinding(address operator,bytes32 nodeKey,address resultKey)");

    mapping(address operator => Operator) internal _operators;
    mapping(Role role => mapping(address operator => bytes32)) private _metadata;
    mapping(address resultKey => ResultKey) private _resultKeys;

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
        _bindKeys(keys);
    }

    /// @inheritdoc IProviderStaking
    function unbindKeys(address resultKey) external {
        ResultKey storage key = _resultKeys[resultKey];
        if (key.operator != msg.sender || !key.bound) revert KeyNotBound(resultKey);
        key.bound = false;
        emit KeysUnbound(msg.sender, resultKey);
    }

    /// @inheritdoc IProviderStaking
    function setCommission(Ppm next) external onlyRegistered(Role.Provider) {
        Operator storage operator = _operators[msg.sender];
        uint48 effectiveAt = uint48(block.timestamp) + thawPeriod;
        operator.commission = _commissionOf(operator);
        operator.nextCommission = next.checked();
        operator.nextCommissionAt = effectiveAt;
        emit CommissionAnnounced(msg.sender, next, effectiveAt);
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
    function metadataOf(Role role, address operator) external view returns (bytes32) {
        return _metadata[role][operator];
    }

    /// @inheritdoc IProviderStaking
    function operatorOf(address resultKey) external view returns (address) {
        return _resultKeys[resultKey].operator;
    }

    /// @inheritdoc IProviderStaking
    function isBound(address resultKey) external view returns (bool) {
        return _resultKeys[resultKey].bound;
    }

    /// @inheritdoc IProviderStaking
    function isBoundTo(address resultKey, address operator) external view returns (bool) {
        ResultKey storage key = _resultKeys[resultKey];
        return key.bound && key.operator == operator;
    }

    /// @inheritdoc IProviderStaking
    function resultKeyRecord(address resultKey) external view returns (ResultKey memory) {
        return _resultKeys[resultKey];
    }

    function _registerProvider(bytes32 metadataHash, Ppm commission, KeyBinding calldata keys) internal {
        Operator storage operator = _operators[msg.sender];
        if (operator.isProvider) revert AlreadyRegistered(Role.Provider, msg.sender);
        operator.isProvider = true;
        operator.commission = commission.checked();
        operator.nextCommission = commission;
        _metadata[Role.Provider][msg.sender] = metadataHash;
        emit Registered(Role.Provider, msg.sender, metadataHash);
        emit CommissionAnnounced(msg.sender, commission, uint48(block.timestamp));
        _bindKeys(keys);
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

    function _commissionOf(Operator storage operator) internal view returns (Ppm) {
        // Seconds that a block's maker can move are nothing to the weeks of the delay.
        // slither-disable-next-line timestamp
        return block.timestamp < operator.nextCommissionAt ? operator.commission : operator.nextCommission;
    }

    // Never overflows: no more is ever earned than exists.
    function _earn(address operator, uint256 amount) internal override {
        _operators[operator].earned += uint96(amount);
    }

    function _bindKeys(KeyBinding calldata keys) private {
        address resultKey = keys.resultKey;
        ResultKey storage key = _resultKeys[resultKey];
        if (key.operator != address(0) && key.operator != msg.sender) revert KeyTaken(resultKey, key.operator);
        if (key.bound) revert KeyAlreadyBound(resultKey);
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(RESULT_KEY_BINDING, msg.sender, keys.nodeKey, resultKey)));
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, keys.signature);
        // The zero address is what a failed recovery gives, too.
        if (failure != ECDSA.RecoverError.NoError || signer != resultKey) revert KeySignatureInvalid(resultKey);
        key.operator = msg.sender;
        key.bound = true;
        key.nodeKey = keys.nodeKey;
        emit KeysBound(msg.sender, resultKey, keys.nodeKey);
    }
}
