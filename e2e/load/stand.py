"""A running stack on which cases are played: what is loaded in each, and what runs meanwhile."""

from __future__ import annotations

import http.client
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from licet_kit.testing.ports import free_port

from e2e.demo.steps import Notes
from e2e.load import bodies
from e2e.load.bodies import Body
from e2e.load.cases import Case
from e2e.load.peers.peer import Peer, Upstream, running
from e2e.load.right import Right, Usage
from e2e.load.tool import Target
from e2e.world import World
from infra.local.ports import LOOPBACK
from infra.local.stack import Stack

DIRECT, GATEWAY, SCALED = "direct", "gateway", "gateway with more workers"
# No part of a call: billing reads the records later. The second gateway joins where more workers are measured.
LEFT_OUT = ("billing", "gateway-2")
PARTS = ("gateway-1", "gateway-2")
# The supervisor ships a worker's log each second; what it does for a run ends within this.
SHIPPING_S = 1.5
FIRST_ANSWER_S = 60.0


@dataclass(slots=True)
class Stand:
    """A running stack with rights to call a model of tensors and one of vectors, for cases one after another."""

    stack: Stack
    world: World
    notes: Notes
    tensors: Right
    vectors: Right
    usage: Usage

    @contextmanager
    def targets(self, case: Case, peers: Sequence[Peer]) -> Iterator[list[Target]]:
        """Direct, the gateway where it speaks the case's protocol, and the peers, which run as long as this."""
        with ExitStack() as until, tempfile.TemporaryDirectory(prefix="licet-bench-") as name:
            folder = Path(name)
            port = self._upstream().grpc if case.grpc else self._upstream().http
            own = self._body(case, folder, self._right(case).pinned)
            found = [self._target(case, DIRECT, port, own), *self._gateways(case, folder, until)]
            for number, peer in enumerate(peers):
                home = folder / str(number)
                home.mkdir()
                port = free_port()
                pid = until.enter_context(running(peer.part(home, port, self._upstream()), home))
                sent = replace(own, headers={**own.headers, **peer.headers})
                found.append(self._target(case, peer.name, port, sent, pid=pid, check=peer.check))
            if not case.grpc:
                for target in found:
                    _answer(target)
            yield found

    def parts(self) -> list[str]:
        """The parts of the stack that run now."""
        return [part.name for part in self.stack.status() if part.pid]

    def _gateways(self, case: Case, folder: Path, until: ExitStack) -> list[Target]:
        names = {GATEWAY: 0}
        if case.workers:
            until.enter_context(self._second(case.workers))
            names[SCALED] = 1
        role = "grpc" if case.grpc else "http"
        found = []
        for name, number in names.items():
            # A gateway without this listener has no address of it.
            if url := self.world.endpoints["gateways"][number].get(role):
                body = self._body(case, folder, self._right(case).model)
                found.append(self._gateway(case, name, url, body, PARTS[number]))
        return found

    def _gateway(self, case: Case, name: str, url: str, body: Body, part: str) -> Target:
        pid = next(p.pid for p in self.stack.status() if p.name == part)
        signed = Body(
            body.file, {**body.headers, "authorization": f"Bearer {self.tensors.key}"}, body.tensor_bytes
        )
        port = int(url.rsplit(":", 1)[1])
        model = self._right(case).model
        return self._target(case, name, port, signed, model, pid=pid, settles_s=SHIPPING_S)

    def _target(self, case: Case, name: str, port: int, body: Body, model: str = "", **more: Any) -> Target:
        operation = "generate_stream" if case.stream else "infer"
        path = f"/v2/models/{model or self._right(case).pinned}/{operation}"
        path = bodies.GRPC_PATH if case.grpc else path
        url = f"http://{LOOPBACK}:{port}{path}"
        return Target(name, url, body.file, body.headers, answer_bytes=body.tensor_bytes, **more)

    def _body(self, case: Case, folder: Path, model: str) -> Body:
        """Over gRPC the message names the model, which Triton knows by its pinned name."""
        if case.stream:
            return bodies.vector(folder, case.kib)
        if case.json:
            return bodies.kserve_json(folder, case.kib)
        return bodies.grpc(folder, case.kib, model) if case.grpc else bodies.kserve(folder, case.kib)

    def _right(self, case: Case) -> Right:
        return self.vectors if case.stream else self.tensors

    def _upstream(self) -> Upstream:
        at = self.world.endpoints["triton"]
        return Upstream(*(int(at[kind].rsplit(":", 1)[1]) for kind in ("http", "grpc")))

    @contextmanager
    def _second(self, workers: int) -> Iterator[None]:
        """The second gateway with so many workers; the stack's parts take the settings of who starts them."""
        os.environ["GATEWAY_WORKERS"] = str(workers)
        try:
            if PARTS[1] in self.parts():
                self.stack.restart(PARTS[1])
            else:
                self.stack.start([PARTS[1]])
            yield
        finally:
            del os.environ["GATEWAY_WORKERS"]


def _answer(target: Target) -> None:
    """Asks once before anything is measured: a target that refuses is told in its words, and a slow start is over."""
    at = urlsplit(target.url)
    link = http.client.HTTPConnection(at.netloc, timeout=FIRST_ANSWER_S)
    try:
        link.request("POST", at.path, target.body.read_bytes(), dict(target.headers))
        answer = link.getresponse()
        told = answer.read()
        assert answer.status == http.HTTPStatus.OK, f"{target.name} answered {answer.status}: {told[:500]!r}"
    finally:
        link.close()
