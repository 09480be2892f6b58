"""The cases of `make bench-gateway`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from e2e.load import h2load, streams, wrk
from e2e.load.peers import envoy, litellm, nginx
from e2e.load.peers.peer import Peer
from e2e.load.tool import Run

HTTP_PEERS = (nginx.PLAIN, nginx.AUTH_REQUEST, envoy.PLAIN, envoy.EXT_AUTHZ)
CHECKING_PEERS = (nginx.AUTH_REQUEST, envoy.EXT_AUTHZ)
GRPC_PEERS = (envoy.GRPC_PLAIN, envoy.GRPC_EXT_AUTHZ)
PROGRAMS: dict[Run, str] = {
    wrk.run: "wrk",
    h2load.run: "h2load",
    h2load.run_grpc: "h2load",
    streams.run: "python3",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One load on Triton itself, on the gateway and on its peers. `kib` is the size of the call's tensor, which is
    sent in binary unless `json` or `stream` says otherwise; a stream's latencies are those of its first event.

    `share` is the part of direct's saturated rate at which calls are sent, whatever comes back; 0 is as many as go.
    `workers` are those of a second gateway that is measured beside the first, which has one; 0 is none.
    """

    name: str
    tool: Run
    connections: int
    peers: tuple[Peer, ...] = ()
    grpc: bool = False
    json: bool = False
    stream: bool = False
    kib: int = 1
    share: float = 0
    workers: int = 0

    @property
    def program(self) -> str:
        """The load tool's name; python is our own client of streams."""
        return PROGRAMS[self.tool]


CASES = (
    Case("http-1k-c16", wrk.run, 16, HTTP_PEERS),
    Case("http-1k-c64", wrk.run, 64, HTTP_PEERS),
    Case("http-json-c16", wrk.run, 16, (*CHECKING_PEERS, litellm.PASS_THROUGH), json=True),
    Case("http-1m-c4", wrk.run, 4, CHECKING_PEERS, kib=1024),
    Case("grpc-1k-c16", h2load.run_grpc, 16, GRPC_PEERS, grpc=True),
    Case("grpc-1k-c64", h2load.run_grpc, 64, GRPC_PEERS, grpc=True),
    Case("sse-c64", streams.run, 64, CHECKING_PEERS, stream=True),
    Case("latency-half-rate", h2load.run, 64, CHECKING_PEERS, share=0.5),
    Case("scale-2-workers", wrk.run, 64, workers=2),
    Case("scale-4-workers", wrk.run, 64, workers=4),
)

# The one of `make bench`.
SHORT = replace(CASES[0], peers=CHECKING_PEERS)
