"""The first bytes of a request's body: kept until its units are known, or until it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from licet_gateway.dataplane import metering
from licet_gateway.dataplane.routes import Operation
from licet_gateway.domain import Measure, MeteringRule, TokenCaps

# A body that fits is sent when it is whole; of a longer one this much is held before it is spliced.
HOLD_MAX: Final = 64 * 1024


def unmetered(fields: Mapping[bytes, bytes], operation: Operation) -> tuple[int, str] | None:
    """Status and reason where the body of such a head cannot be metered; None where it perhaps can."""
    header = fields.get(b"inference-header-content-length")
    if header is not None and operation is not Operation.INFER:
        return 400, "Inference-Header-Content-Length belongs to /infer alone"
    if header is not None and (not header.isdigit() or len(header) > 9):
        return 400, "Inference-Header-Content-Length is not a plain number"
    if fields.get(b"content-encoding", b"identity") != b"identity":
        return 415, "compressed request bodies are not served; send the body as it is"
    return None


class Gathered:
    """Bytes of one body, and the units that they tell."""

    __slots__ = ("_fields", "_length", "_longest_s", "_operation", "_parts", "_scan_at", "_size")

    def __init__(
        self, fields: Mapping[bytes, bytes], operation: Operation, length: int | None, longest_s: int
    ) -> None:
        self._fields = fields
        self._operation = operation
        # Of the whole body, where its head states it.
        self._length = length
        self._longest_s = longest_s
        self._parts: list[bytes] = []
        self._size = 0
        self._scan_at = HOLD_MAX

    def add(self, data: bytes) -> bool:
        """Takes bytes; true when it is time to look at them."""
        self._parts.append(data)
        self._size += len(data)
        return self._size >= self._scan_at

    def take(self) -> bytes:
        """All of it, given away."""
        body = b"".join(self._parts)
        self._parts = []
        return body

    def units(self, rule: MeteringRule, caps: TokenCaps, *, whole: bool) -> int | None:
        """Units to hold by this rule; None while more bytes are needed. Raises metering.NotMetered."""
        if rule.measure is Measure.REQUEST:
            return 1
        if rule.measure is Measure.SECONDS:
            return self._longest_s
        if rule.rows_of is not None:
            return self._rows_once(rule.rows_of, whole=whole)
        if self._length is None and not whole:
            if self._size < HOLD_MAX:
                return None
            raise metering.NotMetered(
                f"this model is metered by {rule.text}: of more than {HOLD_MAX} bytes state the Content-Length"
            )
        size = self._size if self._length is None else self._length
        if rule.measure is not Measure.OUTPUT_TOKENS or self._operation is Operation.INFER:
            return metering.bound(rule.measure, caps, size)
        # It may ask for fewer tokens than the cap.
        if not whole:
            return None if self._size < HOLD_MAX else metering.bound(rule.measure, caps, size)
        return metering.bound(rule.measure, caps, size, metering.asked_tokens(b"".join(self._parts)))

    def _rows_once(self, name: str, *, whole: bool) -> int | None:
        if self._operation is not Operation.INFER:
            raise metering.NotMetered(
                f'this model is metered by the rows of "{name}", which only /infer states'
            )
        body = b"".join(self._parts)
        self._parts = [body]
        units = self._rows(body, name, whole=whole)
        # Looked at again when twice as much is there, so that scanning stays linear.
        self._scan_at = self._size * 2
        return units

    def _rows(self, body: bytes, name: str, *, whole: bool) -> int | None:
        header = self._fields.get(b"inference-header-content-length")
        if header is None:
            return metering.rows_of_json(body, name, complete=whole)
        size = int(header)
        if size > metering.METER_MAX or (whole and size > len(body)):
            raise metering.NotMetered(
                "Inference-Header-Content-Length is longer than the body or this gateway's bound"
            )
        return metering.rows_of_header(body[:size], name) if size <= len(body) else None
