"""Sessions of gRPC clients: calls in frames, cut and mixed, with frames between them that do not belong there."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Final

import hpack

from gateway_fuzz import corpus, kserve_kind
from gateway_fuzz.engine import Case
from gateway_fuzz.h2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Headers,
    frame,
)
from gateway_fuzz.mutation import cut, mutated
from gateway_fuzz.plane import BODY_MAX, KEY

SERVICE: Final = b"/inference.GRPCInferenceService/"
_METHODS: Final = (
    *(b"ModelInfer",) * 16,
    *(b"ModelStreamInfer",) * 8,
    *(b"ModelReady", b"ModelMetadata", b"ServerLive", b"RepositoryIndex", b"ModelInfer/", b""),
)
_U32: Final = (0, 1, 2, 65_535, 2**31 - 1, 2**31, 2**32 - 1)
_SETTINGS: Final = (
    *((1, 0), (1, 4096), (1, 2**32 - 1), (2, 0), (2, 1), (3, 0), (3, 100), (4, 0), (4, 1), (4, 2**31 - 1)),
    *((5, 16_384), (5, 2**24 - 1), (6, 0), (6, 2**32 - 1), (9, 1), (0, 0)),
)
_EXTRA: Final[tuple[tuple[bytes, bytes], ...]] = (
    *(
        (b"traceparent", b"00-%s-%s-00" % (b"a" * 32, b"b" * 16)),
        (b"tracestate", b"a=b"),
        (b"tracestate", b"c=d"),
    ),
    *(
        (b"grpc-timeout", b"1S"),
        (b"grpc-timeout", b"0n"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-encoding", b"identity"),
    ),
    *(
        (b"content-length", b"5"),
        (b"content-length", b"x"),
        (b"host", b"other"),
        (b"te", b"gzip"),
        (b"x", b"\0"),
    ),
    *(
        (b"connection", b"close"),
        (b"X", b"upper"),
        (b":path", b"/late"),
        (b":unknown", b"a"),
        (b"", b"a"),
        (b"x", b" a "),
    ),
    *(
        (b"x", b"y" * 5_000),
        (b"x-bin", b"\xff\xfe"),
        (b"tracestate", b"\xff\x7f\x01"),
        (b"traceparent", b"01"),
    ),
)
_BLOCKS: Final = (
    *(
        b"\x20",
        b"\x3f\xe1\x1f",
        b"\x3f\xff\xff\xff\xff\x7f",
        b"\x80",
        b"\xbe",
        b"\xff\xff\xff\xff\x0f",
        b"\x40\0\0",
        b"",
    ),
    *(
        b"\0\x01a\x7f\xff\xff\xff\x0f",
        b"\x82\x86\x84",
        b"\x40\x81\xff\x81\xff",
        b"\x10\x01X\x01Y",
        b"\x40\x01a\x82\xff\xff",
    ),
)
WORDS: Final = (
    *_BLOCKS,
    b"\0\0\0\4\0\0\0\0\0",
    b"\0\0\0\4\1\0\0\0\0",
    b"\0\0\0\0\1\0\0\0\1",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\0\1",
    b"\1\0\0\0\1",
)
# Most sessions are almost right: what is refused at its first frame tells nothing of what is behind it.
CHANGES: Final = (0, 0, 0, 0, 0, 0, 1, 1, 2)
STRANGERS: Final = (0, 0, 0, 0, 0, 0, 1, 1, 2, 5)
# A field that leaves the table as it is, whenever it comes.
_TRAILER: Final = b"\0\x01x\x07trailer"


def session(rng: Random) -> Case:
    """What one client sends."""
    if rng.random() < 0.05:
        return cut(mutated(rng.choice(corpus.of("h2")), rng, WORDS), rng)
    encoder = hpack.Encoder()
    streams = [_call(rng, encoder, 2 * index + 1) for index in range(rng.choice((1, 1, 2, 4)))]
    frames = _mixed(streams, rng)
    for _ in range(rng.choice(STRANGERS)):
        frames.insert(rng.randrange(len(frames) + 1), _stranger(rng))
    settings = b"" if rng.random() < 0.7 else _settings(rng)
    begin = PREFACE + frame(SETTINGS, 0, 0, settings) + frame(SETTINGS, 1, 0)
    return cut(mutated(begin + b"".join(frames), rng, WORDS, rng.choice(CHANGES)), rng)


def _mixed(streams: list[list[bytes]], rng: Random) -> list[bytes]:
    """Heads in their order, which the table of HPACK asks for; data as it comes."""
    if rng.random() < 0.5:
        return [each for stream in streams for each in stream]
    mixed = [stream.pop(0) for stream in streams]
    while waiting := [stream for stream in streams if stream]:
        mixed.append(rng.choice(waiting).pop(0))
    return mixed


def _call(rng: Random, encoder: hpack.Encoder, number: int) -> list[bytes]:
    """The frames of one call, its head in the first piece."""
    headers: Headers = [
        *((b":method", b"POST"), (b":scheme", b"http"), (b":path", SERVICE + rng.choice(_METHODS))),
        *((b":authority", b"gateway"), (b"te", b"trailers"), (b"content-type", b"application/grpc")),
        (b"authorization", b"Bearer " + KEY),
    ]
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 2))):
        headers.insert(
            rng.choice((len(headers), len(headers), rng.randrange(len(headers)))), rng.choice(_EXTRA)
        )
    if rng.random() < 0.05:
        del headers[rng.randrange(len(headers))]
    block = encoder.encode(headers, huffman=rng.random() < 0.5)
    if rng.random() < 0.02:
        block += rng.choice(_BLOCKS)
    body = b"".join(_message(rng) for _ in range(rng.choice((1, 1, 1, 1, 1, 1, 1, 2, 3, 0))))
    ends_by_head = rng.random() < 0.03
    frames = [_head(rng, number, block, END_STREAM if ends_by_head else 0)]
    pieces = [body] if rng.random() < 0.5 else [body[at : at + 7] for at in range(0, min(len(body), 400), 7)]
    for piece in pieces:
        frames += [_data(rng, number, piece[at : at + 16_384]) for at in range(0, max(len(piece), 1), 16_384)]
    how = rng.random()
    if how < 0.8:
        frames.append(frame(DATA, END_STREAM, number))
    elif how < 0.9:
        frames.append(frame(HEADERS, END_STREAM | END_HEADERS, number, _TRAILER))
    elif how < 0.95:
        frames.append(frame(RST_STREAM, 0, number, struct.pack(">I", rng.choice((0, 7, 8)))))
    return frames


def _message(rng: Random) -> bytes:
    message = kserve_kind.request(rng)
    if rng.random() < 0.3:
        message = mutated(message, rng, kserve_kind.WORDS)
    if rng.random() < 0.02:
        message += b"\x3a" + b"\xe0\xa7\x12" + bytes(300_000) if rng.random() < 0.5 else bytes(BODY_MAX)
    size = len(message) if rng.random() < 0.95 else rng.choice((0, len(message) + 1, 2**32 - 1, BODY_MAX + 1))
    return struct.pack(">BI", 0 if rng.random() < 0.97 else rng.choice((1, 2, 255)), size) + message


def _head(rng: Random, number: int, block: bytes, flags: int) -> bytes:
    if rng.random() < 0.1:
        flags, block = flags | PRIORITIZED, b"\0\0\0\0\x10" + block
    if rng.random() < 0.1:
        padding = rng.choice((0, 1, 9))
        flags, block = flags | PADDED, bytes((padding,)) + block + bytes(padding)
    if rng.random() < 0.85:
        return frame(HEADERS, flags | END_HEADERS, number, block)
    count = rng.choice((2, 2, 3, 5, 8, 12))
    size = max(1, len(block) // count)
    pieces = [block[at : at + size] for at in range(0, len(block), size)]
    middle = b"".join(frame(CONTINUATION, 0, number, piece) for piece in pieces[1:-1])
    last = frame(CONTINUATION, END_HEADERS, number, pieces[-1] if len(pieces) > 1 else b"")
    return frame(HEADERS, flags, number, pieces[0]) + middle + last


def _data(rng: Random, number: int, piece: bytes) -> bytes:
    if rng.random() < 0.9:
        return frame(DATA, 0, number, piece)
    padding = rng.choice((0, 1, 200))
    return frame(DATA, PADDED, number, bytes((padding,)) + piece + bytes(padding))


def _settings(rng: Random) -> bytes:
    pairs = [rng.choice(_SETTINGS) for _ in range(rng.choice((1, 2, 5)))]
    if rng.random() < 0.15:
        pairs.append((rng.randrange(8), rng.choice(_U32)))
    return b"".join(struct.pack(">HI", *pair) for pair in pairs)


def _stranger(rng: Random) -> bytes:
    """A frame that nobody waits for."""
    number = rng.choice((0, 1, 1, 3, 5, 2, 99, 2**31 - 1))
    return rng.choice(_STRANGE)(rng, number, struct.pack(">I", rng.choice(_U32)))


def _any_frame(rng: Random, number: int, _: bytes) -> bytes:
    return frame(
        rng.randrange(16), rng.randrange(256), number, rng.randbytes(rng.choice((0, 1, 4, 5, 8, 40)))
    )


def _pings(rng: Random, _: int, __: bytes) -> bytes:
    # Some are a flood.
    count = rng.choice((1, 1, 3, 2_100 if rng.random() < 0.02 else 1))
    return frame(PING, rng.choice((0, 1)), 0, rng.randbytes(8)) * count


_STRANGE: Final[tuple[Callable[[Random, int, bytes], bytes], ...]] = (
    _any_frame,
    _pings,
    lambda rng, number, u32: frame(WINDOW_UPDATE, 0, number, u32),
    lambda rng, number, u32: frame(RST_STREAM, 0, number, u32),
    lambda rng, number, u32: frame(SETTINGS, 0, 0, _settings(rng)),
    lambda rng, number, u32: frame(GOAWAY, 0, 0, u32 + u32 + b"text"),
    lambda rng, number, u32: frame(HEADERS, rng.choice((4, 5)), number, rng.choice(_BLOCKS)),
    lambda rng, number, u32: (
        frame(CONTINUATION, rng.choice((0, 4)), number, rng.choice(_BLOCKS)) * rng.choice((1, 12))
    ),
    lambda rng, number, u32: frame(
        DATA, rng.choice((0, 1, 8)), number, rng.randbytes(rng.choice((0, 5, 300)))
    ),
)
