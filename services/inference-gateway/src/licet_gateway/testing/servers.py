"""A Triton of one's own, for tests that kill it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

COMMAND_TIMEOUT_S = 120


class OwnTriton:
    """A server in its own state folder. Stop it, or it outlives the test."""

    def __init__(self, root: Path, home: Path) -> None:
        self._root = root
        self._home = home
        self.http = ""
        self.grpc = ""
        self.repository = ""

    async def start(self) -> None:
        """Start it and learn its address."""
        await self._command("up", "--detach", "triton")
        endpoints = json.loads((self._home / "test" / "endpoints.json").read_text())
        self.http = endpoints["triton"]["http"]
        self.grpc = endpoints["triton"]["grpc"]
        self.repository = endpoints["triton"]["repository"]

    async def kill(self) -> None:
        """SIGKILL it."""
        await self._command("kill", "triton")

    async def restart(self) -> None:
        """Start it again where it was, with its repository; its models are to be loaded."""
        await self._command("restart", "triton")

    async def stop(self) -> None:
        """End it for good."""
        await self._command("down")

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
