// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IComplianceGate} from "./interfaces/IComplianceGate.sol";
import {IIdentityAdapter} from "./interfaces/IIdentityAdapter.sol";

/// @title Credentials from an ERC-3643 identity registry
contract IdentityAdapter is IIdentityAdapter {
    /// @notice How long a word that was taken back can count, when nobody brings that over.
    uint32 public constant MAX_TERM = 30 days;

    IComplianceGate private immutable _gate;

    mapping(bytes32 assetId => Source) private _sources;

    constructor(IComplianceGate gate) {
        _gate = gate;
    }

    /// @inheritdoc IIdentityAdapter
    function setSource(bytes32 assetId, Source calldata source) external {
        if (msg.sender != _gate.authorityOf(assetId)) revert IdentityAdapter_NotAuthority(assetId, msg.sender);
        address registry = address(source.registry);
        bool isWhole = registry.code.length != 0 && source.term != 0 && source.term <= MAX_TERM;
        if (registry != address(0) && !isWhole) revert IdentityAdapter_InvalidSource(registry, source.term);
        _sources[assetId] = source;
        emit SourceSet(assetId, registry, source.class, source.term);
    }

    /// @inheritdoc IIdentityAdapter
    function sync(bytes32 assetId, address account) external returns (bool isVerified) {
        Source memory source = _sources[assetId];
        if (address(source.registry) == address(0)) revert IdentityAdapter_NoSource(assetId);
        IComplianceGate.Account memory known = _gate.accountOf(assetId, account);
        bool isMine = known.issuer == address(this);
        bool holds = block.timestamp < known.expiresAt && _gate.isIssuer(assetId, known.issuer);
        // Else anyone could replace what somebody else knows better.
        if (holds && !isMine) revert IdentityAdapter_AnotherIssued(assetId, account, known.issuer);
        isVerified = source.registry.isVerified(account);
        if (isVerified) {
            uint16 country = source.registry.investorCountry(account);
            bool isSame = isMine && known.class == source.class && known.jurisdiction == country;
            // Else anyone could use up the nonces of what other issuers sign.
            if (isSame && known.expiresAt > block.timestamp + source.term / 2) return true;
            _gate.enrol(assetId, account, source.class, country, uint64(block.timestamp) + source.term);
        } else if (isMine) {
            _gate.revokeCredential(assetId, account);
        }
    }

    /// @inheritdoc IIdentityAdapter
    function sourceOf(bytes32 assetId) external view returns (Source memory) {
        return _sources[assetId];
    }
}
