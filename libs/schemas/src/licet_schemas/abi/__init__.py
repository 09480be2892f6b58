"""ABIs of the contracts, exported by tools/abi.py."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any


@functools.cache
def _text(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")


def load_abi(name: str) -> list[dict[str, Any]]:
    """The ABI of a contract, for instance `load_abi("AssetRegistry")`; a fresh list at each call.

    Raises FileNotFoundError for a name that is not exported.
    """
    abi: list[dict[str, Any]] = json.loads(_text(name))
    return abi
