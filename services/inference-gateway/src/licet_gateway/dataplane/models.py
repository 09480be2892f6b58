"""Readiness and metadata of models, answered without a lease: they say no more than the public catalogue.

Metadata is Triton's own, asked once for each pinned version: a version never changes under its name.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane import replies
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.openai import catalogue
from licet_gateway.dataplane.openai.catalogue import Listed
from licet_gateway.dataplane.refusals import UNKNOWN, UNREACHABLE

if TYPE_CHECKING:
    from licet_gateway.dataplane.client import ClientConnection
    from licet_gateway.dataplane.http import ResponseHead
    from licet_gateway.dataplane.loss import Loss
    from licet_gateway.dataplane.plane import DataPlane
    from licet_gateway.dataplane.upstream import UpstreamConnection, UpstreamPool
    from licet_gateway.dataplane.versions import PinnedVersion

CACHED_MAX: Final = 1024
METADATA_MAX: Final = 256 * 1024
# Among accounts that wait for a connection, questions for metadata are one, which no account is named as.
_CALLER: Final = ""


class ModelRoutes:
    """Answers `/v2/models/{m}` and `/v2/models/{m}/ready`."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._asking: dict[bytes, _Question] = {}

    def ready(self, client: ClientConnection, slug: str) -> None:
        if self._plane.versions.newest(slug) is None:
            client.refuse(UNKNOWN)
        else:
            client.reply(replies.render_empty(200, close=client.closes))

    def metadata(self, client: ClientConnection, slug: str) -> None:
        version = self._plane.versions.newest(slug)
        if version is None:
            client.refuse(UNKNOWN)
            return
        known = self._known.get(version.path)
        if known is not None:
            client.reply(replies.render_json(known, close=client.closes))
            return
        question = self._asking.get(version.path)
        if question is not None:
            question.clients.append(client)
            return
        pool = self._plane.replicas.pick(version)
        if pool is None:
            client.refuse(UNREACHABLE)
            return
        question = self._asking[version.path] = _Question(
            self, version, pool, now_ns() + self._plane.call_timeout_ns
        )
        question.clients.append(client)
        if pool.acquire(question, _CALLER) is not None:
            self.answer(question, None)

    def list_all(self, client: ClientConnection) -> None:
        """OpenAI's list of what is served here."""
        listed = [_listed(version) for version in self._plane.versions.listed()]
        client.reply(replies.render_json(catalogue.models(listed), close=client.closes))

    def show(self, client: ClientConnection, slug: str) -> None:
        """OpenAI's object of one model."""
        version = self._plane.versions.newest(slug)
        if version is None:
            client.refuse(UNKNOWN)
        else:
            client.reply(replies.render_json(catalogue.model(_listed(version)), close=client.closes))

    def sweep(self, now: int) -> None:
        """Ends the questions that Triton does not answer in time."""
        for question in [asked for asked in self._asking.values() if now >= asked.deadline_ns]:
            question.give_up()

    def answer(self, question: _Question, body: bytes | None) -> None:
        """Triton's answer to one question, for every client that waits for it; None where there is none."""
        self._asking.pop(question.version.path, None)
        renamed = None if body is None else _renamed(body, question.version.slug.replace("/", "."))
        if renamed is not None:
            self._known[question.version.path] = renamed
            if len(self._known) > CACHED_MAX:
                self._known.popitem(last=False)
        for client in question.clients:
            if client.gone:
                continue
            if renamed is None:
                client.refuse(UNREACHABLE)
            else:
                client.reply(replies.render_json(renamed, close=client.closes))


def _listed(version: PinnedVersion) -> Listed:
    """When a model came into being stands on its chain, not here: `created` is 0."""
    return Listed(version.slug, "" if version.text is None else version.text.task, 0)


class _Question:
    """One GET to Triton."""

    def __init__(
        self, routes: ModelRoutes, version: PinnedVersion, pool: UpstreamPool, deadline_ns: int
    ) -> None:
        self.version = version
        self.deadline_ns = deadline_ns
        self.clients: list[ClientConnection] = []
        self._routes = routes
        self._pool = pool
        self._status = 0
        self._body = b""
        self._connection: UpstreamConnection | None = None

    def on_connected(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(self)
        connection.write(
            b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (self.version.path, connection.pool.authority)
        )
        connection.asked()

    def on_response_head(self, head: ResponseHead) -> None:
        self._status = head.status

    def on_response_body(self, data: bytes) -> None:
        self._body = (self._body + data)[: METADATA_MAX + 1]

    def on_response_end(self) -> None:
        if self._connection is not None:
            self._connection.pool.release(self._connection)
        whole = self._status == 200 and len(self._body) <= METADATA_MAX
        self._routes.answer(self, self._body if whole else None)

    def on_lost(self, loss: Loss) -> None:
        self._routes.answer(self, None)

    def give_up(self) -> None:
        """Waits no longer, for a connection or for an answer."""
        if self._connection is None:
            self._pool.stop_waiting(self)
        else:
            self._connection.give_up()
        self._routes.answer(self, None)

    def on_upstream_full(self) -> None:
        """A request without a body never fills a connection."""

    def on_upstream_drained(self) -> None:
        """See on_upstream_full."""


def _renamed(body: bytes, name: str) -> bytes | None:
    """Metadata under the name that the caller used."""
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    return json.dumps({**fields, "name": name}, separators=(",", ":")).encode()
