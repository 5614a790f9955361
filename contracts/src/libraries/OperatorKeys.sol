// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProviderStaking} from "../interfaces/IProviderStaking.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title The keys that sign for operators
/// @notice Deployed once and linked into ProviderStaking, in whose name its functions run: they are called seldom, and
/// their code would not fit there.
///
/// A key is one operator's for ever, and its record dated: it was in use from `boundAt` to before `unboundAt`. Where it
/// comes back, its first date stays, and the operator answers for the time between too.
library OperatorKeys {
    bytes32 private constant RESULT_KEY_BINDING =
        keccak256("ResultKeyBinding(address operator,bytes32 nodeKey,address resultKey)");

    bytes32 private constant VOUCHER_KEY_BINDING =
        keccak256("VoucherKeyBinding(address coordinator,address voucherKey)");

    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME = keccak256("Tidemill ProviderStaking");
    bytes32 private constant VERSION = keccak256("1");

    struct Keys {
        mapping(address resultKey => IProviderStaking.ResultKey) results;
        mapping(address voucherKey => IProviderStaking.VoucherKey) vouchers;
    }

    function bindResultKey(Keys storage self, IProviderStaking.KeyBinding calldata keys) external {
        IProviderStaking.ResultKey storage key = self.results[keys.resultKey];
        (key.operator, key.boundAt) = bound(keys.resultKey, key.operator, key.boundAt, key.unboundAt);
        key.unboundAt = 0;
        key.nodeKey = keys.nodeKey;
        requireSigned(
            keys.resultKey,
            keccak256(abi.encode(RESULT_KEY_BINDING, msg.sender, keys.nodeKey, keys.resultKey)),
            keys.signature
        );
        emit IProviderStaking.KeysBound(msg.sender, keys.resultKey, keys.nodeKey);
    }

    function unbindResultKey(Keys storage self, address resultKey) external {
        IProviderStaking.ResultKey storage key = self.results[resultKey];
        if (key.operator != msg.sender || key.unboundAt != 0) revert IProviderStaking.KeyNotBound(resultKey);
        key.unboundAt = uint48(block.timestamp);
        emit IProviderStaking.KeysUnbound(msg.sender, resultKey);
    }

    function bindVoucherKey(Keys storage self, address voucherKey, bytes calldata signature) external {
        IProviderStaking.VoucherKey storage key = self.vouchers[voucherKey];
        (key.coordinator, key.boundAt) = bound(voucherKey, key.coordinator, key.boundAt, key.unboundAt);
        key.unboundAt = 0;
        requireSigned(voucherKey, keccak256(abi.encode(VOUCHER_KEY_BINDING, msg.sender, voucherKey)), signature);
        emit IProviderStaking.VoucherKeyBound(msg.sender, voucherKey);
    }

    function unbindVoucherKey(Keys storage self, address voucherKey) external {
        IProviderStaking.VoucherKey storage key = self.vouchers[voucherKey];
        if (key.coordinator != msg.sender || key.unboundAt != 0) revert IProviderStaking.KeyNotBound(voucherKey);
        key.unboundAt = uint48(block.timestamp);
        emit IProviderStaking.VoucherKeyUnbound(msg.sender, voucherKey);
    }

    /// @dev Whose the key is after the caller binds it, and since when.
    function bound(address key, address owner, uint48 boundAt, uint48 unboundAt)
        private
        view
        returns (address, uint48)
    {
        if (owner == address(0)) return (msg.sender, uint48(block.timestamp));
        if (owner != msg.sender) revert IProviderStaking.KeyTaken(key, owner);
        if (unboundAt == 0) revert IProviderStaking.KeyAlreadyBound(key);
        return (owner, boundAt);
    }

    function requireSigned(address key, bytes32 statement, bytes calldata signature) private view {
        // The contract's, not the library's: it runs in that one's name.
        bytes32 domain = keccak256(abi.encode(DOMAIN, NAME, VERSION, block.chainid, address(this)));
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, statement);
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        // The zero address is what a failed recovery gives, too.
        if (failure != ECDSA.RecoverError.NoError || signer != key) revert IProviderStaking.KeySignatureInvalid(key);
    }
}
