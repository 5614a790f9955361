// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EscrowId} from "../types/EscrowId.sol";

/// A coordinator's promise to one provider, cumulative: it says what the provider has earned in the escrow altogether,
/// so a newer voucher supersedes all older ones and a lost one does no harm.
struct Voucher {
    EscrowId escrow;
    address provider;
    /// Gross: the fees come out of it.
    uint96 amount;
    /// Counts the vouchers of the escrow. No number is used twice: two vouchers that share one prove a fraud.
    uint64 sequence;
    /// The sum of the latest amounts of all the escrow's providers, this voucher's included.
    uint96 total;
}

struct SignedVoucher {
    Voucher voucher;
    bytes signature;
}

/// A provider's word that it wants no more than `amount`, gross and altogether, from an escrow. Who has signed one
/// takes no more work there: older and newer vouchers alike lose their force when the escrow is closed early with it.
struct Release {
    EscrowId escrow;
    address provider;
    uint96 amount;
}

/// A release of an escrow that is named beside it, signed in the 64 bytes of EIP-2098: `vs` is `s` with the parity of
/// `v` as its highest bit.
struct SignedRelease {
    address provider;
    uint96 amount;
    bytes32 r;
    bytes32 vs;
}

/// The EIP-712 struct hashes of what is signed about an escrow.
library Vouchers {
    bytes32 internal constant VOUCHER_TYPEHASH =
        keccak256("Voucher(bytes32 escrow,address provider,uint96 amount,uint64 sequence,uint96 total)");

    bytes32 internal constant RELEASE_TYPEHASH = keccak256("Release(bytes32 escrow,address provider,uint96 amount)");

    function hash(Voucher calldata v) internal pure returns (bytes32) {
        return keccak256(abi.encode(VOUCHER_TYPEHASH, v.escrow, v.provider, v.amount, v.sequence, v.total));
    }

    function hash(Release calldata r) internal pure returns (bytes32) {
        return releaseHash(r.escrow, r.provider, r.amount);
    }

    function releaseHash(EscrowId id, address provider, uint96 amount) internal pure returns (bytes32) {
        return keccak256(abi.encode(RELEASE_TYPEHASH, id, provider, amount));
    }
}
