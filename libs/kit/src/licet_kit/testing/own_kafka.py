"""A Kafka broker of one's own, for tests that kill it."""

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path

COMMAND_TIMEOUT_S = 120
# Between the defaults of the local stacks and the range of client sockets.
_PORTS = range(28_000, 32_700, 2)


class OwnKafka:
    """A broker in its own folder. Stop it, or it outlives the test."""

    def __init__(self, root: Path, home: Path) -> None:
        self._root = root
        self._home = home
        self.bootstrap = ""

    async def start(self) -> None:
        """Start it and learn its address."""
        self._claim_ports()
        await self._command("up", "--detach", "kafka")
        endpoints = json.loads((self._home / "test" / "endpoints.json").read_text())
        self.bootstrap = endpoints["kafka"]["bootstrap"]

    async def kill(self) -> None:
        """SIGKILL it."""
        await self._command("kill", "kafka")

    async def restart(self) -> None:
        """Start it again at the same address, with its data."""
        await self._command("restart", "kafka")

    async def stop(self) -> None:
        """End it for good."""
        await self._command("down")

    def _claim_ports(self) -> None:
        """Name ports of its own: the first free ones would be taken by another test's broker while this one is dead."""
        first = secrets.choice(_PORTS)
        ports = {"kafka": {"broker": first, "controller": first + 1}}
        (self._home / "test").mkdir(parents=True)
        (self._home / "test" / "ports.json").write_text(json.dumps(ports))

    async def _command(self, command: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infra.local", command, "--profile", "test", *arguments),
            cwd=self._root,
            env={**os.environ, "LICET_STATE_DIR": str(self._home)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            output, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"infra.local {command}: {output.decode(errors='replace')[-1000:]}")
