// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title A vault whose share is a token of its own (ERC-7575)
interface IERC7575Vault {
    /// @notice The token that is minted and burned.
    function share() external view returns (address);
}

/// @title A share that knows its vaults (ERC-7575)
interface IERC7575Share {
    /// @notice The vault was set for the asset.
    event VaultUpdate(address indexed asset, address vault);

    /// @notice Where `asset` enters.
    function vault(address asset) external view returns (address);
}

/// @title Who may act for another's requests (ERC-7540)
interface IERC7540Operator {
    /// @notice `controller` lets `operator` act for it, or no longer.
    event OperatorSet(address indexed controller, address indexed operator, bool approved);

    /// @notice Lets `operator` request and claim for the caller, or no longer.
    function setOperator(address operator, bool approved) external returns (bool);

    /// @notice Whether `operator` may act for `controller`.
    function isOperator(address controller, address operator) external view returns (bool);
}

/// @title Redeeming by request (ERC-7540)
interface IERC7540Redeem {
    /// @notice `owner`'s shares wait for `controller`.
    event RedeemRequest(
        address indexed controller, address indexed owner, uint256 indexed requestId, address sender, uint256 shares
    );

    /// @notice Lets `shares` of `owner`'s wait to be redeemed, for `controller`.
    function requestRedeem(uint256 shares, address controller, address owner) external returns (uint256 requestId);

    /// @notice The shares of a request that wait.
    function pendingRedeemRequest(uint256 requestId, address controller) external view returns (uint256 shares);

    /// @notice The shares of a request that can be claimed.
    function claimableRedeemRequest(uint256 requestId, address controller) external view returns (uint256 shares);
}

/// @title Requests that can be handed on while they wait (ERC-8161)
interface IERC7540RedeemTransferable {
    /// @notice A request went to another controller.
    event TransferRedeemRequest(uint256 indexed requestId, address indexed from, address indexed to, uint256 shares);

    /// @notice Hands a request that waits on. Its controller, or who may act for it.
    function transferRedeemRequest(uint256 requestId, address oldController, address newController) external;
}
