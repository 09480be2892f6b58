"""The two halves of the escrow's code find each variable at the same place."""

from __future__ import annotations

import json
from pathlib import Path

LAYOUTS = Path(__file__).resolve().parents[2] / "snapshots/storage.json"


def test_the_escrow_and_its_extension_lay_out_storage_alike() -> None:
    layouts: dict[str, list[str]] = json.loads(LAYOUTS.read_text())
    escrow, extension = (layouts[name] for name in ("UsageEscrow", "EscrowExtension"))
    variables = [entry for entry in escrow if not entry.startswith("struct ")]
    assert variables == [entry for entry in extension if not entry.startswith("struct ")]
    members = {entry for entry in escrow if entry.startswith("struct ")}
    assert members == {entry for entry in extension if entry.startswith("struct ")}
    assert any("_router" in entry for entry in variables)
