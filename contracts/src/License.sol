// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IERC7858} from "./interfaces/IERC7858.sol";
import {ILicense} from "./interfaces/ILicense.sol";
import {ITokenState} from "./interfaces/ITokenState.sol";
import {Names} from "./libraries/Names.sol";

/// @title Licences
contract License is ILicense, ITokenState, ERC721 {
    using SafeCast for uint256;

    IDirectory private immutable _directory;

    uint256 private _lastTokenId;
    mapping(uint256 tokenId => Terms) private _licenses;

    constructor(IDirectory directory) ERC721("Licet License", "LICENSE") {
        _directory = directory;
    }

    modifier onlySale() {
        if (
            _directory.nameOf(msg.sender) != Names.LICENSE_SALE
                || _directory.statusOf(msg.sender) != IDirectory.Status.Active
        ) revert License_NotSale(msg.sender);
        _;
    }

    /// @inheritdoc ILicense
    function mint(address recipient, uint256 planId, uint64 from, uint64 until, bool transferable)
        external
        onlySale
        returns (uint256 tokenId)
    {
        tokenId = ++_lastTokenId;
        _licenses[tokenId] =
            Terms({planId: planId.toUint64(), startTime: from, endTime: until, ordinal: 0, transferable: transferable});
        // No receiver hook: it could move the licence before the sale says that it was bought.
        _mint(recipient, tokenId);
        _announceTerm(tokenId, from, until);
    }

    /// @inheritdoc ILicense
    function renew(uint256 tokenId, uint64 until) external onlySale returns (uint32 ordinal) {
        Terms storage terms = _known(tokenId);
        if (until <= terms.endTime) revert License_InvalidTerm(terms.startTime, until);
        terms.endTime = until;
        ordinal = ++terms.ordinal;
        _announceTerm(tokenId, terms.startTime, until);
    }

    /// @inheritdoc ILicense
    function licenseOf(uint256 tokenId) external view returns (Terms memory) {
        return _known(tokenId);
    }

    /// @inheritdoc ILicense
    function isUsable(uint256 tokenId) external view returns (bool) {
        Terms storage terms = _licenses[tokenId];
        return block.timestamp >= terms.startTime && block.timestamp < terms.endTime;
    }

    /// @inheritdoc ITokenState
    /// @notice Over plan, term and renewals.
    function tokenStateHash(uint256 tokenId) external view returns (bytes32) {
        return keccak256(abi.encode(_known(tokenId)));
    }

    /// @inheritdoc IERC7858
    function expiryType() external pure returns (EXPIRY_TYPE) {
        return EXPIRY_TYPE.TIME_BASED;
    }

    /// @inheritdoc IERC7858
    function isTokenExpired(uint256 tokenId) external view returns (bool) {
        return block.timestamp >= _known(tokenId).endTime;
    }

    /// @inheritdoc IERC7858
    function startTime(uint256 tokenId) external view returns (uint256) {
        return _known(tokenId).startTime;
    }

    /// @inheritdoc IERC7858
    function endTime(uint256 tokenId) external view returns (uint256) {
        return _known(tokenId).endTime;
    }

    /// @inheritdoc ERC721
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IERC7858).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev The one place through which every movement goes. Expiry does not matter here, as ERC-7858 demands.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth);
        Terms storage terms = _licenses[tokenId];
        if (from != address(0) && !terms.transferable) revert License_NotTransferable(tokenId, terms.planId);
    }

    function _known(uint256 tokenId) private view returns (Terms storage terms) {
        terms = _licenses[tokenId];
        if (terms.endTime == 0) revert License_Unknown(tokenId);
    }

    /// @dev `from < until` also refuses the end 0, which ERC-7858 reads as "never expires".
    function _announceTerm(uint256 tokenId, uint64 from, uint64 until) private {
        if (from >= until) revert License_InvalidTerm(from, until);
        emit TokenExpiryUpdated(tokenId, from, until);
    }
}
