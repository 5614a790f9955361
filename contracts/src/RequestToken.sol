// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7540Operator} from "./interfaces/IERC7540.sol";
import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IERC721Metadata} from "@openzeppelin/contracts/token/ERC721/extensions/IERC721Metadata.sol";
import {ERC721Utils} from "@openzeppelin/contracts/token/ERC721/utils/ERC721Utils.sol";

/// @title Requests as ERC-721 tokens, each owner's in a list
/// @notice An owner and its neighbours in the list share a slot, and so do an owner's count and the ends of its list: a
/// request costs no slot more than a token that cannot be listed, and goes out of the middle of a list without a search.
/// Who may act for an owner by ERC-721 (`setApprovalForAll`) may by ERC-7540 (`setOperator`): it is one permission.
abstract contract RequestToken is IERC721, IERC721Metadata, IERC721Errors, IERC7540Operator {
    struct Node {
        address owner;
        uint48 before;
        uint48 next;
    }

    struct List {
        uint48 first;
        uint48 last;
        uint48 count;
    }

    mapping(uint256 id => Node) private _nodes;
    mapping(address owner => List) private _lists;
    mapping(uint256 id => address) private _approved;
    mapping(address owner => mapping(address operator => bool)) private _operators;

    /// @inheritdoc IERC721
    function approve(address to, uint256 id) external {
        address owner = ownerOf(id);
        if (msg.sender != owner && !_operators[owner][msg.sender]) revert ERC721InvalidApprover(msg.sender);
        _approved[id] = to;
        emit Approval(owner, to, id);
    }

    /// @inheritdoc IERC721
    function setApprovalForAll(address operator, bool approved) external {
        _setOperator(operator, approved);
    }

    /// @inheritdoc IERC7540Operator
    function setOperator(address operator, bool approved) external returns (bool) {
        _setOperator(operator, approved);
        return true;
    }

    /// @inheritdoc IERC721
    function transferFrom(address from, address to, uint256 id) public {
        if (ownerOf(id) != from) revert ERC721IncorrectOwner(from, id, _nodes[id].owner);
        if (!_mayActFor(from, msg.sender) && _approved[id] != msg.sender) {
            revert ERC721InsufficientApproval(msg.sender, id);
        }
        _hand(from, to, id);
    }

    /// @inheritdoc IERC721
    function safeTransferFrom(address from, address to, uint256 id) external {
        transferFrom(from, to, id);
        ERC721Utils.checkOnERC721Received(msg.sender, from, to, id, "");
    }

    /// @inheritdoc IERC721
    function safeTransferFrom(address from, address to, uint256 id, bytes calldata data) external {
        transferFrom(from, to, id);
        ERC721Utils.checkOnERC721Received(msg.sender, from, to, id, data);
    }

    /// @inheritdoc IERC721
    function balanceOf(address owner) external view returns (uint256) {
        if (owner == address(0)) revert ERC721InvalidOwner(owner);
        return _lists[owner].count;
    }

    /// @inheritdoc IERC721
    function ownerOf(uint256 id) public view returns (address owner) {
        owner = _nodes[id].owner;
        if (owner == address(0)) revert ERC721NonexistentToken(id);
    }

    /// @inheritdoc IERC721
    function getApproved(uint256 id) external view returns (address) {
        // Reverts where there is no such token.
        // slither-disable-next-line unused-return
        ownerOf(id);
        return _approved[id];
    }

    /// @inheritdoc IERC721
    function isApprovedForAll(address owner, address operator) external view returns (bool) {
        return _operators[owner][operator];
    }

    /// @inheritdoc IERC7540Operator
    function isOperator(address controller, address operator) external view returns (bool) {
        return _operators[controller][operator];
    }

    /// @inheritdoc IERC721Metadata
    function name() external pure returns (string memory) {
        return "Tidemill exit request";
    }

    /// @inheritdoc IERC721Metadata
    function symbol() external pure returns (string memory) {
        return "exTIDE";
    }

    /// @inheritdoc IERC721Metadata
    function tokenURI(uint256 id) external view returns (string memory) {
        // slither-disable-next-line unused-return
        ownerOf(id);
        return "";
    }

    // Whose it is; zero if nobody's.
    function _controllerOf(uint256 id) internal view returns (address) {
        return _nodes[id].owner;
    }

    function _mayActFor(address owner, address caller) internal view returns (bool) {
        return caller == owner || _operators[owner][caller];
    }

    // The first of an owner's, or the one after `id`; zero if there is none.
    function _firstOf(address owner) internal view returns (uint256) {
        return _lists[owner].first;
    }

    function _nextOf(uint256 id) internal view returns (uint256) {
        return _nodes[id].next;
    }

    function _give(address to, uint256 id) internal {
        if (to == address(0)) revert ERC721InvalidReceiver(to);
        _append(to, id);
        emit Transfer(address(0), to, id);
    }

    function _burn(uint256 id) internal {
        address owner = _nodes[id].owner;
        _remove(owner, id);
        delete _nodes[id];
        if (_approved[id] != address(0)) delete _approved[id];
        emit Transfer(owner, address(0), id);
    }

    function _hand(address from, address to, uint256 id) internal {
        if (to == address(0)) revert ERC721InvalidReceiver(to);
        _remove(from, id);
        _append(to, id);
        if (_approved[id] != address(0)) delete _approved[id];
        emit Transfer(from, to, id);
        _handed(from, to, id);
    }

    // What its heir says of a request that goes to somebody else.
    function _handed(address from, address to, uint256 id) internal virtual;

    function _append(address owner, uint256 id) private {
        List memory list = _lists[owner];
        _nodes[id] = Node(owner, list.last, 0);
        if (list.last == 0) list.first = uint48(id);
        else _nodes[list.last].next = uint48(id);
        list.last = uint48(id);
        list.count += 1;
        _lists[owner] = list;
    }

    function _remove(address owner, uint256 id) private {
        List memory list = _lists[owner];
        Node memory node = _nodes[id];
        if (node.before == 0) list.first = node.next;
        else _nodes[node.before].next = node.next;
        if (node.next == 0) list.last = node.before;
        else _nodes[node.next].before = node.before;
        list.count -= 1;
        _lists[owner] = list;
    }

    function _setOperator(address operator, bool approved) private {
        if (operator == address(0)) revert ERC721InvalidOperator(operator);
        _operators[msg.sender][operator] = approved;
        emit ApprovalForAll(msg.sender, operator, approved);
        emit OperatorSet(msg.sender, operator, approved);
    }
}
