"""LiteLLM's proxy, which passes KServe's own calls on to Triton for holders of its key.

Its `triton/` provider calls models with texts as inputs only, and bench.identity takes numbers; a pass-through endpoint
serves the very calls that the gateway serves. Database, spend logs and access logs are off.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2e.load import tool
from e2e.load.peers.peer import Peer, Upstream
from infra.local.part import Part, http_ok
from infra.local.ports import LOOPBACK

KEY = "sk-benchmark"
# Nothing is asked of the network, and no request is logged.
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "NO_DOCS": "True",
}


def config(triton: int) -> dict[str, Any]:
    """One endpoint with all models of Triton behind it, for callers with the key."""
    models = {
        "path": "/v2/models",
        "target": f"http://{LOOPBACK}:{triton}/v2/models",
        "include_subpath": True,
        "auth": True,
    }
    return {
        "model_list": [],
        "general_settings": {
            "master_key": KEY,
            "disable_spend_logs": True,
            "pass_through_endpoints": [models],
        },
    }


def _part(folder: Path, port: int, upstream: Upstream) -> Part:
    file = folder / "litellm.yaml"
    file.write_text(json.dumps(config(upstream.http)))
    return Part(
        name="litellm",
        # One worker, as the gateway has one.
        argv=(
            *(tool.find("litellm"), "--config", str(file), "--host", LOOPBACK, "--port", str(port)),
            *("--num_workers", "1", "--telemetry", "False"),
        ),
        ports={"http": port},
        probe=lambda: http_ok(port, "/health/readiness"),
        env=ENVIRONMENT,
        cwd=folder,
    )


PASS_THROUGH = Peer(
    "litellm pass-through",
    "its own key, in memory, without a database",
    "litellm",
    _part,
    {"authorization": f"Bearer {KEY}"},
)
