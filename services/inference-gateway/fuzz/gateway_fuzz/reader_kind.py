"""The reader alone: the split of the bytes never matters, and it reads what llhttp reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from licet_gateway.dataplane.http import HttpError, RequestHead
from licet_gateway.dataplane.reader import RequestReader

from gateway_fuzz import http_requests
from gateway_fuzz.engine import Case, WrongError
from gateway_fuzz.http_messages import Message, requests_of, stops_early

# Fields that the gateway reads, and what it forwards.
_FIELDS: Final = (
    b"host",
    b"content-type",
    b"authorization",
    b"x-api-key",
    b"inference-header-content-length",
    b"expect",
)


@dataclass
class _Read:
    head: RequestHead
    body: bytes = b""
    whole: bool = False


@dataclass
class _Sink:
    """Answers each request when it is whole."""

    read: list[_Read] = field(default_factory=list)
    reader: RequestReader | None = None

    def on_head(self, head: RequestHead) -> None:
        self.read.append(_Read(head))

    def on_body(self, data: bytes) -> None:
        self.read[-1].body += data

    def on_end(self) -> None:
        self.read[-1].whole = True
        if self.reader is not None:
            self.reader.next_request()


def _listen(case: Case) -> tuple[list[_Read], int]:
    """What was read, and the status of the error that ended it; 0 for none."""
    sink = _Sink()
    sink.reader = RequestReader(sink)
    for piece in case:
        try:
            sink.reader.feed(piece)
        except HttpError as error:
            # How much of a broken body was told is a matter of the split.
            for read in sink.read:
                read.body = read.body if read.whole else b""
            return sink.read, error.status
    return sink.read, 0


class ReaderKind:
    """Of one connection."""

    name = "reader"

    def make(self, rng: Random) -> Case:
        return http_requests.stream(rng)

    def close(self) -> None:
        """It stands on nothing."""

    def check(self, case: Case) -> None:
        data = b"".join(case)
        read, status = _listen((data,))
        if _listen(case) != (read, status):
            raise WrongError("another split: the pieces are read in another way than the whole")
        theirs, ended = requests_of(data)
        for index, ours in enumerate(read):
            if index >= len(theirs) or not _same(ours, theirs[index]):
                if stops_early(ended, data):
                    return
                raise WrongError(
                    f"another request: we read {ours}, llhttp {theirs[index : index + 1]}: {ended}"
                )
            if not ours.head.keep_alive:
                return


def _same(ours: _Read, theirs: Message) -> bool:
    head = ours.head
    if not theirs.headed or (head.method, head.target) != (theirs.method, theirs.target):
        return False
    if (theirs.one(b"transfer-encoding") is not None) != head.chunked:
        return False
    if any(theirs.one(name) != head.fields.get(name) for name in _FIELDS):
        return False
    return (
        ours.body == theirs.body and ours.whole is theirs.whole
        if ours.whole
        else theirs.body.startswith(ours.body)
    )
