"""The first bytes of a request's body: kept until its units are known, or until it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from licet_gateway.dataplane import metering
from licet_gateway.domain import MeteringRule

# A body that fits is sent when it is whole; of a longer one this much is held before it is spliced.
HOLD_MAX: Final = 64 * 1024


class Gathered:
    """Bytes of one body, and the units that they tell."""

    __slots__ = ("_fields", "_parts", "_scan_at", "_size")

    def __init__(self, fields: Mapping[bytes, bytes]) -> None:
        self._fields = fields
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

    def units(self, rule: MeteringRule, *, whole: bool) -> int | None:
        """Units by this rule; None while more bytes are needed. Raises metering.NotMetered."""
        name = rule.rows_of
        if name is None:
            return 1
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
