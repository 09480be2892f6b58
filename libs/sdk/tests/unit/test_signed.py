"""What the SDK lets wallets sign has the fields and domains of the vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from licet_sdk import gate, market, vouchers

VECTORS = Path(__file__).resolve().parents[4] / "proto/vectors/signed.json"


@pytest.mark.parametrize(
    ("title", "types", "domain"),
    [
        ("credentials", gate._TYPES, "Licet Credential"),
        ("orders", market._TYPES, "Licet Order"),
        ("vouchers", vouchers._TYPES, "Licet Voucher"),
    ],
)
def test_signers_of_the_vectors_sign_the_sdks_types(
    title: str, types: dict[str, list[dict[str, str]]], domain: str
) -> None:
    content = json.loads(VECTORS.read_text(encoding="utf-8"))
    ((name, fields),) = types.items()
    for vector in content[title]:
        signable = encode_typed_data(
            domain_data={"name": domain, "version": "1", **content["domain"]},
            message_types=types,
            message_data={f["name"]: _plain(f["type"], vector[name.lower()][f["name"]]) for f in fields},
        )
        signer = Account.recover_message(signable, signature=bytes.fromhex(vector["signature"][2:]))
        assert signer.lower() == vector["signer"]


def _plain(kind: str, value: Any) -> Any:
    return int(value) if kind.startswith("uint") else value
