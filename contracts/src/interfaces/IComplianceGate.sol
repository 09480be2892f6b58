// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ITransferGate} from "./ITransferGate.sol";

/// @title Rules about who may hold the shares of an asset
/// @notice An asset is open, as if there were no gate, or regulated: then nobody without valid credentials receives its
/// shares, their votes or what they earn. The *authority* of an asset decides its rules: its owner before it has
/// shares, the timelock of its shares from then on, so that what holders rely on changes in sight and no sooner than an
/// exit. It appoints an *officer*, who may tighten rules at once, freeze, and move shares to somebody with credentials.
interface IComplianceGate is ITransferGate {
    /// @notice `None`: the gate has no rules for the asset and refuses everything.
    enum Mode {
        None,
        Open,
        Regulated
    }

    /// @notice What an issuer says, and may sign (EIP-712, domain `Licet Credential`, version `1`), about an account.
    /// @param class Kind of holder, 1 to 255, as the asset's issuers agree.
    /// @param jurisdiction ISO 3166-1 numeric code.
    /// @param expiresAt From when on it is worth nothing, Unix seconds.
    /// @param nonce `nonceOf` the subject: each enrolment and revocation uses one up.
    struct Credential {
        bytes32 assetId;
        address subject;
        uint8 class;
        uint16 jurisdiction;
        uint64 expiresAt;
        uint256 nonce;
    }

    /// @notice What is known of an account of an asset.
    /// @param purposes What a listed contract may do, a sum of `HOLD`, `VOTE` and `EARN`.
    struct Account {
        address issuer;
        uint40 expiresAt;
        uint16 jurisdiction;
        uint8 class;
        uint8 purposes;
        bool isFrozen;
    }

    event ModeSet(bytes32 indexed assetId, Mode mode);
    event OfficerSet(bytes32 indexed assetId, address indexed officer);
    event IssuerSet(bytes32 indexed assetId, address indexed issuer, bool allowed);
    event ClassesSet(bytes32 indexed assetId, uint256 classes);
    event JurisdictionsSet(bytes32 indexed assetId, uint16[] codes, bool allowed);
    /// @notice The contract may do this from now on; 0: nothing.
    event ContractListed(bytes32 indexed assetId, address indexed target, uint8 purposes);
    event Enrolled(
        bytes32 indexed assetId,
        address indexed account,
        address indexed issuer,
        uint8 class,
        uint16 jurisdiction,
        uint64 expiresAt
    );
    /// @notice The account has no credential any more, and none that was signed before counts.
    event CredentialRevoked(bytes32 indexed assetId, address indexed account, address indexed by);
    event AccountFrozen(bytes32 indexed assetId, address indexed account, bool isFrozen);
    /// @notice Shares of the asset exist that ask this gate.
    event SharesAdmitted(bytes32 indexed assetId, address indexed shares, address indexed timelock);
    /// @notice Shares of the asset exist that do not ask this gate: it is never regulated.
    event SharedOutside(bytes32 indexed assetId, address indexed gate);

    /// @notice Credentials that are issued from now on end within so many seconds.
    event LongestTermSet(uint64 longestTerm);

    /// @notice The longest term is outside `MIN_LONGEST_TERM` and `MAX_LONGEST_TERM`.
    error ComplianceGate_InvalidLongestTerm(uint64 longestTerm);
    /// @notice Only the asset's authority loosens a rule.
    error ComplianceGate_NotAuthority(bytes32 assetId, address caller);
    /// @notice Only the asset's authority or officer may.
    error ComplianceGate_NotOfficer(bytes32 assetId, address caller);
    /// @notice Only an issuer of the asset enrols, and revokes what it issued.
    error ComplianceGate_NotIssuer(bytes32 assetId, address caller);
    /// @notice The Directory never listed this as a SharesFactory.
    error ComplianceGate_NotFactory(address caller);
    /// @notice An asset's rules are never taken away.
    error ComplianceGate_InvalidMode(bytes32 assetId, Mode mode);
    /// @notice Shares of the asset exist that no gate of this kind is asked about.
    error ComplianceGate_HasOutsideShares(bytes32 assetId);
    /// @notice The asset has shares under this gate, whose timelock governs its rules.
    error ComplianceGate_SharedBefore(bytes32 assetId, address timelock);
    /// @notice The asset is regulated: its shares have to name this gate.
    error ComplianceGate_GateRequired(bytes32 assetId, address gate);
    /// @notice The asset is not regulated.
    error ComplianceGate_NotRegulated(bytes32 assetId);
    /// @notice The gate never admitted these as shares.
    error ComplianceGate_UnknownShares(address shares);
    /// @notice More at once than `MAX_BATCH`.
    error ComplianceGate_TooMany(uint256 count, uint256 most);
    /// @notice ISO 3166-1 numeric codes are 1 to 999.
    error ComplianceGate_InvalidJurisdiction(uint16 code);
    /// @notice A class is 1 to 255.
    error ComplianceGate_InvalidClass(uint8 class);
    /// @notice A credential ends after now, and within `longestTerm`.
    error ComplianceGate_InvalidExpiry(uint64 expiresAt);
    /// @notice A contract is listed with a purpose, not enrolled.
    error ComplianceGate_IsContract(address account);
    /// @notice Purposes are a sum of `HOLD`, `VOTE` and `EARN`.
    error ComplianceGate_InvalidPurposes(uint8 purposes);
    /// @notice The credential is for another nonce of its subject.
    error ComplianceGate_InvalidNonce(address subject, uint256 nonce, uint256 expected);
    /// @notice The issuer did not sign this.
    error ComplianceGate_InvalidSignature(address issuer);

    /// @notice Bounds how long credentials that are issued from now on may last; those that stand keep their end.
    /// Restricted: the protocol's.
    function setLongestTerm(uint64 newTerm) external;

    /// @notice Longest life of a credential that is issued now, in seconds.
    function longestTerm() external view returns (uint64);

    /// @notice Opens or regulates an asset. By its authority; the first time, the gate must be active in the Directory.
    function setMode(bytes32 assetId, Mode mode) external;

    /// @notice Appoints an officer in place of the last; the zero address: nobody. By the authority.
    function setOfficer(bytes32 assetId, address officer) external;

    /// @notice Says whose credentials count. To allow is the authority's, to end the officer's too; what an issuer
    /// issued counts as long as it is allowed.
    function setIssuer(bytes32 assetId, address issuer, bool allowed) external;

    /// @notice Says which classes may hold shares: bit n for class n. More is the authority's, less the officer's too.
    function setClasses(bytes32 assetId, uint256 classes) external;

    /// @notice Says from where shares may be held. To allow is the authority's, to end the officer's too.
    function setJurisdictions(bytes32 assetId, uint16[] calldata codes, bool allowed) external;

    /// @notice Says what a contract may do. More is the authority's, less the officer's too.
    function listContract(bytes32 assetId, address target, uint8 purposes) external;

    /// @notice Gives an account a credential in place of its last. By an issuer.
    function enrol(bytes32 assetId, address account, uint8 class, uint16 jurisdiction, uint64 expiresAt) external;

    /// @notice The same by what an issuer signed, also ERC-1271. Anyone may bring it, once.
    function enrolSigned(Credential calldata credential, address issuer, bytes calldata signature) external;

    /// @notice Takes the credential of an account, and makes worthless what was signed for it and not used. By its
    /// issuer, an issuer of the asset where there is none, or the officer. What the account holds stays its own.
    function revokeCredential(bytes32 assetId, address account) external;

    /// @notice Stops an account, or lets it go on: it neither sends nor receives, and what it has earned waits, also
    /// from those that it would name. By the officer.
    function freezeAccount(bytes32 assetId, address account, bool isFrozen) external;

    /// @notice Freezes this many of an account's shares (ERC-7943), absolute; what they earn is paid all the same. Of
    /// an open asset they can only be released. True, or it reverts. By the officer.
    function freezeShares(address shares, address account, uint256 amount) external returns (bool);

    /// @notice Moves shares of a regulated asset to an account that may receive them; what they have earned stays with
    /// `from`. True, or it reverts. By the officer.
    function forceTransfer(address shares, address from, address to, uint256 amount) external returns (bool);

    /// @notice Takes note of new shares. Reverts where the asset is regulated and they would ask another gate or none;
    /// where they ask this one, their timelock becomes the authority, and may hold shares, vote and earn. By a factory.
    function admit(bytes32 assetId, address gate, address shares, address timelock) external;

    /// @notice How the asset is held.
    function modeOf(bytes32 assetId) external view returns (Mode);

    /// @notice Who decides the rules of the asset.
    function authorityOf(bytes32 assetId) external view returns (address);

    /// @notice Officer of the asset, the zero address when there is none.
    function officerOf(bytes32 assetId) external view returns (address);

    /// @notice Whether the issuer's credentials count for the asset.
    function isIssuer(bytes32 assetId, address issuer) external view returns (bool);

    /// @notice Classes that may hold shares: bit n for class n.
    function classesOf(bytes32 assetId) external view returns (uint256);

    /// @notice Whether shares may be held from there.
    function isJurisdictionAllowed(bytes32 assetId, uint16 code) external view returns (bool);

    /// @notice Whether shares of the asset exist that do not ask this gate.
    function hasOutsideShares(bytes32 assetId) external view returns (bool);

    /// @notice What is known of an account; what it may do with it say `canReceive` and the others.
    function accountOf(bytes32 assetId, address account) external view returns (Account memory);

    /// @notice Nonce of the next credential that is signed for the account.
    function nonceOf(bytes32 assetId, address account) external view returns (uint256);

    /// @notice EIP-712 hash that an issuer signs.
    function hashCredential(Credential calldata credential) external view returns (bytes32);
}
