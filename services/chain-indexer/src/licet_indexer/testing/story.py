"""Random but replayable things for a chain to say, from few enough names that they meet often."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from licet_indexer.domain.catalogue import WATCHED
from licet_indexer.testing.emitter import event_entry, raw_entry

Said = tuple[str, bytes]
LICENSES = 6


def _address(group: int, index: int) -> str:
    return f"0x{group:02x}{index:038x}"


def _hash(group: int, index: int) -> bytes:
    return bytes([group]) + index.to_bytes(31)


@dataclass(slots=True)
class Story:
    """Makes events of the watched contracts, and now and then a log that no contract of ours emits."""

    random: random.Random
    # Whether logs come that no contract of ours emits.
    strangers: bool = True

    def next(self) -> Said:
        """One log: the contract that says it, and the emitter's calldata."""
        teller = self.random.choice(_TELLERS if self.strangers else _TELLERS[:-1])
        if teller is None:
            return self.random.choice(WATCHED), raw_entry(["0x" + "ab" * 32, "0x01"], b"what is this")
        contract, name, make = teller
        return contract, event_entry(contract, name, make(self.random))

    def sales(self) -> list[Said]:
        """A purchase of every license that events speak of: a transfer of one that was never sold is no event."""
        return [
            (
                "LicenseSale",
                event_entry("LicenseSale", "LicensePurchased", _license(self.random) | {"tokenId": n}),
            )
            for n in range(LICENSES)
        ]


def _amount(r: random.Random) -> int:
    return r.choice([r.randrange(1000), r.randrange(2**100)])


def _deposit(r: random.Random) -> dict[str, Any]:
    payer, operator = r.randrange(3), r.randrange(2)
    spendable = _amount(r)
    return {
        "depositId": _hash(0xDE, payer * 2 + operator),
        "payer": _address(0xA0, payer),
        "operator": _address(0xB0, operator),
        "token": _address(0xC0, 0),
        "amount": _amount(r),
        "spendable": spendable,
        "total": spendable + _amount(r),
        "exitId": r.randrange(4),
        "unlockTime": r.randrange(2**40),
        "remaining": _amount(r),
    }


def _terms(r: random.Random) -> tuple[Any, ...]:
    rule = r.choice(["request", "rows:FEATURES"])
    limits = (r.randrange(100), r.random() < 0.5, r.random() < 0.5, r.randrange(100), _amount(r))
    sold = (_address(0xC0, 0), r.randrange(2**64), r.randrange(2**32))
    price = (_amount(r), r.randrange(1, 10**6), r.randrange(2**64), _amount(r))
    trial = (r.randrange(2**40), r.randrange(2**64))
    last = (_address(0xB0, 0), r.choice([0, 7 * 86_400]), r.randrange(9), _hash(0xDD, 0), _hash(0xDE, 0))
    return (_hash(0xAA, r.randrange(4)), *sold, *price, *trial, rule, *limits, *last)


def _license(r: random.Random) -> dict[str, Any]:
    return {
        "tokenId": r.randrange(LICENSES),
        "planId": r.randrange(4),
        "assetId": _hash(0xAA, r.randrange(4)),
        "payer": _address(0xA0, r.randrange(3)),
        "recipient": _address(0xA0, r.randrange(3)),
        "price": _amount(r),
        "startTime": r.randrange(2**40),
        "endTime": r.choice([r.randrange(2**40), 2**64 - 1]),
        "ordinal": r.randrange(1, 9),
        "trial": r.random() < 0.5,
        "from": _address(0xCF, 0),
        "holder": _address(0xA0, r.randrange(3)),
    }


def _asset(r: random.Random) -> dict[str, Any]:
    index = r.randrange(4)
    return {
        "assetId": _hash(0xAA, index),
        "tokenId": index,
        "owner": _address(0xA0, r.randrange(3)),
        "kind": r.randrange(1, 5),
        "slug": f"owner/model-{index}",
        "digest": _hash(0xD1, r.randrange(3)),
        "uri": r.choice(["ipfs://a", "", "ünïcode/✓" * 9]),
        "ordinal": r.randrange(1, 9),
    }


def _transfer(r: random.Random) -> dict[str, Any]:
    giver = r.choice([_address(0xA0, 0), _address(0, 0)])
    return {"from": giver, "to": _address(0xA0, r.randrange(3)), "tokenId": r.randrange(LICENSES)}


def _user(r: random.Random) -> dict[str, Any]:
    user, expires = r.choice([(_address(0xA0, r.randrange(3)), r.randrange(2**40)), (_address(0, 0), 0)])
    return {"tokenId": r.randrange(LICENSES), "user": user, "expires": expires}


def _line(r: random.Random) -> tuple[Any, ...]:
    authority = r.choice([bytes(32), _hash(0x4D, r.randrange(4))])
    amounts = (_amount(r), _amount(r))
    return (_hash(0xDE, r.randrange(6)), authority, *amounts, r.randrange(2**32), r.randrange(2**32))


def _settlement(r: random.Random) -> dict[str, Any]:
    return {
        "operator": _address(0xB0, r.randrange(2)),
        "batch": r.randrange(1, 4),
        "index": r.randrange(3),
        "assetId": _hash(0xAA, r.randrange(4)),
        "token": _address(0xC0, 0),
        "due": _amount(r),
        "paid": _amount(r),
        "first": r.randrange(3),
        "lines": [_line(r) for _ in range(r.randrange(1, 4))],
        "releaseAt": r.choice([r.randrange(2**40), 2**64 - 1]),
        "lineId": _hash(0x11, r.randrange(9)),
        "payer": _address(0xA0, r.randrange(3)),
        "position": r.randrange(9),
        "amount": _amount(r),
        "deadline": r.randrange(2**40),
        "depositId": _hash(0xDE, r.randrange(6)),
        "until": r.choice([0, r.randrange(2**40), 2**64 - 1]),
        "root": _hash(0xEF, r.randrange(9)),
        "dataUri": "file://batch",
        "items": 3,
    }


def _mandate(r: random.Random) -> dict[str, Any]:
    payer, operator, token = _address(0xA0, r.randrange(3)), _address(0xB0, r.randrange(2)), _address(0xC0, 0)
    amounts = tuple(_amount(r) for _ in range(3))
    times = (r.randrange(2**32), r.randrange(2**32), r.randrange(9), r.randrange(2**40), 2**64 - 1)
    assets = [_hash(0xAA, n) for n in range(r.randrange(4))]
    return {
        "mandateId": _hash(0x4D, r.randrange(4)),
        "depositId": _hash(0xDE, r.randrange(6)),
        "payer": payer,
        "operator": operator,
        "token": token,
        "terms": (payer, operator, token, *amounts, *times, assets, r.randrange(2**256)),
        "revokedAt": r.randrange(2**40),
        "settleUntil": 2**64 - 1,
        "remaining": amounts[2],
    }


def _money(r: random.Random) -> dict[str, Any]:
    return {
        "assetId": _hash(0xAA, r.randrange(4)),
        "token": _address(0xC0, 0),
        "payee": _address(0xA0, r.randrange(3)),
        "amount": _amount(r),
        "source": r.randrange(4),
        "ref": _hash(0xAA, r.randrange(4)),
        "fee": _amount(r),
        "payeeAmount": _amount(r),
        "account": _address(0xA0, r.randrange(3)),
    }


def _plan(r: random.Random) -> dict[str, Any]:
    terms = _terms(r)
    return {"planId": r.randrange(4), "assetId": terms[0], "creator": _address(0xA0, 0), "terms": terms}


def _key(r: random.Random) -> dict[str, Any]:
    until = r.choice([r.randrange(2**40), 2**64 - 1])
    key, operator = _address(0xF0, r.randrange(2)), _address(0xB0, r.randrange(2))
    return {"operator": operator, "receiptKey": key, "validFrom": r.randrange(2**40), "validUntil": until}


def _abroad(r: random.Random) -> dict[str, Any]:
    index = r.randrange(4)
    return {
        "assetId": _hash(0xAA, index),
        "owner": _address(0xA0, r.randrange(3)),
        "homeOwner": _address(0xA0, r.randrange(3)),
        "epoch": r.choice([r.randrange(1, 4), 2**64 - 1]),
        "validUntil": r.choice([0, r.randrange(2**40), 2**64 - 1]),
        "homeChainId": r.choice([1, 2**256 - 1]),
        "homeRegistry": _address(0xAB, 0),
        "slug": f"owner/model-{index}",
        "lineage": _hash(0x11, r.randrange(2)),
    }


def _credits(r: random.Random) -> dict[str, Any]:
    asset, plan = _hash(0xAA, r.randrange(4)), r.randrange(4)
    price, supply = _amount(r), r.choice([r.randrange(9), 2**64 - 1])
    end = r.choice([r.randrange(2**40), 2**64 - 1])
    return {
        "token": _address(0xCE, r.randrange(3)),
        "planId": plan,
        "assetId": asset,
        "series": (plan, asset, _address(0xC0, 0), price, supply, end, r.random() < 0.5),
        "recipient": _address(0xA0, r.randrange(3)),
        "payer": _address(0xA0, r.randrange(3)),
        "holder": _address(0xA0, r.randrange(3)),
        "units": _amount(r),
        "price": _amount(r),
        "amount": _amount(r),
    }


_TELLERS: tuple[tuple[str, str, Callable[[random.Random], dict[str, Any]]] | None, ...] = (
    ("AssetRegistry", "AssetRegistered", _asset),
    ("AssetRegistry", "Transfer", _transfer),
    ("AssetRegistry", "VersionPublished", _asset),
    ("AssetRegistry", "VersionActivated", _asset),
    ("PlanBook", "PlanCreated", _plan),
    ("PlanBook", "PlanClosed", _plan),
    ("License", "Transfer", _transfer),
    ("License", "UpdateUser", _user),
    ("License", "LicenseRevoked", _license),
    ("License", "LicenseMigrated", _license),
    ("LicenseSale", "LicensePurchased", _license),
    ("LicenseSale", "LicensePurchased", _license),
    ("LicenseSale", "LicenseRenewed", _license),
    ("UsageEscrow", "Deposited", _deposit),
    ("UsageEscrow", "ExitRequested", _deposit),
    ("UsageEscrow", "ExitDrawn", _deposit),
    ("UsageEscrow", "Withdrawn", _deposit),
    ("UsageEscrow", "GroupSettled", _settlement),
    ("UsageEscrow", "GroupSettled", _settlement),
    ("UsageEscrow", "HoldReleased", _settlement),
    ("UsageEscrow", "DrawRefunded", _settlement),
    ("UsageEscrow", "ChargeChallenged", _settlement),
    ("UsageEscrow", "DirectDrawsSet", _settlement),
    ("UsageEscrow", "BatchSettled", _settlement),
    ("UsageEscrow", "MandateOpened", _mandate),
    ("UsageEscrow", "MandateRevoked", _mandate),
    ("UsageEscrow", "OperatorKeySet", _key),
    ("RevenueRouter", "RevenueReceived", _money),
    ("RevenueRouter", "Distributed", _money),
    ("RevenueRouter", "Claimed", _money),
    ("MirrorBook", "MirrorBound", _abroad),
    ("MirrorBook", "OwnerReported", _abroad),
    ("Credits", "SeriesOpened", _credits),
    ("Credits", "CreditsIssued", _credits),
    ("Credits", "CreditsRedeemed", _credits),
    ("Credits", "CreditsExpired", _credits),
    # Last: a stranger.
    None,
)
