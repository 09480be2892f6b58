"""How long a right that has left the chain is still honoured.

Each trial moves a license between two wallets while the old holder calls both workers without pause, and measures from
the moment the node first serves the block with the transfer to each worker's first refusal.
"""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field

import httpx2
from licet_sdk.chain import PlanOffer

from e2e.demo import books, story
from e2e.demo.steps import Notes
from e2e.traffic import infer_request
from e2e.world import World

BLOCK_POLL_S = 0.005
TRIAL_DEADLINE_S = 15.0


@dataclass(slots=True)
class Probe:
    """Calls one worker until it refuses; `refused_at` is monotonic seconds."""

    url: str
    key: str
    refused_at: float = 0.0
    answered: int = 0
    code: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Calls without pause until the first refusal with license_transferred, or until stopped."""
        path, body, headers = infer_request(self.key)
        with httpx2.Client(timeout=5.0) as client:
            while not self._stop.is_set():
                response = client.post(self.url + path, content=body, headers=headers)
                if response.status_code == httpx2.codes.OK:
                    self.answered += 1
                    continue
                self.code = response.json().get("code", "")
                if self.code == "license_transferred":
                    self.refused_at = time.monotonic()
                    return

    def stop(self) -> None:
        """Ends the calls."""
        self._stop.set()


def endless_plan(world: World, notes: Notes) -> int:
    """A plan whose units outlast the benchmark, usable before it is final."""
    units = 10_000_000
    offer = PlanOffer(
        price=1,
        period_s=86_400,
        included_units=units,
        optimistic_units=units,
        unit_price=0,
        metering_rule="rows:FEATURES",
        requests_per_s=1_000_000,
        server=world.actor("operator").address,
        terms_digest=books.digest_of(story.TERMS),
    )
    plan, _ = world.client("publisher").chain.create_plan(notes["asset_id"], offer)
    return plan


def trial(world: World, notes: Notes, token_id: int, old: str, new: str) -> list[float]:
    """Milliseconds from the block's arrival to the first refusal, one a worker."""
    probes = [Probe(url, notes[f"{old}_key"]) for url in world.config.gateway]
    threads = [threading.Thread(target=p.run, daemon=True) for p in probes]
    for thread in threads:
        thread.start()
    _wait(lambda: all(p.answered for p in probes), "the old holder's calls are answered")
    client = world.client(old)
    seen: list[float] = []
    watcher = threading.Thread(target=_first_sight, args=(world, token_id, seen), daemon=True)
    watcher.start()
    client.chain.transfer_license(token_id, world.client(new).chain.wallet)
    watcher.join(TRIAL_DEADLINE_S)
    for thread in threads:
        thread.join(TRIAL_DEADLINE_S)
    for probe in probes:
        probe.stop()
    if not seen or not all(p.refused_at for p in probes):
        raise AssertionError(f"no refusal within {TRIAL_DEADLINE_S:.0f} s: {[p.code for p in probes]}")
    return [(p.refused_at - seen[0]) * 1000 for p in probes]


def _first_sight(world: World, token_id: int, seen: list[float]) -> None:
    chain = world.chain
    owner = chain.call("License", "ownerOf", token_id)
    ends = time.monotonic() + TRIAL_DEADLINE_S
    while time.monotonic() < ends:
        if chain.call("License", "ownerOf", token_id) != owner:
            seen.append(time.monotonic())
            return
        time.sleep(BLOCK_POLL_S)


def _wait(condition: object, what: str) -> None:
    ends = time.monotonic() + TRIAL_DEADLINE_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > ends:
            raise AssertionError(f"{what}: not within {TRIAL_DEADLINE_S:.0f} s")
        time.sleep(0.01)


def run(world: World, notes: Notes, token_id: int, trials: int = 30) -> dict[str, object]:
    """Figures over all trials and workers, milliseconds."""
    holders = ["giver", "taker"]
    found: list[float] = []
    for number in range(trials):
        old, new = holders[number % 2], holders[(number + 1) % 2]
        found += trial(world, notes, token_id, old, new)
    ordered = sorted(found)
    return {
        "bench": "revocation",
        "case": "transfer-to-first-refusal",
        "trials": trials,
        "workers": len(world.config.gateway),
        "p50_ms": round(statistics.median(ordered), 1),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "max_ms": round(ordered[-1], 1),
    }
