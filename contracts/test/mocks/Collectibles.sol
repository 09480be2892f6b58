// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {ITokenState} from "../../src/interfaces/ITokenState.sol";

/// @notice An ERC-721 that answers whatever it is told to when it is asked for its royalty.
contract RoyaltyToken is ERC721("Royalty", "ROY") {
    bytes private _answer;
    bool private _burns;

    function mint(address to, uint256 tokenId) external {
        _mint(to, tokenId);
    }

    function setAnswer(bytes calldata answer, bool burns) external {
        (_answer, _burns) = (answer, burns);
    }

    function royaltyInfo(uint256, uint256) external view {
        while (_burns) {}
        bytes memory answer = _answer;
        assembly ("memory-safe") {
            return(add(answer, 32), mload(answer))
        }
    }
}

/// @notice An ERC-721 whose state anybody sets.
contract StatefulToken is ITokenState, ERC721("Stateful", "STA") {
    mapping(uint256 tokenId => bytes32) public tokenStateHash;

    function mint(address to, uint256 tokenId) external {
        _mint(to, tokenId);
    }

    function setState(uint256 tokenId, bytes32 state) external {
        tokenStateHash[tokenId] = state;
    }
}

/// @notice Units of something.
contract Units is ERC1155("") {
    function mint(address to, uint256 tokenId, uint256 amount) external {
        _mint(to, tokenId, amount, "");
    }
}

/// @notice A wallet that signs with the key of its owner and calls anyone when it receives units.
contract Wallet is IERC1271 {
    address private immutable _owner;
    address private _target;
    bytes private _data;
    bytes public answer;

    constructor(address owner) {
        _owner = owner;
    }

    function run(address target, bytes calldata data) public returns (bytes memory) {
        (bool ok, bytes memory result) = target.call(data);
        require(ok, "run failed");
        return result;
    }

    function arm(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address signer,,) = ECDSA.tryRecover(hash, signature);
        return signer == _owner ? this.isValidSignature.selector : bytes4(0xffffffff);
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external returns (bytes4) {
        if (_target != address(0)) (, answer) = _target.call(_data);
        return this.onERC1155Received.selector;
    }
}
