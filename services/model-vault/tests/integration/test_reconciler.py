"""The loop that keeps Triton equal to the chain, look by look."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from licet_kit.db import open_engine
from licet_schemas import manifest as manifests
from licet_schemas.manifest import parse
from licet_vault.clients.triton import TritonUnavailable
from licet_vault.domain import AssetFact, Truth, pinned_name
from licet_vault.reconciler import Reconciler, Timing
from licet_vault.repository.entry import folder_names
from licet_vault.repository.place import Repository
from licet_vault.testing.harness import Vault, second
from licet_vault.usecases.loading import Loader
from sqlalchemy.ext.asyncio import AsyncEngine

from examples.models.bench_identity import build


async def test_an_activated_version_is_loaded_and_told(vault: Vault, tumour_files: dict[str, bytes]) -> None:
    digest = await vault.upload(tumour_files)
    await vault.activate(digest)
    await vault.reconciler.step()
    assert vault.infer(digest) == 200
    assert await vault.states() == [("unloaded", ""), ("ready", ""), ("ready", "")]
    ready = (await vault.told())[1]
    assert ready.triton_model == pinned_name(vault.slug, digest)
    assert (ready.asset_id, ready.slug, ready.version_digest) == (vault.asset_id, vault.slug, digest)
    assert (ready.metering_rule, ready.version) == ("rows:FEATURES", 2)
    schema = json.loads(ready.schema_json)
    assert schema["inputs"] == [{"name": "FEATURES", "datatype": "FP32", "shape": [-1, 30]}]
    assert schema["limits"] == {"max_batch": 256}
    assert schema["features"][0]["unit"] == "image unit"


async def test_a_ready_version_is_left_alone(vault: Vault, identity_files: dict[str, bytes]) -> None:
    await vault.activate(await vault.upload(identity_files))
    await vault.reconciler.step()
    before = await vault.told()
    await vault.reconciler.step()
    assert await vault.told() == before


async def test_states_are_told_again_every_hour(vault: Vault, identity_files: dict[str, bytes]) -> None:
    await vault.activate(await vault.upload(identity_files))
    await vault.reconciler.step()
    before = await vault.told()
    vault.clock.advance(3599)
    await vault.reconciler.step()
    assert await vault.told() == before
    vault.clock.advance(1)
    await vault.reconciler.step()
    assert await vault.told() == [*before, before[-1]]


async def test_the_identity_model_is_served_from_its_manifest_alone(vault: Vault) -> None:
    digest = await vault.upload({"manifest.json": manifests.canonical(build.MANIFEST)})
    await vault.activate(digest)
    await vault.reconciler.step()
    ready = (await vault.told())[-1]
    assert (ready.state, ready.metering_rule) == ("ready", "request")


async def test_a_model_of_whole_numbers_is_probed_with_whole_numbers(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    body = json.loads(identity_files["manifest.json"])
    for tensor in (*body["inputs"], *body["outputs"]):
        tensor["datatype"] = "INT64"
    await vault.activate(await vault.upload({"manifest.json": manifests.canonical(body)}))
    await vault.reconciler.step()
    assert (await vault.states())[-1] == ("ready", "")


async def test_the_old_version_serves_until_the_new_one_is_ready(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    old = await vault.upload(identity_files)
    await vault.activate(old)
    await vault.reconciler.step()
    newer = second(identity_files)
    new = manifests.digest(parse(newer["manifest.json"]))
    await vault.activate(new)
    await vault.reconciler.step()
    assert vault.infer(old, "INPUT0") == 200
    assert (await vault.told())[-1].reason == "artifact_missing"
    await vault.upload(newer)
    vault.reconciler.retry_now()
    await vault.reconciler.step()
    assert vault.infer(new, "INPUT0") == 200
    last = (await vault.told())[-2:]
    assert [(m.version_digest, m.state) for m in last] == [(new, "ready"), (old, "unloaded")]
    await vault.reconciler.step()
    assert vault.infer(old, "INPUT0") != 200
    assert vault.infer(new, "INPUT0") == 200
    assert [p.name for p in vault.plaintext()] == [pinned_name(vault.slug, new)]


async def test_a_replaced_version_stays_loaded_for_its_time_of_grace(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    old, new = await vault.upload(identity_files), await vault.upload(second(identity_files))
    await vault.activate(old)
    await vault.reconciler.step()
    vault.reconciler = Reconciler(
        vault.engine,
        Loader(vault.store, Repository(vault.repository), vault.triton),
        vault.clock,
        Timing(unload_grace_s=3600.0),
    )
    await vault.activate(new)
    await vault.reconciler.step()
    await vault.reconciler.step()
    assert {m.version_digest: m.state for m in await vault.told()} == {old: "unloaded", new: "ready"}
    assert vault.infer(old, "INPUT0") == 200


async def test_an_asset_whose_activation_left_the_chain_is_unloaded(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    digest = await vault.upload(identity_files)
    activation = await vault.activate(digest)
    await vault.reconciler.step()
    await vault.record(
        AssetFact(
            vault.asset_id, activation.kind, activation.position, Truth(1, retracted=True), digest=digest
        )
    )
    await vault.reconciler.step()
    await vault.reconciler.step()
    assert (await vault.told())[-1].state == "unloaded"
    assert vault.infer(digest, "INPUT0") != 200
    assert vault.plaintext() == []


async def test_a_killed_triton_gets_its_versions_back(
    vault: Vault,
    tumour_files: dict[str, bytes],
    kill_triton: Callable[[], None],
    start_triton: Callable[[], None],
) -> None:
    digest = await vault.upload(tumour_files)
    await vault.activate(digest)
    await vault.reconciler.step()
    told = len(await vault.told())
    kill_triton()
    with pytest.raises(TritonUnavailable):
        await vault.reconciler.step()
    assert len(await vault.told()) == told
    start_triton()
    assert vault.infer(digest) != 200
    await vault.reconciler.step()
    assert vault.infer(digest) == 200
    assert (await vault.states())[told:] == [("unloaded", ""), ("ready", "")]


async def test_a_restarted_vault_finds_its_versions_and_tells_them(
    vault: Vault, identity_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    await vault.activate(await vault.upload(identity_files))
    await vault.reconciler.step()
    before = await vault.told()
    vault.restart()
    monkeypatch.setattr(vault.triton, "load", lambda name: pytest.fail("loaded again"))
    await vault.reconciler.step()
    assert await vault.told() == [*before, before[-1]]


async def test_a_version_that_another_hand_has_changed_is_loaded_anew(
    vault: Vault, tumour_files: dict[str, bytes]
) -> None:
    """A half-written entry, one of an older vault, or a file that somebody put there."""
    digest = await vault.upload(tumour_files)
    await vault.activate(digest)
    await vault.reconciler.step()
    name = pinned_name(vault.slug, digest)
    (vault.repository / f"{name}.pipeline/1/scaler.json").write_text('{"mean":[0],"scale":[1]}')
    vault.restart()
    await vault.reconciler.step()
    assert vault.infer(digest) == 200
    scaler = (vault.repository / f"{name}.pipeline/1/scaler.json").read_bytes()
    assert scaler == tumour_files["scaler.json"]


async def test_an_entry_of_other_code_is_replaced_though_triton_says_ready(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    digest = await vault.upload(identity_files)
    await vault.activate(digest)
    await vault.reconciler.step()
    name = pinned_name(vault.slug, digest)
    config = vault.repository / name / "config.pbtxt"
    genuine = config.read_text()
    await vault.triton.unload(*reversed(folder_names(name)))
    config.write_text(genuine.replace('string_value: "', 'string_value: "0'))
    await vault.triton.load(name)
    config.write_text(genuine)
    vault.restart()
    await vault.reconciler.step()
    assert await vault.triton.loaded_entry(name) in genuine
    assert await vault.triton.loaded_entry(name)


async def test_an_outage_of_postgres_is_waited_for(
    vault: Vault,
    identity_files: dict[str, bytes],
    engine: AsyncEngine,
    proxy: Callable[[str, int], Awaitable[Any]],
    eventually: Callable[..., Awaitable[Any]],
) -> None:
    address = engine.url
    door = await proxy(str(address.host), int(address.port or 0))
    async with open_engine(address.set(port=door.port).render_as_string(hide_password=False)) as behind:
        vault.engine = behind
        vault.restart(poll_s=0.02)
        stop = asyncio.Event()
        running = asyncio.create_task(vault.reconciler.run(stop))
        await door.cut()
        vault.engine = engine
        await vault.activate(await vault.upload(identity_files))
        await door.restore()
        await eventually(lambda: _told_ready(vault))
        stop.set()
        await running


async def _told_ready(vault: Vault) -> bool:
    return ("ready", "") in await vault.states()
