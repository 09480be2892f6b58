"""Streams of HTTP/1.1 requests, most of them with something that two implementations could read in two ways."""

from __future__ import annotations

from random import Random
from typing import Final

from gateway_fuzz import corpus, json_kind
from gateway_fuzz.engine import Case
from gateway_fuzz.mutation import cut, mutated
from gateway_fuzz.plane import BODY_MAX, KEY

# What the test models take.
ROWS: Final = b'{"inputs":[{"name":"X","shape":[2,4],"datatype":"FP32","data":[1,2,3,4,5,6,7,8]}]}'
WORDS: Final = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\r\n\t"),
    *(
        b"\x0b",
        b"\x0c",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xc2\xa0",
        b"%00",
        b"%2f",
        b"..",
        b"//",
        b"?",
        b"#",
        b"*",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: -1\r\n",
        b"content-length : 5\r\n",
    ),
    *(
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 1e1\r\n",
    ),
    *(b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 18446744073709551621\r\n"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
    ),
    *(
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
    ),
    *(
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
        b"transfer_encoding: chunked\r\n",
    ),
    *(
        b"Expect: 100-continue\r\n",
        b"Expect: 200-ok\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
    ),
    *(
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Upgrade: websocket\r\n",
        b"Host: other\r\n",
        b"Host:\r\n",
    ),
    *(b"Inference-Header-Content-Length: 5\r\n", b"Inference-Header-Content-Length: 0\r\n"),
    *(b"Inference-Header-Content-Length: 999999999\r\n", b"Content-Encoding: gzip\r\n", b"X-Api-Key: a\r\n"),
    *(b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/0.9", b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"),
    *(
        b"0\r\n\r\n",
        b"0\r\n",
        b"5\r\nhello\r\n",
        b"5;a=b\r\n",
        b"ffffffff\r\n",
        b"100000000\r\n",
        b"0x5\r\n",
        b"-1\r\n",
    ),
    *(
        b"X: " + b"a" * 300 + b"\r\n",
        b"A:\r\n" * 101,
        b"X:" + b" " * 9000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
)
_MODELS: Final = (
    *(b"acme.risk",) * 4,
    *(b"acme.echo",) * 4,
    *(b"acme.bulk",) * 2,
    *(b"acme.none", b"risk", b"acme.risk-5a5a5a5a5a5a5a5a"),
)
_OPERATIONS: Final = (
    *(b"/infer",) * 6,
    *(b"/generate", b"/generate_stream") * 2,
    *(b"", b"/ready", b"/versions/1/infer"),
)
_TARGETS: Final = (
    *(
        b"/v2/health/live",
        b"/v2/health/ready",
        b"/v2/models/acme.risk/infer?x=1",
        b"/v2//models/acme.risk/infer",
    ),
    *(
        b"http://other/v2/models/acme.risk/infer",
        b"/v2/models/acme%2erisk/infer",
        b"/v2/models/acme.risk/../x/infer",
    ),
    *(b"*", b"/", b"/v2/repository/index", b"//v2/models/acme.risk/infer", b"/v2/models/acme.risk/infer/"),
)
_FIELDS: Final = (
    b"Content-Type: application/json",
    b"traceparent: 00-%s-%s-00" % (b"a" * 32, b"b" * 16),
    b"tracestate: a=b",
)
# Most streams are almost right: what is refused at its first byte tells nothing of what is behind it.
CHANGES: Final = (0, 0, 0, 1, 1, 1, 2, 4)
_METHODS: Final = (b"GET", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"post", b"TRACE")


def stream(rng: Random) -> Case:
    """What one client sends."""
    if rng.random() < 0.1:
        data = rng.choice(corpus.of("http"))
    else:
        parts = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            parts.append(request(rng))
            if rng.random() < 0.08:
                parts.append(rng.choice(WORDS))
        data = b"".join(parts)
    return cut(mutated(data, rng, WORDS, rng.choice(CHANGES)), rng)


def request(rng: Random) -> bytes:
    """One request, whole in itself, perhaps of a strange kind."""
    body = _body(rng)
    fields = [b"Host: gateway", b"Authorization: Bearer " + KEY]
    if rng.random() < 0.3:
        size = (
            len(body)
            if rng.random() < 0.6
            else rng.choice((0, 1, len(body) + 1, 10**8, max(0, len(body) - 4)))
        )
        fields.append(b"Inference-Header-Content-Length: %d" % size)
        body += rng.randbytes(rng.choice((0, 4, 12)))
    fields += [name for name in _FIELDS if rng.random() < 0.3]
    if rng.random() < 0.1:
        fields.append(b"Expect: 100-continue")
    if rng.random() < 0.3:
        fields.append(b"Transfer-Encoding: chunked")
        body = _chunked(body, rng)
    elif body or rng.random() < 0.5:
        fields.append(b"Content-Length: %d" % len(body))
    if rng.random() < 0.15:
        fields.append(rng.choice(WORDS).removesuffix(b"\r\n"))
    rng.shuffle(fields)
    return b"%s %s HTTP/1.1\r\n%s\r\n\r\n%s" % (*_line(rng), b"\r\n".join(fields), body)


def _line(rng: Random) -> tuple[bytes, bytes]:
    method = b"POST" if rng.random() < 0.95 else rng.choice(_METHODS)
    if rng.random() < 0.05:
        return method, rng.choice(_TARGETS)
    return method, b"/v2/models/%s%s" % (rng.choice(_MODELS), rng.choice(_OPERATIONS))


def _body(rng: Random) -> bytes:
    how = rng.random()
    if how < 0.5:
        return ROWS
    if how < 0.65:
        return json_kind.request(rng)
    if how < 0.8:
        return mutated(json_kind.request(rng), rng, json_kind.WORDS)
    if how < 0.97:
        return rng.randbytes(rng.choice((0, 1, 5, 100, 1000)))
    return ROWS + b" " * rng.choice((65_000, 70_000, 140_000, BODY_MAX, BODY_MAX + 1))


def _chunked(body: bytes, rng: Random) -> bytes:
    parts = []
    while body:
        size = rng.choice((1, 7, 64, len(body), len(body)))
        piece, body = body[:size], body[size:]
        extension = rng.choice((b"", b"", b"", b";a=b", b" ;a", b';a="\xff"', b";" + b"a" * 300))
        parts.append(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece))
    trailer = rng.choice((b"", b"", b"", b"X-Trailer: a\r\n", b"Content-Length: 3\r\n", b" folded\r\n"))
    return b"".join(parts) + rng.choice((b"0", b"0", b"000")) + b"\r\n" + trailer + b"\r\n"
