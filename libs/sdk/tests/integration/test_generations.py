"""A wallet takes its license into the next generation of the real contracts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from licet_kit.testing.generations import succeed_licenses
from licet_sdk.chain import Chain, PlanOffer
from licet_sdk.config import Config
from licet_sdk.errors import ChainError

DIGEST = "0x" + "ab" * 32
PRICE = 5_000_000


async def test_a_license_moves_on_and_is_renewed_there(chain: Any, repository: Path) -> None:
    deployed = await chain()
    config = Config(chains_file=str(deployed.chains_file), private_key=deployed.account(3).key)
    wallet = Chain(config)
    asset_id, _ = wallet.register_asset("clinic/risk")
    offer = PlanOffer(PRICE, 86_400, 10, 1, "request", server=wallet.wallet, terms_digest=DIGEST)
    plan_id, _ = wallet.create_plan(asset_id, offer)
    wallet.send("TestUSD", "mint", wallet.wallet, 2 * PRICE)
    token_id, _ = wallet.buy(plan_id)
    with pytest.raises(ChainError) as none:
        wallet.migrate_license(token_id)
    assert none.value.code == "license_unknown"
    wallet.close()

    await succeed_licenses(deployed, repository)
    wallet = Chain(config)
    wallet.approve("LicenseSale", PRICE)
    with pytest.raises(ChainError, match="License_Unknown"):
        wallet.send("LicenseSale", "renew", token_id, PRICE)
    wallet.migrate_license(token_id)
    assert wallet.call("License", "ownerOf", token_id) == wallet.wallet
    assert wallet.send("LicenseSale", "renew", token_id, PRICE).events["LicenseRenewed"]["ordinal"] == 1
    with pytest.raises(ChainError) as again:
        wallet.migrate_license(token_id)
    assert again.value.code == "license_unknown"
    wallet.close()
