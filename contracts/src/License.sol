// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IERC5192} from "./interfaces/IERC5192.sol";
import {IERC7432} from "./interfaces/IERC7432.sol";
import {IERC7858} from "./interfaces/IERC7858.sol";
import {ILicense} from "./interfaces/ILicense.sol";
import {ITokenState} from "./interfaces/ITokenState.sol";
import {Names} from "./libraries/Names.sol";

/// @title Licences
contract License is ILicense, ITokenState, ERC721 {
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

    IDirectory private immutable _directory;

    uint256 private _lastTokenId;
    mapping(uint256 tokenId => Record) private _records;
    mapping(uint256 tokenId => Delegation) private _delegations;
    mapping(address holder => mapping(address operator => bool)) private _roleOperators;

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

    modifier onlyBreachBook() {
        // A retiring one still ends what was announced before.
        IDirectory.Status status = _directory.statusOf(msg.sender);
        bool isOpen = status == IDirectory.Status.Active || status == IDirectory.Status.Retiring;
        if (!isOpen || _directory.nameOf(msg.sender) != Names.BREACH_BOOK) revert License_NotBreachBook(msg.sender);
        _;
    }

    modifier onlyHolder(uint256 tokenId) {
        if (_holder(tokenId) != msg.sender) revert License_NotHolder(tokenId, msg.sender);
        _;
    }

    modifier onlyHere(address tokenAddress) {
        if (tokenAddress != address(this)) revert License_UnknownRole(tokenAddress, USER_ROLE);
        _;
    }

    modifier onlyUserRole(address tokenAddress, bytes32 roleId) {
        if (tokenAddress != address(this) || roleId != USER_ROLE) revert License_UnknownRole(tokenAddress, roleId);
        _;
    }

    /// @inheritdoc ILicense
    function mint(address recipient, uint256 planId, uint64 from, uint64 until, bool transferable, bool trial)
        external
        onlySale
        returns (uint256 tokenId)
    {
        tokenId = ++_lastTokenId;
        _records[tokenId] = Record({
            planId: planId.toUint64(),
            startTime: from,
            endTime: until,
            ordinal: 0,
            transferable: transferable,
            locked: false,
            breached: false,
            trial: trial
        });
        // No receiver hook: it could move the licence before the sale says that it was bought.
        _mint(recipient, tokenId);
        _announceTerm(tokenId, from, until);
        if (!transferable) emit Locked(tokenId);
    }

    /// @inheritdoc ILicense
    function renew(uint256 tokenId, uint64 until) external onlySale returns (uint32 ordinal) {
        Record storage record = _known(tokenId);
        if (record.breached) revert License_Breached(tokenId);
        if (until <= record.endTime) revert License_InvalidTerm(record.startTime, until);
        record.endTime = until;
        ordinal = ++record.ordinal;
        _announceTerm(tokenId, record.startTime, until);
    }

    /// @inheritdoc ILicense
    function revoke(uint256 tokenId) external onlyBreachBook {
        Record storage record = _known(tokenId);
        uint64 end = uint64(block.timestamp);
        if (record.endTime <= end) revert License_InvalidTerm(record.startTime, record.endTime);
        record.endTime = end;
        record.breached = true;
        emit LicenseRevoked(tokenId, record.planId, end);
        _announceTerm(tokenId, record.startTime, end);
        if (_delegations[tokenId].user != address(0)) _endDelegation(tokenId);
        if (record.transferable && !record.locked) emit Locked(tokenId);
    }

    /// @inheritdoc ILicense
    function lock(uint256 tokenId) external onlyHolder(tokenId) {
        if (_records[tokenId].breached) revert License_Breached(tokenId);
        if (_records[tokenId].locked) revert License_Locked(tokenId);
        _lock(tokenId, msg.sender);
    }

    /// @inheritdoc ILicense
    function burn(uint256 tokenId) external onlyHolder(tokenId) {
        _burn(tokenId);
        delete _records[tokenId];
    }

    /// @inheritdoc IERC7432
    function grantRole(Role calldata role) external onlyUserRole(role.tokenAddress, role.roleId) {
        uint256 tokenId = role.tokenId;
        address holder = _actingFor(tokenId);
        Delegation storage delegation = _delegations[tokenId];
        if (_isBinding(delegation)) revert License_Delegated(tokenId, delegation.expires);
        if (
            role.recipient == address(0) || role.expirationDate <= block.timestamp
                || role.expirationDate > _records[tokenId].endTime || role.data.length != 0
        ) revert License_InvalidDelegation(tokenId, role.recipient, role.expirationDate);
        _delegations[tokenId] =
            Delegation({user: role.recipient, expires: role.expirationDate, revocable: role.revocable});
        emit RoleGranted(
            address(this), tokenId, USER_ROLE, holder, role.recipient, role.expirationDate, role.revocable, role.data
        );
        emit UpdateUser(tokenId, role.recipient, role.expirationDate);
        // The recipient keeps an irrevocable role only if the licence cannot be moved from under it.
        if (!role.revocable && !_records[tokenId].locked) _lock(tokenId, holder);
    }

    /// @inheritdoc IERC7432
    function revokeRole(address tokenAddress, uint256 tokenId, bytes32 roleId)
        external
        onlyUserRole(tokenAddress, roleId)
    {
        Delegation storage delegation = _delegations[tokenId];
        if (!_runs(delegation)) revert License_NotDelegated(tokenId);
        bool byUser = msg.sender == delegation.user || _roleOperators[delegation.user][msg.sender];
        if (!byUser) {
            _actingFor(tokenId);
            if (!delegation.revocable) revert License_Delegated(tokenId, delegation.expires);
        }
        _endDelegation(tokenId);
    }

    /// @inheritdoc IERC7432
    function unlockToken(address tokenAddress, uint256 tokenId) external onlyHere(tokenAddress) onlyHolder(tokenId) {
        Record storage record = _records[tokenId];
        if (!record.locked) revert License_NotLocked(tokenId);
        Delegation storage delegation = _delegations[tokenId];
        if (_isBinding(delegation)) revert License_Delegated(tokenId, delegation.expires);
        record.locked = false;
        emit TokenUnlocked(msg.sender, address(this), tokenId);
        if (record.transferable && !record.breached) emit Unlocked(tokenId);
    }

    /// @inheritdoc IERC7432
    function setRoleApprovalForAll(address tokenAddress, address operator, bool approved)
        external
        onlyHere(tokenAddress)
    {
        _roleOperators[msg.sender][operator] = approved;
        emit RoleApprovalForAll(tokenAddress, operator, approved);
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

    /// @inheritdoc ITokenState
    /// @notice Over plan, term and renewals.
    function tokenStateHash(uint256 tokenId) external view returns (bytes32) {
        return keccak256(abi.encode(licenseOf(tokenId)));
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

    /// @notice ERC-721's approval; a bound licence cannot be listed.
    function approve(address to, uint256 tokenId) public override {
        if (_records[tokenId].breached) revert License_Breached(tokenId);
        if (_records[tokenId].locked) revert License_Locked(tokenId);
        super.approve(to, tokenId);
    }

    /// @inheritdoc ERC721
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IERC7858).interfaceId || interfaceId == type(IERC5192).interfaceId
            || interfaceId == type(IERC7432).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev The one place through which every movement goes. Expiry does not matter here, as ERC-7858 demands. A new
    /// holder is bound by no delegation of the old one.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth);
        if (from == address(0)) return from;
        Record storage record = _records[tokenId];
        if (to != address(0) && record.breached) revert License_Breached(tokenId);
        if (to != address(0) && !record.transferable) revert License_NotTransferable(tokenId, record.planId);
        if (record.locked) revert License_Locked(tokenId);
        if (_delegations[tokenId].user != address(0)) _endDelegation(tokenId);
    }

    function _endDelegation(uint256 tokenId) private {
        delete _delegations[tokenId];
        emit RoleRevoked(address(this), tokenId, USER_ROLE);
        emit UpdateUser(tokenId, address(0), 0);
    }

    /// @dev A licence whose plan forbids transfers was announced as bound when it was minted.
    function _lock(uint256 tokenId, address holder) private {
        Record storage record = _records[tokenId];
        record.locked = true;
        emit TokenLocked(holder, address(this), tokenId);
        if (record.transferable) emit Locked(tokenId);
    }

    function _runs(Delegation storage delegation) private view returns (bool) {
        return block.timestamp < delegation.expires;
    }

    function _isBinding(Delegation storage delegation) private view returns (bool) {
        return !delegation.revocable && _runs(delegation);
    }

    function _holder(uint256 tokenId) private view returns (address holder) {
        _known(tokenId);
        return _ownerOf(tokenId);
    }

    /// @dev Holder of the licence, for whom the caller may grant and revoke.
    function _actingFor(uint256 tokenId) private view returns (address holder) {
        holder = _holder(tokenId);
        if (msg.sender != holder && !_roleOperators[holder][msg.sender]) {
            revert License_NotHolder(tokenId, msg.sender);
        }
    }

    function _known(uint256 tokenId) private view returns (Record storage record) {
        record = _records[tokenId];
        if (record.endTime == 0) revert License_Unknown(tokenId);
    }

    /// @dev `from < until` also refuses the end 0, which ERC-7858 reads as "never expires".
    function _announceTerm(uint256 tokenId, uint64 from, uint64 until) private {
        if (from >= until) revert License_InvalidTerm(from, until);
        emit TokenExpiryUpdated(tokenId, from, until);
    }
}
