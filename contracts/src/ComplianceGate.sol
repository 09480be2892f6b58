// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IComplianceGate} from "./interfaces/IComplianceGate.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IERC7943Fungible} from "./interfaces/IERC7943.sol";
import {ITransferGate} from "./interfaces/ITransferGate.sol";
import {Accounts} from "./libraries/Accounts.sol";
import {Credentials} from "./libraries/Credentials.sol";
import {Names} from "./libraries/Names.sol";

/// @title Rules about who may hold the shares of an asset
contract ComplianceGate is IComplianceGate, EIP712, AccessManaged {
    using Accounts for address;
    using BitMaps for BitMaps.BitMap;
    using Credentials for Credential;

    /// @notice Purposes of a contract: it may hold shares, have votes, be paid what shares earned.
    uint8 public constant HOLD = 1;
    uint8 public constant VOTE = 2;
    uint8 public constant EARN = 4;
    /// @notice What a call walks through.
    uint256 public constant MAX_BATCH = 64;
    /// @notice What is known about a person gets old: bounds of `longestTerm`.
    uint64 public constant MIN_LONGEST_TERM = 30 days;
    uint64 public constant MAX_LONGEST_TERM = 730 days;
    uint16 public constant MAX_JURISDICTION = 999;

    uint8 private constant ALL = HOLD | VOTE | EARN;

    struct Rules {
        Mode mode;
        bool isOutside;
        address officer;
        address timelock;
        uint256 classes;
        BitMaps.BitMap jurisdictions;
        mapping(address issuer => bool) issuers;
        mapping(address account => Account) accounts;
        mapping(address account => uint256) nonces;
    }

    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;

    /// @inheritdoc IComplianceGate
    uint64 public longestTerm = MAX_LONGEST_TERM;
    mapping(bytes32 assetId => Rules) private _rules;
    mapping(address shares => bytes32 assetId) private _assets;

    constructor(address manager, IDirectory directory, IAssetRegistry registry)
        EIP712("Licet Credential", "1")
        AccessManaged(manager)
    {
        (_directory, _registry) = (directory, registry);
    }

    /// @inheritdoc IComplianceGate
    function setLongestTerm(uint64 newTerm) external restricted {
        if (newTerm < MIN_LONGEST_TERM || newTerm > MAX_LONGEST_TERM) {
            revert ComplianceGate_InvalidLongestTerm(newTerm);
        }
        longestTerm = newTerm;
        emit LongestTermSet(newTerm);
    }

    /// @inheritdoc IComplianceGate
    function setMode(bytes32 assetId, Mode mode) external {
        _requireAuthority(assetId);
        Rules storage rules = _rules[assetId];
        if (mode == Mode.None) revert ComplianceGate_InvalidMode(assetId, mode);
        if (mode == Mode.Regulated && rules.isOutside) revert ComplianceGate_HasOutsideShares(assetId);
        if (rules.mode == Mode.None) _directory.requireActive(address(this));
        rules.mode = mode;
        emit ModeSet(assetId, mode);
    }

    /// @inheritdoc IComplianceGate
    function setOfficer(bytes32 assetId, address officer) external {
        _requireAuthority(assetId);
        _rules[assetId].officer = officer;
        emit OfficerSet(assetId, officer);
    }

    /// @inheritdoc IComplianceGate
    function setIssuer(bytes32 assetId, address issuer, bool allowed) external {
        _requireMay(assetId, allowed);
        _rules[assetId].issuers[issuer] = allowed;
        emit IssuerSet(assetId, issuer, allowed);
    }

    /// @inheritdoc IComplianceGate
    function setClasses(bytes32 assetId, uint256 classes) external {
        _requireMay(assetId, classes & ~_rules[assetId].classes != 0);
        _rules[assetId].classes = classes;
        emit ClassesSet(assetId, classes);
    }

    /// @inheritdoc IComplianceGate
    function setJurisdictions(bytes32 assetId, uint16[] calldata codes, bool allowed) external {
        _requireMay(assetId, allowed);
        if (codes.length > MAX_BATCH) revert ComplianceGate_TooMany(codes.length, MAX_BATCH);
        for (uint256 i = 0; i < codes.length; ++i) {
            _requireJurisdiction(codes[i]);
            _rules[assetId].jurisdictions.setTo(codes[i], allowed);
        }
        emit JurisdictionsSet(assetId, codes, allowed);
    }

    /// @inheritdoc IComplianceGate
    function listContract(bytes32 assetId, address target, uint8 purposes) external {
        if (purposes > ALL) revert ComplianceGate_InvalidPurposes(purposes);
        Account storage entry = _rules[assetId].accounts[target];
        _requireMay(assetId, purposes & ~entry.purposes != 0);
        entry.purposes = purposes;
        emit ContractListed(assetId, target, purposes);
    }

    /// @inheritdoc IComplianceGate
    function enrol(bytes32 assetId, address account, uint8 class, uint16 jurisdiction, uint64 expiresAt) external {
        uint256 nonce = _rules[assetId].nonces[account];
        _enrol(Credential(assetId, account, class, jurisdiction, expiresAt, nonce), msg.sender);
    }

    /// @inheritdoc IComplianceGate
    function enrolSigned(Credential calldata credential, address issuer, bytes calldata signature) external {
        if (!SignatureChecker.isValidSignatureNow(issuer, hashCredential(credential), signature)) {
            revert ComplianceGate_InvalidSignature(issuer);
        }
        _enrol(credential, issuer);
    }

    /// @inheritdoc IComplianceGate
    function revokeCredential(bytes32 assetId, address account) external {
        Rules storage rules = _rules[assetId];
        Account storage entry = rules.accounts[account];
        bool issued = entry.issuer == msg.sender || (entry.issuer == address(0) && rules.issuers[msg.sender]);
        if (!issued && !_isOfficer(assetId)) revert ComplianceGate_NotIssuer(assetId, msg.sender);
        (entry.issuer, entry.expiresAt, entry.jurisdiction, entry.class) = (address(0), 0, 0, 0);
        ++rules.nonces[account];
        emit CredentialRevoked(assetId, account, msg.sender);
    }

    /// @inheritdoc IComplianceGate
    function freezeAccount(bytes32 assetId, address account, bool isFrozen) external {
        _requireMay(assetId, false);
        _rules[assetId].accounts[account].isFrozen = isFrozen;
        emit AccountFrozen(assetId, account, isFrozen);
    }

    /// @inheritdoc IComplianceGate
    function freezeShares(address shares, address account, uint256 amount) external returns (bool) {
        bytes32 assetId = _requireAdmitted(shares);
        if (amount != 0) _requireRegulated(assetId);
        return IERC7943Fungible(shares).setFrozenTokens(account, amount);
    }

    /// @inheritdoc IComplianceGate
    function forceTransfer(address shares, address from, address to, uint256 amount) external returns (bool) {
        _requireRegulated(_requireAdmitted(shares));
        return IERC7943Fungible(shares).forcedTransfer(from, to, amount);
    }

    /// @inheritdoc IComplianceGate
    function admit(bytes32 assetId, address gate, address shares, address timelock) external {
        if (_directory.nameOf(msg.sender) != Names.SHARES_FACTORY) revert ComplianceGate_NotFactory(msg.sender);
        Rules storage rules = _rules[assetId];
        if (gate != address(this)) {
            if (rules.mode == Mode.Regulated) revert ComplianceGate_GateRequired(assetId, gate);
            rules.isOutside = true;
            emit SharedOutside(assetId, gate);
            return;
        }
        // Else whoever got the asset's token out would govern the shares that stand.
        if (rules.timelock != address(0)) revert ComplianceGate_SharedBefore(assetId, rules.timelock);
        (rules.timelock, _assets[shares]) = (timelock, assetId);
        rules.accounts[timelock].purposes = ALL;
        emit ContractListed(assetId, timelock, ALL);
        emit SharesAdmitted(assetId, shares, timelock);
    }

    /// @inheritdoc ITransferGate
    function canSend(bytes32 assetId, address account) public view returns (bool) {
        Rules storage rules = _rules[assetId];
        if (rules.mode != Mode.Regulated) return rules.mode == Mode.Open;
        // Whoever has lost its credentials may leave: to somebody who has some.
        return !rules.accounts[account].isFrozen;
    }

    /// @inheritdoc ITransferGate
    function canReceive(bytes32 assetId, address account) public view returns (bool) {
        return _may(assetId, account, HOLD);
    }

    /// @inheritdoc ITransferGate
    function canVote(bytes32 assetId, address account) external view returns (bool) {
        return _may(assetId, account, VOTE);
    }

    /// @inheritdoc ITransferGate
    function canBePaid(bytes32 assetId, address holder, address to) external view returns (bool) {
        return canSend(assetId, holder) && _may(assetId, to, EARN);
    }

    /// @inheritdoc ITransferGate
    function canTransfer(bytes32 assetId, address from, address to, uint256) external view returns (bool) {
        return (from == address(0) || canSend(assetId, from)) && canReceive(assetId, to);
    }

    /// @inheritdoc IComplianceGate
    function modeOf(bytes32 assetId) external view returns (Mode) {
        return _rules[assetId].mode;
    }

    /// @inheritdoc IComplianceGate
    function authorityOf(bytes32 assetId) public view returns (address) {
        address timelock = _rules[assetId].timelock;
        return timelock == address(0) ? _registry.assetOwner(assetId) : timelock;
    }

    /// @inheritdoc IComplianceGate
    function officerOf(bytes32 assetId) external view returns (address) {
        return _rules[assetId].officer;
    }

    /// @inheritdoc IComplianceGate
    function isIssuer(bytes32 assetId, address issuer) external view returns (bool) {
        return _rules[assetId].issuers[issuer];
    }

    /// @inheritdoc IComplianceGate
    function classesOf(bytes32 assetId) external view returns (uint256) {
        return _rules[assetId].classes;
    }

    /// @inheritdoc IComplianceGate
    function isJurisdictionAllowed(bytes32 assetId, uint16 code) external view returns (bool) {
        return _rules[assetId].jurisdictions.get(code);
    }

    /// @inheritdoc IComplianceGate
    function hasOutsideShares(bytes32 assetId) external view returns (bool) {
        return _rules[assetId].isOutside;
    }

    /// @inheritdoc IComplianceGate
    function accountOf(bytes32 assetId, address account) external view returns (Account memory) {
        return _rules[assetId].accounts[account];
    }

    /// @inheritdoc IComplianceGate
    function nonceOf(bytes32 assetId, address account) external view returns (uint256) {
        return _rules[assetId].nonces[account];
    }

    /// @inheritdoc IComplianceGate
    function hashCredential(Credential calldata credential) public view returns (bytes32) {
        return _hashTypedDataV4(credential.structHash());
    }

    function _enrol(Credential memory c, address issuer) private {
        Rules storage rules = _rules[c.assetId];
        if (!rules.issuers[issuer]) revert ComplianceGate_NotIssuer(c.assetId, issuer);
        uint256 nonce = rules.nonces[c.subject]++;
        if (c.nonce != nonce) revert ComplianceGate_InvalidNonce(c.subject, c.nonce, nonce);
        if (c.class == 0) revert ComplianceGate_InvalidClass(c.class);
        _requireJurisdiction(c.jurisdiction);
        if (c.expiresAt <= block.timestamp || c.expiresAt > block.timestamp + longestTerm) {
            revert ComplianceGate_InvalidExpiry(c.expiresAt);
        }
        if (c.subject.isContract()) revert ComplianceGate_IsContract(c.subject);
        Account storage entry = rules.accounts[c.subject];
        // casting to 'uint40' is safe because it ends within `longestTerm`
        // forge-lint: disable-next-line(unsafe-typecast)
        (entry.issuer, entry.expiresAt) = (issuer, uint40(c.expiresAt));
        (entry.jurisdiction, entry.class) = (c.jurisdiction, c.class);
        emit Enrolled(c.assetId, c.subject, issuer, c.class, c.jurisdiction, c.expiresAt);
    }

    function _may(bytes32 assetId, address account, uint8 purpose) private view returns (bool) {
        Rules storage rules = _rules[assetId];
        if (rules.mode != Mode.Regulated) return rules.mode == Mode.Open;
        Account memory entry = rules.accounts[account];
        if (entry.isFrozen) return false;
        // What a contract was enrolled as before it had code is worth nothing, and so is what was listed without code.
        if (account.isContract()) return entry.purposes & purpose != 0;
        return block.timestamp < entry.expiresAt && rules.issuers[entry.issuer]
            && (rules.classes >> entry.class) & 1 != 0 && rules.jurisdictions.get(entry.jurisdiction);
    }

    function _isOfficer(bytes32 assetId) private view returns (bool) {
        return msg.sender == _rules[assetId].officer || msg.sender == authorityOf(assetId);
    }

    function _requireAuthority(bytes32 assetId) private view {
        if (msg.sender != authorityOf(assetId)) revert ComplianceGate_NotAuthority(assetId, msg.sender);
    }

    function _requireMay(bytes32 assetId, bool loosens) private view {
        if (loosens) _requireAuthority(assetId);
        else if (!_isOfficer(assetId)) revert ComplianceGate_NotOfficer(assetId, msg.sender);
    }

    function _requireAdmitted(address shares) private view returns (bytes32 assetId) {
        assetId = _assets[shares];
        if (assetId == 0) revert ComplianceGate_UnknownShares(shares);
        _requireMay(assetId, false);
    }

    function _requireRegulated(bytes32 assetId) private view {
        if (_rules[assetId].mode != Mode.Regulated) revert ComplianceGate_NotRegulated(assetId);
    }

    function _requireJurisdiction(uint16 code) private pure {
        if (code == 0 || code > MAX_JURISDICTION) revert ComplianceGate_InvalidJurisdiction(code);
    }
}
