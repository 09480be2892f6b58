"""Which contracts are watched, and what each of their events means here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from licet_kit.errors import PermanentError

from licet_indexer.domain import abroad, settled
from licet_indexer.domain import payloads as p
from licet_indexer.domain.chain import ZERO_ADDRESS, Chain, Log, asset_id, wire_time
from licet_indexer.domain.credits import credits_expired, credits_issued, credits_redeemed, series_opened
from licet_indexer.domain.layout import Layout, MalformedLog, layout_of

# Whose earlier generations are watched too. Ids of the other contracts would meet those of their own next generation.
SUCCEEDED = ("License", "LicenseSale")
WATCHED = (
    "AssetRegistry",
    "PlanBook",
    "License",
    "LicenseSale",
    "UsageEscrow",
    "RevenueRouter",
    "MirrorBook",
    "Credits",
)

Args = Mapping[str, Any]
Meaning = Callable[[Args, Chain], "p.Payload | None"]


# Hex digits of the largest data that is read. No honest event comes near it, and beyond it no broker takes the message.
MAX_DATA_CHARS = 256 * 1024


class UnknownEvent(PermanentError):
    """A watched contract emitted something that its ABI does not have."""

    code = "unknown_event"


@dataclass(frozen=True, slots=True)
class Reading:
    """A decoded log. `payload` is None for events that change nothing the mirror keeps (an approval, for one)."""

    name: str
    payload: p.Payload | None


def _asset_registered(a: Args, _chain: Chain) -> p.Payload:
    return p.AssetRegistered(a["assetId"], a["tokenId"], a["owner"], a["kind"], a["slug"])


def _asset_transferred(a: Args, chain: Chain) -> p.Payload | None:
    # A mint is told by AssetRegistered in the same transaction; two events of one fact would be acted on twice.
    if a["from"] == ZERO_ADDRESS:
        return None
    asset = asset_id(chain.chain_id, chain.contracts["AssetRegistry"], a["tokenId"])
    return p.AssetTransferred(asset, a["tokenId"], a["from"], a["to"])


def _version_published(a: Args, _chain: Chain) -> p.Payload:
    return p.VersionPublished(a["assetId"], a["digest"], a["uri"], a["ordinal"])


def _version_activated(a: Args, _chain: Chain) -> p.Payload:
    return p.VersionActivated(a["assetId"], a["digest"])


def _plan_created(a: Args, _chain: Chain) -> p.Payload:
    t = a["terms"]
    terms = p.PlanTerms(
        asset_id=t["assetId"],
        currency=t["currency"],
        price=t["price"],
        period_s=t["period"],
        included_units=t["includedUnits"],
        unit_price=t["unitPrice"],
        metering_rule=t["meteringRule"],
        requests_per_s=t["requestsPerSecond"],
        transferable=t["transferable"],
        commercial=t["commercial"],
        optimistic_units=t["optimisticUnits"],
        optimistic_amount=t["optimisticAmount"],
        server=t["server"],
        terms_digest=t["termsDigest"],
        breach_notice_s=t["breachNotice"],
        breach_grounds=t["breachGrounds"],
        supply=t["supply"],
        per_recipient=t["perRecipient"],
        trial_period_s=t["trialPeriod"],
        trial_units=t["trialUnits"],
        seats=t["seats"],
    )
    return p.PlanCreated(a["planId"], a["creator"], terms)


def _plan_closed(a: Args, _chain: Chain) -> p.Payload:
    return p.PlanClosed(a["planId"], a["assetId"])


def _license_transferred(a: Args, _chain: Chain) -> p.Payload | None:
    # As with assets: LicensePurchased tells the mint. Plan and asset are filled in from the mirror by the fold.
    if a["from"] == ZERO_ADDRESS:
        return None
    return p.LicenseTransferred(a["tokenId"], 0, "", a["from"], a["to"])


def _update_user(a: Args, _chain: Chain) -> p.Payload:
    return p.UpdateUser(a["tokenId"], 0, "", a["user"], wire_time(a["expires"]))


def _license_revoked(a: Args, _chain: Chain) -> p.Payload:
    return p.LicenseRevoked(a["tokenId"], a["planId"], "", wire_time(a["endTime"]))


def _license_migrated(a: Args, _chain: Chain) -> p.Payload:
    return p.LicenseMigrated(
        token_id=a["tokenId"],
        plan_id=a["planId"],
        asset_id="",
        from_=a["from"],
        holder=a["holder"],
        start_time=wire_time(a["startTime"]),
        end_time=wire_time(a["endTime"]),
        ordinal=a["ordinal"],
        trial=a["trial"],
    )


def _license_purchased(a: Args, _chain: Chain) -> p.Payload:
    return p.LicensePurchased(
        a["tokenId"],
        a["planId"],
        a["assetId"],
        a["payer"],
        a["recipient"],
        a["price"],
        wire_time(a["startTime"]),
        wire_time(a["endTime"]),
        a["trial"],
    )


def _license_renewed(a: Args, _chain: Chain) -> p.Payload:
    return p.LicenseRenewed(
        a["tokenId"], a["planId"], a["assetId"], a["payer"], a["price"], wire_time(a["endTime"]), a["ordinal"]
    )


def _operator_key_set(a: Args, _chain: Chain) -> p.Payload:
    return p.OperatorKeySet(
        a["operator"], a["receiptKey"], wire_time(a["validFrom"]), wire_time(a["validUntil"])
    )


def _require_drawn(a: Args) -> None:
    # What settlements drew is the difference; below 0 no ledger could take it.
    if a["spendable"] > a["total"]:
        raise MalformedLog(f"deposit {a['depositId']} has more to spend than it ever had")


def _deposited(a: Args, _chain: Chain) -> p.Payload:
    _require_drawn(a)
    return p.Deposited(
        a["depositId"], a["payer"], a["operator"], a["token"], a["amount"], a["spendable"], a["total"]
    )


def _exit_requested(a: Args, _chain: Chain) -> p.Payload:
    _require_drawn(a)
    return p.ExitRequested(
        exit_id=a["exitId"],
        deposit_id=a["depositId"],
        payer=a["payer"],
        operator=a["operator"],
        token=a["token"],
        amount=a["amount"],
        unlock_time=wire_time(a["unlockTime"]),
        balance=a["spendable"],
        total=a["total"],
    )


def _exit_drawn(a: Args, _chain: Chain) -> p.Payload:
    return p.ExitDrawn(
        exit_id=a["exitId"],
        deposit_id=a["depositId"],
        payer=a["payer"],
        operator=a["operator"],
        token=a["token"],
        amount=a["amount"],
        remaining=a["remaining"],
        total=a["total"],
    )


def _withdrawn(a: Args, _chain: Chain) -> p.Payload:
    return p.Withdrawn(a["exitId"], a["depositId"], a["payer"], a["operator"], a["token"], a["amount"])


def _mandate_opened(a: Args, _chain: Chain) -> p.Payload:
    t = a["terms"]
    return p.MandateOpened(
        mandate_id=a["mandateId"],
        deposit_id=a["depositId"],
        payer=a["payer"],
        operator=a["operator"],
        token=t["token"],
        window_amount=t["windowAmount"],
        total_amount=t["totalAmount"],
        in_flight_cap=t["inFlightCap"],
        window_s=t["windowLength"],
        window_records=t["windowRecords"],
        grace_s=t["grace"],
        valid_from=wire_time(t["validFrom"]),
        valid_until=wire_time(t["validUntil"]),
        asset_ids=t["assets"],
        nonce=t["nonce"],
    )


def _mandate_revoked(a: Args, _chain: Chain) -> p.Payload:
    return p.MandateRevoked(
        mandate_id=a["mandateId"],
        payer=a["payer"],
        operator=a["operator"],
        token=a["token"],
        revoked_at=wire_time(a["revokedAt"]),
        settle_until=wire_time(a["settleUntil"]),
        remaining=a["remaining"],
    )


# IRevenueRouter.Source, and the contract that each source is.
_SOURCES = (
    ("sale", "LicenseSale"),
    ("usage", "UsageEscrow"),
    ("royalty", "RevenueRouter"),
    ("expiry", "Credits"),
)


def _revenue_received(a: Args, chain: Chain) -> p.Payload:
    if a["source"] >= len(_SOURCES):
        raise MalformedLog(f"RevenueReceived has no source {a['source']}")
    source, contract = _SOURCES[a["source"]]
    return p.RevenueReceived(
        asset_id=a["assetId"],
        token=a["token"],
        amount=a["amount"],
        payer_contract=chain.contracts[contract],
        reference=a["ref"],
        payee=a["payee"],
        source=source,
    )


def _distributed(a: Args, _chain: Chain) -> p.Payload:
    return p.Distributed(a["assetId"], a["token"], a["amount"], a["fee"], a["payee"], a["payeeAmount"])


def _claimed(a: Args, _chain: Chain) -> p.Payload:
    return p.Claimed(a["account"], a["token"], a["amount"])


def _mirror_bound(a: Args, _chain: Chain) -> p.Payload:
    return abroad.MirrorBound(
        asset_id=a["assetId"],
        owner=a["owner"],
        home_owner=a["homeOwner"],
        epoch=a["epoch"],
        valid_until=wire_time(a["validUntil"]),
        home_chain_id=a["homeChainId"],
        home_registry=a["homeRegistry"],
        slug=a["slug"],
    )


def _owner_reported(a: Args, _chain: Chain) -> p.Payload:
    return abroad.OwnerReported(a["assetId"], a["owner"], a["epoch"], a["lineage"])


# The other events stand in `ignored`.
MEANINGS: dict[tuple[str, str], Meaning] = {
    ("AssetRegistry", "AssetRegistered"): _asset_registered,
    ("AssetRegistry", "Transfer"): _asset_transferred,
    ("AssetRegistry", "VersionPublished"): _version_published,
    ("AssetRegistry", "VersionActivated"): _version_activated,
    ("PlanBook", "PlanCreated"): _plan_created,
    ("PlanBook", "PlanClosed"): _plan_closed,
    ("License", "Transfer"): _license_transferred,
    ("License", "UpdateUser"): _update_user,
    ("License", "LicenseRevoked"): _license_revoked,
    ("License", "LicenseMigrated"): _license_migrated,
    ("LicenseSale", "LicensePurchased"): _license_purchased,
    ("LicenseSale", "LicenseRenewed"): _license_renewed,
    ("UsageEscrow", "OperatorKeySet"): _operator_key_set,
    ("UsageEscrow", "Deposited"): _deposited,
    ("UsageEscrow", "ExitRequested"): _exit_requested,
    ("UsageEscrow", "ExitDrawn"): _exit_drawn,
    ("UsageEscrow", "Withdrawn"): _withdrawn,
    ("UsageEscrow", "GroupSettled"): settled.group_settled,
    ("UsageEscrow", "BatchSettled"): settled.batch_settled,
    ("UsageEscrow", "HoldReleased"): settled.hold_released,
    ("UsageEscrow", "ChargeChallenged"): settled.charge_challenged,
    ("UsageEscrow", "DrawRefunded"): settled.draw_refunded,
    ("UsageEscrow", "DirectDrawsSet"): settled.direct_draws_set,
    ("UsageEscrow", "MandateOpened"): _mandate_opened,
    ("UsageEscrow", "MandateRevoked"): _mandate_revoked,
    ("RevenueRouter", "RevenueReceived"): _revenue_received,
    ("RevenueRouter", "Distributed"): _distributed,
    ("RevenueRouter", "Claimed"): _claimed,
    ("MirrorBook", "MirrorBound"): _mirror_bound,
    ("MirrorBook", "OwnerReported"): _owner_reported,
    ("Credits", "SeriesOpened"): series_opened,
    ("Credits", "CreditsIssued"): credits_issued,
    ("Credits", "CreditsRedeemed"): credits_redeemed,
    ("Credits", "CreditsExpired"): credits_expired,
}


class Catalogue:
    """Decodes the logs of one chain's watched contracts."""

    def __init__(self, chain: Chain, abis: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        self._chain = chain
        self.addresses = tuple(address for name in WATCHED for address in chain.generations(name))
        self._layouts: dict[tuple[str, str], tuple[Layout, Meaning | None]] = {}
        for name in WATCHED:
            for entry in abis[name]:
                if entry["type"] == "event":
                    layout = layout_of(entry)
                    meaning = MEANINGS.get((name, layout.name))
                    for address in chain.generations(name):
                        self._layouts[address, layout.topic0] = layout, meaning

    def read(self, log: Log) -> Reading:
        """Decodes a log. Raises UnknownEvent for what the ABI lacks, MalformedLog for what does not follow it."""
        known = self._layouts.get((log.contract, log.topics[0] if log.topics else ""))
        if known is None:
            raise UnknownEvent("no event of this contract has this first topic")
        layout, meaning = known
        if len(log.data) > MAX_DATA_CHARS:
            raise MalformedLog(f"{layout.name} has {len(log.data) // 2 - 1} bytes of data")
        values = layout.decode(log.topics, log.data)
        # PostgreSQL's TEXT and JSONB cannot hold U+0000. Whoever puts it on chain has made the event unusable, no more.
        if "00" in log.data and _has_nul(values):
            raise MalformedLog(f"{layout.name} has a string with a zero byte")
        return Reading(layout.name, meaning(values, self._chain) if meaning else None)


def _has_nul(values: Mapping[str, Any]) -> bool:
    return any(
        "\0" in value if isinstance(value, str) else isinstance(value, Mapping) and _has_nul(value)
        for value in values.values()
    )
