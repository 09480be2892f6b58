"""The stack of one profile: start, kill, restart, watch, stop. A library for the demo and the e2e tests.

Processes belong to the machine, not to the object: any `Stack("demo")` in any process sees and steers the
same ones through the profile's state file.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local import claims
from infra.local import postgres as pg
from infra.local.chain import SavedState
from infra.local.errors import LocalError
from infra.local.launch import Launch, Node, PartFailed
from infra.local.part import Part
from infra.local.paths import LOCAL
from infra.local.ports import Ports, choose, free_now
from infra.local.process import ProcessId, send, wait_gone
from infra.local.profile import (
    OPTIONAL,
    SECOND_CHAIN,
    SERVERS,
    SERVICES,
    STOP_WAVES,
    Profile,
    read_json,
    write_json,
)
from infra.local.servers import server_endpoints, server_parts
from infra.local.services import Services
from infra.local.state import State, locked
from infra.local.triton import memory_folder, remove_memory

WATCH_S = 0.5
KILL_TIMEOUT_S = 10.0
DEFAULT_STOP = (signal.SIGTERM, 15.0)
STOP_RULES = {
    "postgres": (signal.SIGINT, 15.0),  # fast shutdown: cut the sessions, then a clean checkpoint
    "kafka": (signal.SIGTERM, 20.0),  # hands its partitions over and closes its log segments
}
GROUPS = {"servers": SERVERS, "services": SERVICES}
DATA = ("postgres", "kafka", "chain", SECOND_CHAIN, "vault", "gateway-1", "gateway-2", "stamps")

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One line of `status`."""

    name: str
    state: str
    pid: int | None
    ports: Ports
    rss_mib: int
    log: Path


class Stack:
    """One profile's processes. Every method is safe to call from several processes at once."""

    def __init__(self, profile: str | Profile = "dev", report: Report = lambda line: None) -> None:
        self.profile = Profile.named(profile) if isinstance(profile, str) else profile
        self._report = report
        self._saving = threading.Lock()

    @property
    def endpoints(self) -> dict[str, Any]:
        """Addresses of the running stack, as `endpoints.json` holds them; empty when it is down."""
        return read_json(self.profile.endpoints_file) or {}

    def start(self, names: Iterable[str] | None = None, *, without: Iterable[str] = ()) -> list[str]:
        """Start the named parts or groups (`servers`, `services`) in health order; returns what was started.

        `without` leaves parts or groups out of them, and out of the profile's own where none is named.
        Parts that run already are left alone. If one fails, everything that this call started is stopped
        again and `PartFailed` says which log to read.
        """
        left_out = self._expand(without)
        wanted = [name for name in self._expand(names) if name not in left_out]
        with locked(self.profile):
            state = State.load(self.profile)
            if all(state.alive(name) for name in wanted):
                return []
            self._clean(state)
            starting = [name for name in wanted if not state.alive(name)]
            died = {name: state.running[name] for name in starting if name in state.running}
            try:
                self._launch(starting, state, first=True)
            except BaseException:
                self._stop_parts(state, starting)
                # What ran before and could not be brought back is still missing, and status has to say so.
                state.running |= died
                state.save(self.profile)
                raise
            self._write_endpoints(state)
            return starting

    def kill(self, name: str) -> None:
        """SIGKILL a part and its children. The stack stays up: this part is now expected to be down."""
        with locked(self.profile):
            state = self._expect_down(name)
            if name in {"chain", SECOND_CHAIN}:
                SavedState(self.profile.home / name).keep()
            tree = state.running[name].tree()
            send(tree, signal.SIGKILL)
            wait_gone(tree, KILL_TIMEOUT_S)

    def restart(self, name: str) -> None:
        """Start a part again, on its ports and its data; one that still runs is stopped cleanly first."""
        with locked(self.profile):
            state = self._expect_down(name)
            self._stop_process(name, state.running[name])
            self._launch([name], state, first=False)
            state.expected_down.discard(name)
            state.save(self.profile)

    def status(self) -> list[PartStatus]:
        """Every part that was started, the servers first: always in one order, however their starts overlapped."""
        state, ports = State.load(self.profile), self._kept_ports()
        return [
            PartStatus(
                name=name,
                state="up" if process.alive() else "killed" if name in state.expected_down else "dead",
                pid=process.pid if process.alive() else None,
                ports=ports.get(name, {}),
                rss_mib=process.rss_mib(),
                log=self.profile.log(name),
            )
            for name in (*SERVERS, *OPTIONAL, *SERVICES)
            if (process := state.running.get(name))
        ]

    def watch(self, stopped: threading.Event) -> None:
        """Block until `stopped` is set or the stack is taken down elsewhere; raise when a part dies."""
        while not stopped.wait(WATCH_S):
            state = State.load(self.profile)
            if not state.running:
                return
            if dead := state.dead():
                raise PartFailed(dead[0], "died", self.profile.log(dead[0]))

    def stop(self) -> list[str]:
        """Stop everything of this profile, the services before the servers; returns the names."""
        with locked(self.profile):
            state = State.load(self.profile)
            names = [name for name in state.running if state.alive(name)]
            self._stop_parts(state, list(state.running))
            remove_memory(state.memory)
            State().save(self.profile)
            self.profile.endpoints_file.unlink(missing_ok=True)
            claims.release(self.profile.home)
            return names

    def wipe(self) -> None:
        """Forget all data of a stopped profile; its ports and its identities are kept.

        Raises LocalError where books on an external database would outlive the chain that they are about.
        """
        with locked(self.profile):
            state = State.load(self.profile)
            if any(state.alive(name) for name in state.running):
                raise LocalError(f"profile {self.profile.name} still runs: stop it first (make down)")
            self._refuse_foreign_books()
            self._remove_data()

    # Everything below runs inside the profile's lock.

    def _expand(self, names: Iterable[str] | None) -> list[str]:
        asked = list(names) if names is not None else list(self.profile.default_parts)
        flat = [part for name in asked for part in GROUPS.get(name, (name,))]
        known = (*SERVERS, *OPTIONAL, *SERVICES)
        if unknown := [name for name in flat if name not in known]:
            raise LocalError(f"no part is called {unknown[0]}: {', '.join((*GROUPS, *known))}")
        return [name for name in known if name in flat and name not in self.profile.external]

    def _clean(self, state: State) -> None:
        """Before a start from nothing: no leftovers, and no old data for a profile that tests use."""
        if any(state.alive(name) for name in state.running):
            return
        remove_memory(state.memory)
        state.running, state.expected_down, state.memory = {}, set(), None
        if self.profile.name == "test":
            self._remove_data()

    def _refuse_foreign_books(self) -> None:
        external = self.profile.external
        if "postgres" not in external or "chain" in external:
            return
        if kept := pg.databases_at(external["postgres"]):
            raise LocalError(
                f"the server of DATABASE_URL holds the books of an earlier chain: drop {', '.join(kept)} there "
                "before a new chain begins, or name an empty server"
            )

    def _remove_data(self) -> None:
        pg.remove_outside(self.profile.home)
        for name in DATA:
            shutil.rmtree(self.profile.home / name, ignore_errors=True)
        self.profile.chains_file.unlink(missing_ok=True)

    def _launch(self, names: list[str], state: State, *, first: bool) -> None:
        if state.memory is None or not state.memory.is_dir():
            state.memory = memory_folder(self.profile.name)
        alive = {name for name in state.running if state.alive(name)}
        ports = self._choose_ports(alive) if first else self._kept_ports()

        def remember(name: str, process: ProcessId) -> None:
            with self._saving:
                state.running[name] = process
                state.save(self.profile)

        def tell(node: Node, seconds: float) -> None:
            where = (
                ", ".join(f"{role} {port}" for role, port in node.ports.items())
                if isinstance(node, Part)
                else ""
            )
            self._report(f"{node.name:16} ready in {seconds:4.1f} s  {where}".rstrip())

        nodes = self._nodes(names, ports, state.memory, with_tasks=first)
        Launch(log=self.profile.log, on_spawn=remember, on_ready=tell).all(nodes, alive)

    def _nodes(
        self, names: list[str], ports: dict[str, Ports], memory: Path, *, with_tasks: bool
    ) -> dict[str, Node]:
        """What has to be started or done, by name; services bring their tasks when they start first."""
        nodes: list[Node] = [*server_parts(self.profile, ports, memory, names)]
        if SECOND_CHAIN in names and with_tasks:
            away = self._services(ports, memory)
            away.keyring.make()
            second = away.second_deployment()
            nodes.append(second)
            names = [*names, second.name]
        if any(name in SERVICES for name in names):
            services = self._services(ports, memory)
            services.keyring.make()
            nodes += services.parts()
            if with_tasks:
                tasks = services.tasks(names)
                nodes += tasks
                names = [*names, *(task.name for task in tasks)]
        return {node.name: node for node in nodes if node.name in names}

    def _services(self, ports: dict[str, Ports], memory: Path | None) -> Services:
        return Services(self.profile, ports, server_endpoints(self.profile, ports, memory))

    def _choose_ports(self, alive: Iterable[str]) -> dict[str, Ports]:
        """Ports of every part; those that run keep theirs."""
        with claims.choosing(self.profile.home) as held:
            free = free_now()
            ports = choose(
                self.profile.default_ports,
                self._kept_ports(),
                frozenset(alive),
                free=lambda port: port not in held and free(port),
            )
            claims.hold(self.profile.home, (port for part in ports.values() for port in part.values()))
        write_json(self.profile.home / "ports.json", ports)
        return ports

    def _kept_ports(self) -> dict[str, Ports]:
        return read_json(self.profile.home / "ports.json") or {}

    def _write_endpoints(self, state: State) -> None:
        """Publish the addresses; the newest stack in use is also found at `.local/endpoints.json`."""
        ports = self._kept_ports()
        found = server_endpoints(self.profile, ports, state.memory)
        if any(name in SERVICES for name in state.running):
            found |= self._services(ports, state.memory).addresses()
        write_json(self.profile.endpoints_file, found)
        if self.profile.home.parent == LOCAL and self.profile.name != "test":
            link = LOCAL / "endpoints.json"
            link.unlink(missing_ok=True)
            link.symlink_to(self.profile.endpoints_file.relative_to(LOCAL))

    def _expect_down(self, name: str) -> State:
        state = State.load(self.profile)
        if name not in state.running:
            raise LocalError(f"{name} was not started in profile {self.profile.name}")
        state.expected_down.add(name)
        state.save(self.profile)
        return state

    def _stop_parts(self, state: State, names: list[str]) -> None:
        for wave in STOP_WAVES:
            leaving = [name for name in wave if name in names and name in state.running]
            # Told before they go: whoever watches must not take it for a death.
            state.expected_down.update(leaving)
            state.save(self.profile)
            with ThreadPoolExecutor(max(len(leaving), 1)) as pool:
                list(pool.map(lambda name: self._stop_process(name, state.running[name]), leaving))
            for name in leaving:
                del state.running[name]
                state.expected_down.discard(name)
            state.save(self.profile)

    def _stop_process(self, name: str, process: ProcessId) -> None:
        """Ask the process to end, then insist; children that outlive their parent are killed."""
        tree = process.tree()
        if not tree:
            return
        number, timeout_s = STOP_RULES.get(name, DEFAULT_STOP)
        send([process], number)
        wait_gone([process], timeout_s)
        send(tree, signal.SIGKILL)
        wait_gone(tree, KILL_TIMEOUT_S)
        self._report(f"{name:16} stopped")
