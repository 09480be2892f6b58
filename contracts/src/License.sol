// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IERC7432} from "./interfaces/IERC7432.sol";
import {ILicense} from "./interfaces/ILicense.sol";
import {ITokenState} from "./interfaces/ITokenState.sol";
import {Names} from "./libraries/Names.sol";
import {LicenseState} from "./LicenseState.sol";

/// @title Licences
contract License is LicenseState {
    using SafeCast for uint256;

    /// @notice Ids of one generation, so that a licence keeps its id in all of them.
    uint256 private constant IDS_BITS = 64;

    IDirectory private immutable _directory;

    uint256 private _lastTokenId;
    mapping(uint256 tokenId => uint64) private _heldUntil;

    constructor(IDirectory directory) ERC721("Licet License", "LICENSE") {
        _directory = directory;
    }

    modifier onlySale() {
        if (
            _directory.nameOf(msg.sender) != Names.LICENSE_SALE
                || _directory.statusOf(msg.sender) != IDirectory.Status.Active
        ) revert License_NotSale(msg.sender);
        if (!_isActive()) revert License_NotActive();
        _;
    }

    modifier onlyFormerGeneration() {
        if (
            _directory.nameOf(msg.sender) != Names.LICENSE
                || _directory.statusOf(msg.sender) != IDirectory.Status.Retiring
        ) revert License_NotFormerGeneration(msg.sender);
        if (!_isActive()) revert License_NotActive();
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

    /// @inheritdoc ILicense
    function mint(address recipient, uint256 planId, uint64 from, uint64 until, bool transferable, bool trial)
        external
        onlySale
        returns (uint256 tokenId)
    {
        tokenId = _lastTokenId;
        // Nothing but the first id asks for the generation.
        if (tokenId == 0) tokenId = uint256(_directory.generationOf(address(this)) - 1) << IDS_BITS;
        _lastTokenId = ++tokenId;
        _issue(recipient, tokenId, Terms(planId.toUint64(), from, until, 0, transferable, trial));
    }

    /// @inheritdoc ILicense
    function migrate(uint256 tokenId) external onlyHolder(tokenId) {
        address next = _directory.activeOf(Names.LICENSE);
        bool isRetiring = _directory.statusOf(address(this)) == IDirectory.Status.Retiring;
        if (!isRetiring || next == address(0)) revert License_NoNextGeneration();
        if (_records[tokenId].breached) revert License_Breached(tokenId);
        uint64 heldUntil = _heldUntil[tokenId];
        if (block.timestamp <= heldUntil) revert License_Held(tokenId, heldUntil);
        Terms memory terms = licenseOf(tokenId);
        _burn(tokenId);
        delete _records[tokenId];
        ILicense(next).accept(msg.sender, tokenId, terms);
    }

    /// @inheritdoc ILicense
    function accept(address holder, uint256 tokenId, Terms calldata terms) external onlyFormerGeneration {
        _issue(holder, tokenId, terms);
        emit LicenseMigrated(
            tokenId, terms.planId, msg.sender, holder, terms.startTime, terms.endTime, terms.ordinal, terms.trial
        );
    }

    /// @inheritdoc ILicense
    function hold(uint256 tokenId, uint64 until) external onlyBreachBook {
        _heldUntil[tokenId] = until;
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

    /// @inheritdoc ITokenState
    /// @notice Over plan, term, renewals, and until when an announced breach hangs over it.
    function tokenStateHash(uint256 tokenId) external view returns (bytes32) {
        uint64 heldUntil = _heldUntil[tokenId];
        return keccak256(abi.encode(licenseOf(tokenId), block.timestamp > heldUntil ? 0 : heldUntil));
    }

    /// @notice ERC-721's approval; a bound licence cannot be listed.
    function approve(address to, uint256 tokenId) public override {
        if (_records[tokenId].breached) revert License_Breached(tokenId);
        if (_records[tokenId].locked) revert License_Locked(tokenId);
        super.approve(to, tokenId);
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

    /// @dev No receiver hook: it could move the licence before the caller says what happened.
    function _issue(address holder, uint256 tokenId, Terms memory terms) private {
        _records[tokenId] = Record({
            planId: terms.planId,
            startTime: terms.startTime,
            endTime: terms.endTime,
            ordinal: terms.ordinal,
            transferable: terms.transferable,
            locked: false,
            breached: false,
            trial: terms.trial
        });
        _mint(holder, tokenId);
        _announceTerm(tokenId, terms.startTime, terms.endTime);
        if (!terms.transferable) emit Locked(tokenId);
    }

    function _isActive() private view returns (bool) {
        return _directory.statusOf(address(this)) == IDirectory.Status.Active;
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

    function _isBinding(Delegation storage delegation) private view returns (bool) {
        return !delegation.revocable && _runs(delegation);
    }

    /// @dev Holder of the licence, for whom the caller may grant and revoke.
    function _actingFor(uint256 tokenId) private view returns (address holder) {
        holder = _holder(tokenId);
        if (msg.sender != holder && !_roleOperators[holder][msg.sender]) {
            revert License_NotHolder(tokenId, msg.sender);
        }
    }

    /// @dev `from < until` also refuses the end 0, which ERC-7858 reads as "never expires".
    function _announceTerm(uint256 tokenId, uint64 from, uint64 until) private {
        if (from >= until) revert License_InvalidTerm(from, until);
        emit TokenExpiryUpdated(tokenId, from, until);
    }
}
