"""What every route shares: parameters, cursors, the snapshot it reads and the positions it answers with."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from licet_kit.cursor import CursorInvalid, decode, page
from licet_kit.db import reading
from licet_kit.problems import Problem
from licet_kit.units import MAX_AMOUNT
from pydantic import AfterValidator
from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.api.models import Listing, Position, T
from licet_indexer.db.chains import ChainStatus, statuses
from licet_indexer.domain.rows import Row, RowT

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_MAX_ID = 2**63 - 1


def _uint256(value: str) -> str:
    if int(value) > MAX_AMOUNT:
        raise ValueError("wider than 256 bits")
    return value


_HASH = r"^0x[0-9a-fA-F]{64}$"
_ADDRESS = r"^0x[0-9a-fA-F]{40}$"
_DECIMAL = r"^(0|[1-9][0-9]{0,77})$"
_HEX = re.compile(r"0x[0-9a-f]{40,64}")
_PART = r"^[a-z0-9-]{1,39}$"

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]
ChainFilter = Annotated[int | None, Query(ge=1, le=_MAX_ID)]
AddressFilter = Annotated[str | None, Query(pattern=_ADDRESS), AfterValidator(lambda v: v and v.lower())]
HashFilter = Annotated[str | None, Query(pattern=_HASH), AfterValidator(lambda v: v and v.lower())]
IdFilter = Annotated[str | None, Query(pattern=_DECIMAL), AfterValidator(lambda v: v and _uint256(v))]
HashPath = Annotated[str, Path(pattern=_HASH), AfterValidator(str.lower)]
IdPath = Annotated[str, Path(pattern=_DECIMAL), AfterValidator(_uint256)]
ChainPath = Annotated[int, Path(ge=1, le=_MAX_ID)]
SlugPart = Annotated[str, Path(pattern=_PART)]


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of the mirrors: rows and positions are of the same moment."""

    session: AsyncSession
    chains: Mapping[int, ChainStatus]

    def position(self, chain_id: int) -> Position:
        """Where the mirror of a chain stands."""
        cursor = self.chains[chain_id].cursor
        return Position(
            chain_id=chain_id,
            block_number=cursor.tip.number if cursor.tip else None,
            block_hash=cursor.tip.hash if cursor.tip else None,
            final=cursor.final.number if cursor.final else None,
        )

    def positions(self, chain_id: int | None = None) -> list[Position]:
        """Where the mirrors stand: of one chain, or of all."""
        return [self.position(known) for known in self.chains if chain_id in {None, known}]

    def time(self, chain_id: int) -> int:
        """Chain time of the mirror's newest block."""
        tip = self.chains[chain_id].cursor.tip
        return tip.time if tip else 0

    def is_final(self, chain_id: int, block_number: int) -> bool:
        """Whether a block of the mirror is final."""
        final = self.chains[chain_id].cursor.final
        return final is not None and block_number <= final.number

    def fields(self, row: Row) -> dict[str, Any]:
        """A row's fields, and whether they are final."""
        values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
        return values | {"is_final": self.is_final(row.chain_id, row.changed_block)}


async def _snapshot(request: Request) -> AsyncIterator[Snapshot]:
    async with reading(request.app.state.engine) as session:
        known = await statuses(session)
        yield Snapshot(session, {status.cursor.chain_id: status for status in known})


View = Annotated[Snapshot, Depends(_snapshot)]


class Part(enum.Enum):
    """What a part of a cursor may be: exactly what its column holds, so that no cursor reaches SQL that SQL refuses."""

    HEX = "hex"
    BIG = 2**63 - 1
    LOG = 2**31 - 1
    WIDE = MAX_AMOUNT

    def accepts(self, value: object) -> bool:
        """Whether the value can be in such a column."""
        if self is Part.HEX:
            return isinstance(value, str) and _HEX.fullmatch(value) is not None
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= self.value


Order = Mapping[str, Part]


def place_from(cursor: str | None, order: Order) -> list[int | str] | None:
    """The place that a cursor names; raises CursorInvalid for one of another list."""
    if cursor is None:
        return None
    values = decode(cursor)
    if set(values) != set(order) or not all(part.accepts(values[name]) for name, part in order.items()):
        raise CursorInvalid("the cursor belongs to another list")
    return [value for value in (values[name] for name in order) if isinstance(value, int | str)]


def listing(
    rows: Sequence[RowT], limit: int, order: Order, out: Callable[[RowT], T], positions: list[Position]
) -> Listing[T]:
    """A page out of `limit + 1` rows; the row too many only tells that there is more."""
    cut = page(rows, limit, lambda row: {name: getattr(row, name) for name in order})
    data = [out(row) for row in cut.data]
    return Listing(data=data, has_more=cut.has_more, next_cursor=cut.next_cursor, positions=positions)


def not_found(what: str) -> Problem:
    """The answer where the mirror has no such thing (yet)."""
    return Problem(404, "not_found", f"no {what} in the mirror; compare the position in GET /v1/chains")
