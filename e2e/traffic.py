"""A bounded stream of calls that goes on while parts are killed, and remembers what each call came to."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx2
from tritonclient.http import InferenceServerClient, InferInput

from e2e.demo import calls
from e2e.world import World

CALL_TIMEOUT_S = 10.0
PAUSE_S = 0.02
# Hard end, so that a test that hangs leaves no traffic behind.
MAX_CALLS = 20_000


def infer_request(api_key: str, rows: int = 1) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers of a KServe v2 call in binary tensors, as Triton's client makes them."""
    tensor = InferInput("FEATURES", [rows, 30], "FP32")
    tensor.set_data_from_numpy(calls.held_out(rows))
    body, size = InferenceServerClient.generate_request_body([tensor])
    headers = {
        "authorization": f"Bearer {api_key}",
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(size),
    }
    return f"/v2/models/{calls.MODEL}/infer", bytes(body), headers


@dataclass(slots=True)
class Seen:
    """What the caller saw. `answered` maps request ids to units; a call without a whole answer is `lost`."""

    answered: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    lost: int = 0

    @property
    def units(self) -> int:
        """Units of all whole answers."""
        return sum(self.answered.values())


class Traffic:
    """Calls the model through all gateway replicas in turn, in one thread, until the block ends."""

    def __init__(self, world: World, api_key: str) -> None:
        self._world = world
        self._path, self._body, self._headers = infer_request(api_key)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen = Seen()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(CALL_TIMEOUT_S * 2)

    def wait_answered(self, more: int, deadline_s: float = 60.0) -> None:
        """Until this many further calls were answered; raises AssertionError with what was seen instead."""
        goal = len(self.seen.answered) + more
        ends = time.monotonic() + deadline_s
        while len(self.seen.answered) < goal:
            assert time.monotonic() < ends, (
                f"{more} more answers not within {deadline_s:.0f} s: {self.seen.refused}"
            )
            self._stop.wait(0.05)

    def _run(self) -> None:
        urls = self._world.config.gateway
        with httpx2.Client(timeout=CALL_TIMEOUT_S) as client:
            for number in range(MAX_CALLS):
                if self._stop.wait(PAUSE_S):
                    return
                self._call(client, urls[number % len(urls)])

    def _call(self, client: httpx2.Client, url: str) -> None:
        try:
            response = client.post(url + self._path, content=self._body, headers=self._headers)
        except httpx2.TransportError:
            self.seen.lost += 1
            return
        if response.status_code == httpx2.codes.OK:
            self.seen.answered[response.headers["x-licet-request-id"]] = int(
                response.headers["x-licet-units"]
            )
            return
        try:
            code = str(response.json()["code"])
        except (ValueError, KeyError, TypeError):
            code = f"http_{response.status_code}"
        self.seen.refused[code] = self.seen.refused.get(code, 0) + 1
