"""From finished calls to protobuf: usage records, grouped into signed segments of receipts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from licet_kit.errors import PermanentError
from licet_kit.outbox import Outgoing
from licet_schemas import eip712, merkle
from licet_schemas.licet.usage.v1.usage_pb2 import Outcome, ReplicaCertificate, Segment, UsageRecorded

from licet_gateway.domain import CallRecord, LeaseTerms, request_id
from licet_gateway.settings import Certificate
from licet_gateway.shipping.reader import Finished

_MS = 1_000_000


class NotCertified(PermanentError):
    """A lease's chain is one for which the operator has not certified this replica."""

    code = "replica_not_certified"


@dataclass(frozen=True, slots=True)
class _Signer:
    """What signs the receipts of one chain."""

    domain: bytes
    certificate: ReplicaCertificate


class Sealer:
    """Signs batches of records: each batch is one segment a chain, each record carries its proof."""

    def __init__(self, worker_key: bytes, certificates: Sequence[Certificate]) -> None:
        self._key = worker_key
        self._signers = {
            certificate.chain_id: _signer(certificate, worker_key) for certificate in certificates
        }

    def seal(self, worker_id: str, batch: Sequence[Finished]) -> list[Outgoing]:
        """The messages of a batch, in its order. Raises NotCertified."""
        chains = [_chain_of(finished.terms.grant_id) for finished in batch]
        sealed = {
            chain: iter(
                self._seal_chain(
                    worker_id, chain, [f for f, c in zip(batch, chains, strict=True) if c == chain]
                )
            )
            for chain in dict.fromkeys(chains)
        }
        return [next(sealed[chain]) for chain in chains]

    def _seal_chain(self, worker_id: str, chain: int, batch: Sequence[Finished]) -> list[Outgoing]:
        signer = self._signers.get(chain)
        if signer is None:
            raise NotCertified(f"GATEWAY_REPLICA_CERTIFICATES names no certificate for chain {chain}")
        leaves = [
            merkle.leaf(eip712.receipt_digest(signer.domain, receipt_of(f.terms, f.record))) for f in batch
        ]
        tree = merkle.tree(leaves)
        digest = eip712.segment_digest(signer.domain, eip712.Segment(tree.root, len(leaves)))
        segment = Segment(
            root=tree.root,
            signature=eip712.sign(digest, self._key),
            certificate=signer.certificate,
            receipts=len(leaves),
        )
        return [_outgoing(worker_id, finished, segment, tree.proof(i)) for i, finished in enumerate(batch)]


def receipt_of(terms: LeaseTerms, record: CallRecord) -> eip712.Receipt:
    """What the gateway states about a call."""
    return eip712.Receipt(
        request_id=request_id(terms.lease_id, record.sequence),
        account_id=terms.account_id,
        account_lease=terms.account_lease,
        sequence=record.sequence,
        last=record.last,
        grant_id=terms.grant_id,
        asset_id=_bytes32(terms.asset_id),
        version_digest=_bytes32(terms.version_digest),
        plan_id=int(terms.plan_id),
        metering_rule=terms.metering_rule,
        units=record.units,
        price_book_version=terms.price_book_version,
        outcome=record.outcome,
        started_at_ms=record.started_ns // _MS,
        ended_at_ms=record.ended_ns // _MS,
        request_commitment=record.request_commitment,
        response_commitment=record.response_commitment,
    )


def _outgoing(worker_id: str, finished: Finished, segment: Segment, path: list[bytes]) -> Outgoing:
    terms, record = finished.terms, finished.record
    message = UsageRecorded()
    message.CopyFrom(_template(worker_id, terms))
    message.request_id = request_id(terms.lease_id, record.sequence)
    message.sequence = record.sequence
    message.last = record.last
    message.units = record.units
    message.outcome = Outcome.ValueType(record.outcome)
    # Times are told in whole milliseconds, as the receipt states them.
    message.started_at.FromMilliseconds(record.started_ns // _MS)
    message.ended_at.FromMilliseconds(record.ended_ns // _MS)
    message.bytes_in = record.bytes_in
    message.bytes_out = record.bytes_out
    message.request_commitment = record.request_commitment
    message.response_commitment = record.response_commitment
    message.segment.CopyFrom(segment)
    message.segment.path.extend(path)
    return Outgoing(message=message, key=terms.lease_id, event_id=message.request_id)


@lru_cache(maxsize=1024)
def _template(worker_id: str, terms: LeaseTerms) -> UsageRecorded:
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
    )


def _signer(certificate: Certificate, worker_key: bytes) -> _Signer:
    if eip712.address_of(worker_key) != certificate.replica:
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


def _chain_of(grant_id: str) -> int:
    """A grant's name begins with its chain."""
    return int(grant_id.partition(":")[0])


@lru_cache(maxsize=4096)
def _bytes32(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
