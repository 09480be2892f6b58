// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IERC5192} from "./interfaces/IERC5192.sol";
import {IERC7432} from "./interfaces/IERC7432.sol";
import {IERC7858} from "./interfaces/IERC7858.sol";
import {ILicense} from "./interfaces/ILicense.sol";
import {ITokenState} from "./interfaces/ITokenState.sol";

/// @title What is known of licences
abstract contract LicenseState is ILicense, ITokenState, ERC721 {
    using SafeCast for uint256;

    struct Record {
        uint64 planId;
        uint64 startTime;
        uint64 endTime;
        uint32 ordinal;
        bool transferable;
        bool locked;
        bool breached;
        bool trial;
    }

    struct Delegation {
        address user;
        uint64 expires;
        bool revocable;
    }

    /// @notice The one role of a licence (ERC-7432): its recipient may use it.
    bytes32 public constant USER_ROLE = keccak256("USER");

    mapping(uint256 tokenId => Record) internal _records;
    mapping(uint256 tokenId => Delegation) internal _delegations;
    mapping(address holder => mapping(address operator => bool)) internal _roleOperators;

    modifier onlyHere(address tokenAddress) {
        if (tokenAddress != address(this)) revert License_UnknownRole(tokenAddress, USER_ROLE);
        _;
    }

    modifier onlyUserRole(address tokenAddress, bytes32 roleId) {
        if (tokenAddress != address(this) || roleId != USER_ROLE) revert License_UnknownRole(tokenAddress, roleId);
        _;
    }

    /// @inheritdoc ILicense
    function licenseOf(uint256 tokenId) public view returns (Terms memory) {
        Record storage record = _known(tokenId);
        return Terms(record.planId, record.startTime, record.endTime, record.ordinal, record.transferable, record.trial);
    }

    /// @inheritdoc ILicense
    function isRevoked(uint256 tokenId) external view returns (bool) {
        return _known(tokenId).breached;
    }

    /// @inheritdoc ILicense
    function isUsable(uint256 tokenId) external view returns (bool) {
        Record storage record = _records[tokenId];
        return block.timestamp >= record.startTime && block.timestamp < record.endTime;
    }

    /// @inheritdoc ILicense
    function userOf(uint256 tokenId) public view returns (address) {
        Delegation storage delegation = _delegations[tokenId];
        return _runs(delegation) ? delegation.user : address(0);
    }

    /// @inheritdoc ILicense
    function userExpires(uint256 tokenId) public view returns (uint256) {
        Delegation storage delegation = _delegations[tokenId];
        return _runs(delegation) ? delegation.expires : 0;
    }

    /// @inheritdoc IERC5192
    function locked(uint256 tokenId) external view returns (bool) {
        Record storage record = _known(tokenId);
        return record.locked || record.breached || !record.transferable;
    }

    /// @inheritdoc IERC7432
    function ownerOf(address tokenAddress, uint256 tokenId) external view onlyHere(tokenAddress) returns (address) {
        return _holder(tokenId);
    }

    /// @inheritdoc IERC7432
    function recipientOf(address tokenAddress, uint256 tokenId, bytes32 roleId)
        external
        view
        onlyUserRole(tokenAddress, roleId)
        returns (address)
    {
        return userOf(tokenId);
    }

    /// @inheritdoc IERC7432
    function roleData(address tokenAddress, uint256, bytes32 roleId)
        external
        view
        onlyUserRole(tokenAddress, roleId)
        returns (bytes memory)
    {
        return "";
    }

    /// @inheritdoc IERC7432
    function roleExpirationDate(address tokenAddress, uint256 tokenId, bytes32 roleId)
        external
        view
        onlyUserRole(tokenAddress, roleId)
        returns (uint64)
    {
        return userExpires(tokenId).toUint64();
    }

    /// @inheritdoc IERC7432
    function isRoleRevocable(address tokenAddress, uint256 tokenId, bytes32 roleId)
        external
        view
        onlyUserRole(tokenAddress, roleId)
        returns (bool)
    {
        Delegation storage delegation = _delegations[tokenId];
        return _runs(delegation) && delegation.revocable;
    }

    /// @inheritdoc IERC7432
    function isRoleApprovedForAll(address tokenAddress, address owner, address operator)
        external
        view
        onlyHere(tokenAddress)
        returns (bool)
    {
        return _roleOperators[owner][operator];
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
        return interfaceId == type(IERC7858).interfaceId || interfaceId == type(IERC5192).interfaceId
            || interfaceId == type(IERC7432).interfaceId || super.supportsInterface(interfaceId);
    }

    function _runs(Delegation storage delegation) internal view returns (bool) {
        return block.timestamp < delegation.expires;
    }

    function _holder(uint256 tokenId) internal view returns (address holder) {
        _known(tokenId);
        return _ownerOf(tokenId);
    }

    function _known(uint256 tokenId) internal view returns (Record storage record) {
        record = _records[tokenId];
        if (record.endTime == 0) revert License_Unknown(tokenId);
    }
}
