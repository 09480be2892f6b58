"""Events as the other services send them: signed usage records, grants, chain events."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp
from licet_schemas import eip712, merkle
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.licet.licensing.v1 import licensing_pb2
from licet_schemas.licet.usage.v1 import usage_pb2

from licet_billing.events import receipt, usage_record

CHAIN = 31337
ESCROW, ROUTER, PLAN_BOOK = "0x" + "e5" * 20, "0x" + "70" * 20, "0x" + "b0" * 20
TOKEN, PAYER, OWNER = "0x" + "11" * 20, "0x" + "fa" * 20, "0x" + "55" * 20
ASSET, DIGEST = "0x" + "aa" * 32, "0x" + "d1" * 32
RECEIPT_KEY, REPLICA_KEY, OPERATOR_KEY = (bytes([n]) * 32 for n in (7, 8, 9))
OPERATOR = eip712.address_of(OPERATOR_KEY)
DEPOSIT = "0x" + eip712.keccak(b"deposit").hex()
# Token id of a license.
LICENSE_NUMBER = "5"
NOW_S = 1_790_000_000
FOREVER = (0, 2**40)


@dataclass
class Gateway:
    """A gateway replica: makes usage records of one lease after another and signs their segments."""

    chain_id: int = CHAIN
    escrow: str = ESCROW
    plan_book: str = PLAN_BOOK
    operator: str = OPERATOR
    asset_id: str = ASSET
    account_id: str = "account-1"
    plan_id: str = "1"
    deposit_id: str = DEPOSIT
    replica_key: bytes = REPLICA_KEY
    receipt_key: bytes = RECEIPT_KEY
    validity: tuple[int, int] = FOREVER
    now_s: int = NOW_S
    payer: str = PAYER
    token: str = TOKEN
    _leases: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def deposit_grant(self) -> str:
        return f"{self.chain_id}:{self.escrow}:{self.deposit_id}:0"

    @property
    def license_grant(self) -> str:
        return f"{self.chain_id}:0x{'1c' * 20}:{LICENSE_NUMBER}:0"

    @property
    def price_book_version(self) -> str:
        return f"{self.chain_id}:{self.plan_book}:{self.plan_id}"

    def lease(self) -> str:
        return f"{next(self._leases):032x}"

    def record(
        self,
        lease: str,
        sequence: int,
        units: int = 1,
        *,
        grant_id: str = "",
        outcome: usage_pb2.Outcome.ValueType = usage_pb2.OUTCOME_OK,
        last: bool = False,
    ) -> usage_pb2.UsageRecorded:
        """One call, not signed yet."""
        return usage_pb2.UsageRecorded(
            request_id=f"{lease}-{sequence}",
            worker_id="gateway-1",
            lease_id=lease,
            sequence=sequence,
            last=last,
            account_id=self.account_id,
            account_lease=int(lease, 16),
            grant_id=grant_id or self.deposit_grant,
            asset_id=self.asset_id,
            version_digest=DIGEST,
            plan_id=self.plan_id,
            metering_rule="request",
            units=units,
            price_book_version=self.price_book_version,
            outcome=outcome,
            started_at=Timestamp(seconds=self.now_s, nanos=123_000_000),
            ended_at=Timestamp(seconds=self.now_s, nanos=456_000_000),
            request_commitment=bytes(32),
            response_commitment=bytes([1]) * 32,
        )

    def marker(self, lease: str, sequence: int) -> usage_pb2.UsageRecorded:
        """The record that only closes a lease."""
        made = self.record(lease, sequence, 0, outcome=usage_pb2.OUTCOME_ABORTED, last=True)
        made.response_commitment = bytes(32)
        return made

    def sign(self, records: Sequence[usage_pb2.UsageRecorded]) -> list[usage_pb2.UsageRecorded]:
        """Puts the records into one signed segment."""
        domain = eip712.domain_separator(self.chain_id, self.escrow)
        leaves = [merkle.leaf(eip712.receipt_digest(domain, receipt(usage_record(r)))) for r in records]
        tree = merkle.tree(leaves)
        root = eip712.segment_digest(domain, eip712.Segment(tree.root, len(records)))
        certificate = eip712.ReplicaCertificate(
            self.operator, eip712.address_of(self.replica_key), *self.validity
        )
        certified = eip712.sign(eip712.certificate_digest(domain, certificate), self.receipt_key)
        for i, record in enumerate(records):
            record.segment.CopyFrom(
                usage_pb2.Segment(
                    root=tree.root,
                    receipts=len(records),
                    path=tree.proof(i),
                    signature=eip712.sign(root, self.replica_key),
                    certificate=usage_pb2.ReplicaCertificate(
                        operator=certificate.operator,
                        replica=certificate.replica,
                        valid_from=certificate.valid_from,
                        valid_until=certificate.valid_until,
                        signature=certified,
                    ),
                )
            )
        return list(records)

    def calls(self, *units: int, grant_id: str = "", lease: str = "") -> list[usage_pb2.UsageRecorded]:
        """Signed calls of one lease."""
        lease = lease or self.lease()
        return self.sign([self.record(lease, i, n, grant_id=grant_id) for i, n in enumerate(units, start=1)])

    def deposit_changed(self, granted: int, version: int = 1) -> licensing_pb2.GrantChanged:
        return licensing_pb2.GrantChanged(
            event_id=f"{self.deposit_grant}:{version}",
            grant_id=self.deposit_grant,
            version=version,
            source=licensing_pb2.GRANT_SOURCE_DEPOSIT,
            state="live",
            account_id=self.account_id,
            wallet=self.payer,
            chain_id=self.chain_id,
            contract=self.escrow,
            token_id=self.deposit_id,
            granted=str(granted),
            currency=self.token,
            operator=self.operator,
        )

    def license_changed(self, granted: int, version: int = 1) -> licensing_pb2.GrantChanged:
        return licensing_pb2.GrantChanged(
            event_id=f"{self.license_grant}:{version}",
            grant_id=self.license_grant,
            version=version,
            source=licensing_pb2.GRANT_SOURCE_LICENSE,
            state="live",
            account_id=self.account_id,
            wallet=self.payer,
            chain_id=self.chain_id,
            contract="0x" + "1c" * 20,
            token_id=LICENSE_NUMBER,
            plan_id=self.plan_id,
            asset_id=self.asset_id,
            granted=str(granted),
            currency=self.token,
            operator=self.operator,
        )


def fence(lease: str, grant_id: str) -> usage_pb2.LeaseFenced:
    return usage_pb2.LeaseFenced(
        event_id=f"fence-{lease}", lease_id=lease, grant_id=grant_id, fenced_at=Timestamp(seconds=NOW_S)
    )


@dataclass
class ChainLog:
    """Makes chain events in blocks of their own; a retraction repeats its observation with another kind."""

    chain_id: int = CHAIN
    _blocks: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def event(self, contract: str, *, block: int = 0, **payload: object) -> chain_pb2.ChainEvent:
        """One observed event; `payload` is one field of the oneof."""
        number = block or next(self._blocks)
        made = chain_pb2.ChainEvent(
            chain_id=self.chain_id,
            block_number=number,
            block_hash=f"0x{number:064x}",
            block_time=NOW_S + number,
            tx_hash=f"0x{number + 2**128:064x}",
            log_index=0,
            contract=contract,
            kind=chain_pb2.EVENT_KIND_OBSERVED,
            incarnation=1,
            **payload,  # type: ignore[arg-type]
        )
        made.event_id = event_id(made)
        return made

    def plan(self, unit_price: int, plan_id: str = "1", operator: str = OPERATOR) -> chain_pb2.ChainEvent:
        terms = chain_pb2.PlanTerms(
            asset_id=ASSET,
            currency=TOKEN,
            price="5000000",
            period_s=3600,
            included_units=10,
            unit_price=str(unit_price),
            metering_rule="request",
            requests_per_s=10,
            server=operator,
        )
        created = chain_pb2.PlanCreated(plan_id=plan_id, creator=OWNER, terms=terms)
        return self.event(PLAN_BOOK, plan_created=created)

    def key(self, receipt_key: bytes = RECEIPT_KEY, valid: tuple[int, int] = FOREVER) -> chain_pb2.ChainEvent:
        statement = chain_pb2.OperatorKeySet(
            operator=OPERATOR,
            receipt_key=eip712.address_of(receipt_key),
            valid_from=valid[0],
            valid_until=valid[1],
        )
        return self.event(ESCROW, operator_key_set=statement)

    def deposited(self, amount: int, operator: str = OPERATOR) -> chain_pb2.ChainEvent:
        payload = chain_pb2.Deposited(
            deposit_id=DEPOSIT, payer=PAYER, operator=operator, token=TOKEN, amount=str(amount)
        )
        return self.event(ESCROW, deposited=payload)


def event_id(event: chain_pb2.ChainEvent) -> str:
    kind = "retracted" if event.kind == chain_pb2.EVENT_KIND_RETRACTED else "observed"
    return f"{event.chain_id}:{event.block_hash}:{event.log_index}:{kind}:{event.incarnation}"


def retracted(event: chain_pb2.ChainEvent) -> chain_pb2.ChainEvent:
    copy = chain_pb2.ChainEvent()
    copy.CopyFrom(event)
    copy.kind = chain_pb2.EVENT_KIND_RETRACTED
    copy.event_id = event_id(copy)
    return copy


def again(event: chain_pb2.ChainEvent) -> chain_pb2.ChainEvent:
    """The same block became canonical once more."""
    copy = chain_pb2.ChainEvent()
    copy.CopyFrom(event)
    copy.incarnation += 1
    copy.event_id = event_id(copy)
    return copy


def finality(number: int, chain_id: int = CHAIN) -> chain_pb2.BlockFinality:
    return chain_pb2.BlockFinality(
        event_id=f"{chain_id}:{number}:final",
        chain_id=chain_id,
        block_number=number,
        block_hash=f"0x{number:064x}",
        block_time=NOW_S + number,
    )
