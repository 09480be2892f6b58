"""What the contracts say and the mirror has no use for: each event of an ABI has a meaning or stands here.

Ignored events of watched contracts are stored as logs and not told; of the other contracts nothing is read.
"""

from __future__ import annotations

# Of the watched contracts.
IGNORED: dict[str, frozenset[str]] = {
    "AssetRegistry": frozenset(
        {
            *("Approval", "ApprovalForAll", "BatchMetadataUpdate", "MetadataUpdate"),
            *("ContributorNamed", "DelegateSet", "ParentDeclared", "RoyaltySet", "SplitChanged"),
        }
    ),
    # `UpdateUser` says of a delegation what all of its events say together, and a bound licence cannot move.
    "License": frozenset(
        {
            *("Approval", "ApprovalForAll", "RoleApprovalForAll", "RoleGranted", "RoleRevoked"),
            *("Locked", "Unlocked", "TokenLocked", "TokenUnlocked", "TokenExpiryUpdated"),
        }
    ),
    # What dust and named payees come to stands in `Distributed` and `RevenueReceived`.
    "RevenueRouter": frozenset({"AuthorityUpdated", "DustKept", "FeeScheduled", "PayeeNamed"}),
    "UsageEscrow": frozenset(
        {
            *("AuthorityUpdated", "BatchRepeated", "ExitDelaySet", "MandateNonceCancelled"),
            *("OperatorRegistered", "SettlerCapSet"),
            # What an answered challenge and a presented voucher come to stands in the release and in the line.
            *("ChallengeAnswered", "VoucherPresented", "DisputeTimeSet"),
        }
    ),
    # A mirror that ends says so itself.
    "MirrorBook": frozenset({"AuthorityUpdated", "StatementsCancelled"}),
    # Who holds units is read from the chain; they are worth something here once they are in the escrow.
    "Credits": frozenset({"ApprovalForAll", "TransferBatch", "TransferSingle", "URI"}),
}

# Contracts whose money and rights reach the mirror through the watched ones.
UNWATCHED = frozenset(
    {
        *("AccessManager", "AssetGovernor", "AssetTimelock", "BreachBook", "Directory", "Market"),
        *("NetworkToken", "ProtocolGovernor"),
        *("Shares", "SharesFactory", "TestUSD", "TimelockController"),
        *("ComplianceGate", "CreditToken", "IdentityAdapter"),
    }
)
