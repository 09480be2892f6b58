"""From finished calls to records on Kafka: usage messages, grouped into signed segments of receipts.

A record is three runs of protobuf fields behind one another: what its lease repeats, what its segment repeats, and what
is its own. A parser reads them as one message (protobuf encoding: "merging"; parts of `segment` join), and a stream of
thousands a second is spared building each message whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp
from licet_kit.errors import PermanentError
from licet_kit.producer import Encoded
from licet_schemas import eip712, merkle
from licet_schemas.licet.usage.v1.usage_pb2 import Outcome, ReplicaCertificate, Segment, UsageRecorded

from licet_gateway.domain import CallRecord, LeaseTerms, chain_of, request_id
from licet_gateway.settings import Certificate
from licet_gateway.shipping.reader import Finished

TOPIC = "usage.recorded"
SOURCE = "licet/inference-gateway"
_MS = 1_000_000
_SECOND_MS = 1000


class NotCertified(PermanentError):
    """A lease's chain is one for which the operator has not certified this replica."""

    code = "replica_not_certified"


@dataclass(frozen=True, slots=True)
class _Signer:
    """What signs the receipts of one chain."""

    domain: bytes
    certificate: ReplicaCertificate


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The segment of one chain in a batch: its repeated fields, and the proof of each receipt in turn."""

    fields: bytes
    proofs: dict[int, list[bytes]]


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A record that no certificate covers, or that no receipt can state, and why."""

    finished: Finished
    reason: str


class Sealer:
    """Signs batches of records: each batch is one segment a chain, each record carries its proof."""

    def __init__(self, replica_key: bytes, certificates: Sequence[Certificate]) -> None:
        self._key = replica_key
        self._signers = {
            str(certificate.chain_id): _signer(certificate, replica_key) for certificate in certificates
        }

    def seal(self, worker_id: str, batch: Sequence[Finished]) -> tuple[list[Encoded], list[Unsealed]]:
        """The records of a batch, in its order, and what of it cannot be one."""
        leaves: dict[str, dict[int, bytes]] = {}
        forms: dict[str, eip712.ReceiptForm] = {}
        unsealed = []
        for place, finished in enumerate(batch):
            terms = finished.terms
            try:
                form = forms.get(terms.lease_id)
                if form is None:
                    form = forms[terms.lease_id] = self._form(terms)
                leaf = merkle.leaf(_receipt_digest(form, terms.lease_id, finished.record))
            except (NotCertified, ValueError) as error:
                unsealed.append(Unsealed(finished, str(error)))
            else:
                leaves.setdefault(chain_of(terms.grant_id), {})[place] = leaf
        return self._records(worker_id, batch, leaves), unsealed

    def _form(self, terms: LeaseTerms) -> eip712.ReceiptForm:
        chain = chain_of(terms.grant_id)
        signer = self._signers.get(chain)
        if signer is None:
            raise NotCertified(f"GATEWAY_REPLICA_CERTIFICATES names no certificate for chain {chain}")
        return _form_of(signer.domain, terms)

    def _records(
        self, worker_id: str, batch: Sequence[Finished], leaves: Mapping[str, Mapping[int, bytes]]
    ) -> list[Encoded]:
        sealed = {chain: self._segment(chain, mine) for chain, mine in leaves.items()}
        places = sorted(place for mine in leaves.values() for place in mine)
        leases = {batch[place].terms.lease_id: batch[place].terms for place in places}
        repeated = {name: _lease_fields(worker_id, terms) for name, terms in leases.items()}
        shared = _shared_headers()
        records = []
        for place in places:
            finished = batch[place]
            terms = finished.terms
            segment = sealed[chain_of(terms.grant_id)]
            name = request_id(terms.lease_id, finished.record.sequence)
            own = _own_fields(name, finished.record, segment.proofs[place])
            value = repeated[terms.lease_id] + segment.fields + own
            records.append(Encoded(terms.lease_id.encode(), value, [("ce_id", name.encode()), *shared]))
        return records

    def _segment(self, chain: str, leaves: Mapping[int, bytes]) -> _Sealed:
        signer = self._signers[chain]
        tree = merkle.tree(list(leaves.values()))
        digest = eip712.segment_digest(signer.domain, eip712.Segment(tree.root, len(leaves)))
        segment = Segment(
            root=tree.root,
            signature=eip712.sign(digest, self._key),
            certificate=signer.certificate,
            receipts=len(leaves),
        )
        fields = UsageRecorded(segment=segment).SerializeToString()
        return _Sealed(fields, {place: tree.proof(leaf) for leaf, place in enumerate(leaves)})


def _form_of(domain: bytes, terms: LeaseTerms) -> eip712.ReceiptForm:
    """What the gateway states of every call of a lease."""
    lease = eip712.LeaseOfReceipts(
        account_id=terms.account_id,
        account_lease=terms.account_lease,
        grant_id=terms.grant_id,
        asset_id=_bytes32(terms.asset_id),
        version_digest=_bytes32(terms.version_digest),
        plan_id=int(terms.plan_id),
        metering_rule=terms.metering_rule,
        price_book_version=terms.price_book_version,
    )
    return eip712.ReceiptForm(domain, lease)


def _receipt_digest(form: eip712.ReceiptForm, lease_id: str, record: CallRecord) -> bytes:
    """The hash of what the gateway states about a call."""
    return form.digest(
        request_id(lease_id, record.sequence),
        record.sequence,
        record.last,
        record.units,
        record.outcome,
        record.started_ns // _MS,
        record.ended_ns // _MS,
        record.request_commitment,
        record.response_commitment,
    )


def _own_fields(name: str, record: CallRecord, proof: list[bytes]) -> bytes:
    """What no other record has."""
    return UsageRecorded(
        request_id=name,
        sequence=record.sequence,
        last=record.last,
        units=record.units,
        outcome=Outcome.ValueType(record.outcome),
        started_at=_timestamp(record.started_ns),
        ended_at=_timestamp(record.ended_ns),
        bytes_in=record.bytes_in,
        bytes_out=record.bytes_out,
        request_commitment=record.request_commitment,
        response_commitment=record.response_commitment,
        segment=Segment(path=proof),
    ).SerializeToString()


def _shared_headers() -> list[tuple[str, bytes]]:
    """CloudEvents headers that every record of a batch has (Kafka binding 1.0.2, binary mode)."""
    headers: Mapping[str, str] = {
        "ce_specversion": "1.0",
        "ce_source": SOURCE,
        "ce_type": UsageRecorded.DESCRIPTOR.full_name,
        "ce_time": datetime.now(UTC).isoformat(),
        "content-type": "application/protobuf",
    }
    return [(name, value.encode()) for name, value in headers.items()]


def _timestamp(at_ns: int) -> Timestamp:
    """Whole milliseconds, as the receipt states them."""
    seconds, ms = divmod(at_ns // _MS, _SECOND_MS)
    return Timestamp(seconds=seconds, nanos=ms * _MS)


def _lease_fields(worker_id: str, terms: LeaseTerms) -> bytes:
    """What all records of a lease repeat."""
    return UsageRecorded(
        worker_id=worker_id,
        lease_id=terms.lease_id,
        decision_id=terms.decision_id,
        account_id=terms.account_id,
        account_lease=terms.account_lease,
        grant_id=terms.grant_id,
        asset_id=terms.asset_id,
        version_digest=terms.version_digest,
        plan_id=terms.plan_id,
        metering_rule=terms.metering_rule,
        price_book_version=terms.price_book_version,
    ).SerializeToString()


def _signer(certificate: Certificate, replica_key: bytes) -> _Signer:
    if eip712.address_of(replica_key) != certificate.replica:
        raise NotCertified("GATEWAY_REPLICA_KEY is not the key that GATEWAY_REPLICA_CERTIFICATES certify")
    return _Signer(
        domain=eip712.domain_separator(certificate.chain_id, certificate.escrow),
        certificate=ReplicaCertificate(
            operator=certificate.operator,
            replica=certificate.replica,
            valid_from=certificate.valid_from,
            valid_until=certificate.valid_until,
            signature=certificate.signature,
        ),
    )


@lru_cache(maxsize=4096)
def _bytes32(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
