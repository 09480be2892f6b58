"""The real data plane on a loop that is turned by hand, with licensing that lends and Tritons that are scripted."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from licet_gateway.dataplane.plane import DataPlane
from licet_gateway.dataplane.pool import Ask
from licet_gateway.dataplane.versions import VersionState
from licet_gateway.domain import LeaseTerms, Refusal
from licet_gateway.settings import DataPlaneLimits, GrpcTarget
from licet_gateway.telemetry import CallTracer
from licet_gateway.testing.keys import CHAIN_ID, api_key

from gateway_fuzz.engine import WrongError
from gateway_fuzz.turning import TurningLoop

HTTP_PORT: Final = 8000
GRPC_PORT: Final = 8001
AUTHORITY: Final = b"triton.test:8000"
URL: Final = f"http://{AUTHORITY.decode()}"
KEY: Final = api_key(1).text.encode()
DIGEST: Final = "0x" + "5a" * 32
# By the public name of a model, how it is metered.
RULES: Final = {"acme.risk": "rows:X", "acme.echo": "request", "acme.bulk": "bytes"}
BODY_MAX: Final = 200_000
# Units beyond this are not lent.
LENT_MAX: Final = 10_000_000


def pinned(model: str) -> str:
    """The name that Triton has for it."""
    return f"{model}-5a5a5a5a5a5a5a5a"


class _Lender:
    """Licensing that lends what is asked for, up to a bound."""

    def __init__(self, loop: TurningLoop) -> None:
        self._loop = loop
        self._leases = 0
        self.plane: DataPlane | None = None

    def ask(self, ask: Ask) -> None:
        self._loop.call_soon(self._answer, ask)

    def give_back(self, lease_id: str, spent: int, last_sequence: int) -> None:
        """Nobody counts it here."""

    def _answer(self, ask: Ask) -> None:
        assert self.plane is not None
        rule = RULES.get(ask.slug.replace("/", "."))
        if rule is None:
            self.plane.book.denied(ask, Refusal("license_missing", "no license", "buy one"))
        elif ask.min_units > LENT_MAX:
            self.plane.book.denied(ask, Refusal("quota_exhausted", "no units are left", "buy more"))
        else:
            self.plane.book.granted(ask, self._terms(ask, rule))

    def _terms(self, ask: Ask, rule: str) -> LeaseTerms:
        self._leases += 1
        return LeaseTerms(
            lease_id=f"{self._leases:032x}",
            grant_id="31337:0xlicense:1:0",
            generation=1,
            account_id=ask.credential.api_key_hash.hex(),
            account_lease=self._leases,
            plan_id="1",
            asset_id="0x01",
            version_digest=DIGEST,
            units=max(1000, ask.units_wanted, ask.min_units),
            ttl_ms=30_000,
            price_book_version="31337:0xplanbook:1",
            metering_rule=rule,
            decision_id="decision",
            slug=ask.slug,
        )


class Bench:
    """A plane that is at rest between two cases."""

    def __init__(self, connect: Callable[[asyncio.BaseProtocol, int], asyncio.Transport]) -> None:
        self.loop = TurningLoop()
        self.loop.connect = connect
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-fuzz-")
        lender = _Lender(self.loop)
        limits = DataPlaneLimits(max_body_bytes=BODY_MAX)
        with self.loop.running():
            self.plane = DataPlane(
                Path(self._folder.name),
                lender,
                (URL,),
                limits,
                chains=[CHAIN_ID],
                tracer=CallTracer(0.0),
                grpc={URL: GrpcTarget("triton.test", GRPC_PORT)},
            )
        lender.plane = self.plane
        self.plane.caught_up = True
        for model, rule in RULES.items():
            self.plane.versions.apply(VersionState(model.replace(".", "/"), DIGEST, URL, True, rule, 1))

    def turn(self) -> None:
        self.loop.turn()

    def close(self) -> None:
        """Whatever is left over is forgotten."""
        self.plane.log.close()
        self._folder.cleanup()

    def check_at_rest(self) -> None:
        """Nothing of a case is left: no call, no connection, no unit that is held. Raises WrongError."""
        self.plane.sweep()
        self.loop.turn()
        plane = self.plane
        if plane.busy or plane.connecting:
            raise WrongError(f"left over: {plane.busy} calls")
        if plane.connections:
            raise WrongError(f"left over: {len(plane.connections)} connections")
        for lease in plane.book.live_leases():
            if lease.holders or lease.held or lease.running:
                raise WrongError(f"left over: {lease.held} units of {lease.holders} calls")
        if any(pool.load for pool in plane.replicas.pools):
            raise WrongError("left over: a connection to Triton")


class Benches:
    """One bench for many cases; another where a case has failed on it, because it is not at rest, or its log grew."""

    def __init__(
        self, connect: Callable[[asyncio.BaseProtocol, int], asyncio.Transport], cases_max: int
    ) -> None:
        self._connect = connect
        self._cases_max = cases_max
        self._cases = 0
        self._bench: Bench | None = None

    @contextmanager
    def case(self) -> Iterator[Bench]:
        """A bench that is at rest; its loop is the thread's inside."""
        if self._cases >= self._cases_max:
            self.close()
        bench = self._bench = self._bench or Bench(self._connect)
        self._cases += 1
        try:
            with bench.loop.running():
                yield bench
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        bench, self._bench, self._cases = self._bench, None, 0
        if bench is not None:
            bench.close()
