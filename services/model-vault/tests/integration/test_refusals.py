"""What must not be served is not: nothing of it is loaded or left in memory, and the reason is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from licet_kit.db import transaction
from licet_schemas import manifest as manifests
from licet_schemas.manifest import Manifest, digest_bytes, parse
from licet_vault import db
from licet_vault.db.tables import MANIFEST
from licet_vault.domain import AssetFact, FactKind, Truth, pinned_name
from licet_vault.repository.entry import folder_names
from licet_vault.store import MasterKey, ObjectStore
from licet_vault.testing.harness import LIMIT_BYTES, OWNER, STRANGER, Vault, second
from onnx import helper
from sqlalchemy import delete, update
from tritonclient.http.aio import InferenceServerClient


async def refused(vault: Vault, reason: str) -> None:
    """One look refuses the version, and nothing of it is anywhere."""
    await vault.reconciler.step()
    assert (await vault.states())[-1] == ("refused", reason)
    assert await vault.loaded() == []
    assert vault.plaintext() == []
    told = len(await vault.told())
    vault.clock.advance(120)
    await vault.reconciler.step()
    assert len(await vault.told()) == told


async def test_a_manifest_other_than_the_chains_is_refused(
    vault: Vault, tumour_files: dict[str, bytes]
) -> None:
    uploaded = await vault.upload(tumour_files)
    promised = "0x" + "5" * 64
    await vault.activate(promised, uri=f"https://vault/v1/manifests/{uploaded}")
    await refused(vault, "digest_mismatch")


async def test_a_manifest_changed_in_the_database_is_refused(
    vault: Vault, tumour_files: dict[str, bytes]
) -> None:
    digest = await vault.upload(tumour_files)
    await vault.activate(digest)
    async with transaction(vault.engine) as session:
        await session.execute(update(MANIFEST).values(body=second(tumour_files)["manifest.json"]))
    await refused(vault, "digest_mismatch")


async def test_a_manifest_changed_while_it_is_served_is_unloaded_at_the_next_verification(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    digest = await vault.upload(identity_files)
    await vault.activate(digest)
    await vault.reconciler.step()
    async with transaction(vault.engine) as session:
        await session.execute(update(MANIFEST).values(body=second(identity_files)["manifest.json"]))
    vault.restart()
    await refused(vault, "digest_mismatch")


def damage(store: Path, content: bytes, change: Callable[[bytes], bytes]) -> None:
    (path,) = store.rglob(digest_bytes(content)[2:])
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [lambda b: b[:-1], lambda b: b[:-40] + bytes([b[-40] ^ 1]) + b[-39:]],
    ids=["cut", "bit"],
)
@pytest.mark.parametrize("name", ["model.onnx", "features.json", "scaler.json"])
async def test_a_damaged_artefact_is_refused(
    name: str,
    change: Callable[[bytes], bytes],
    vault: Vault,
    tumour_files: dict[str, bytes],
    tmp_path: Path,
) -> None:
    digest = await vault.upload(tumour_files)
    damage(tmp_path / "store", tumour_files[name], change)
    await vault.activate(digest)
    await refused(vault, "digest_mismatch")


async def test_one_publishers_artefact_in_anothers_place_is_refused(
    vault: Vault, tumour_files: dict[str, bytes], tmp_path: Path
) -> None:
    digest = await vault.upload(tumour_files)
    vault.put(b"another model")
    (other,) = (tmp_path / "store").rglob(digest_bytes(b"another model")[2:])
    damage(tmp_path / "store", tumour_files["model.onnx"], lambda _: other.read_bytes())
    await vault.activate(digest)
    await refused(vault, "digest_mismatch")


async def test_a_missing_manifest_is_waited_for(vault: Vault, identity_files: dict[str, bytes]) -> None:
    digest = manifests.digest(parse(identity_files["manifest.json"]))
    await vault.activate(digest)
    await refused(vault, "artifact_missing")
    await vault.upload(identity_files)
    await vault.reconciler.step()
    assert (await vault.states())[-1] == ("refused", "artifact_missing")
    vault.clock.advance(60)
    await vault.reconciler.step()
    assert (await vault.states())[-1] == ("ready", "")


async def test_a_missing_artefact_is_waited_for(
    vault: Vault, tumour_files: dict[str, bytes], tmp_path: Path
) -> None:
    digest = await vault.upload(tumour_files)
    (path,) = (tmp_path / "store").rglob(digest_bytes(tumour_files["scaler.json"])[2:])
    path.unlink()
    await vault.activate(digest)
    await refused(vault, "artifact_missing")
    vault.put(tumour_files["scaler.json"])
    vault.reconciler.retry_now()
    await vault.reconciler.step()
    assert (await vault.states())[-1] == ("ready", "")


async def test_anothers_manifest_under_an_asset_of_ones_own_is_refused(
    vault: Vault, tumour_files: dict[str, bytes]
) -> None:
    """Manifests are public: a stranger may publish the digest, and must not get the weights served."""
    digest = await vault.upload(tumour_files, wallet=STRANGER)
    await vault.activate(digest)
    await refused(vault, "publisher_mismatch")


async def test_a_sold_asset_keeps_its_version(vault: Vault, identity_files: dict[str, bytes]) -> None:
    digest = await vault.upload(identity_files)
    await vault.activate(digest)
    await vault.fact(FactKind.TRANSFERRED, owner=STRANGER)
    vault.restart()
    await vault.reconciler.step()
    assert (await vault.states())[-1] == ("ready", "")


async def test_another_master_key_serves_nothing(
    vault: Vault, tumour_files: dict[str, bytes], tmp_path: Path
) -> None:
    digest = await vault.upload(tumour_files)
    await vault.activate(digest)
    vault.store = ObjectStore(tmp_path / "store", MasterKey(bytes([1] * 32)), limit_bytes=LIMIT_BYTES)
    vault.restart()
    await refused(vault, "load_failed")


def unknown_operator(graph: onnx.ModelProto) -> None:
    graph.graph.node.append(helper.make_node("NoSuchOperator", ["PROBABILITIES"], ["y"]))


def not_a_number(graph: onnx.ModelProto) -> None:
    last = graph.graph.node[-1]
    last.output[0] = "p"
    graph.graph.node.append(helper.make_node("Neg", ["p"], ["minus"]))
    graph.graph.node.append(helper.make_node("Log", ["minus"], ["PROBABILITIES"]))


@pytest.mark.parametrize("change", [unknown_operator, not_a_number])
async def test_a_graph_that_only_fails_when_it_runs_is_refused(
    change: Callable[[onnx.ModelProto], None], vault: Vault, tumour_files: dict[str, bytes]
) -> None:
    graph = onnx.load_from_string(tumour_files["model.onnx"])
    change(graph)
    body = graph.SerializeToString()
    manifest = json.loads(tumour_files["manifest.json"])
    for artifact in manifest["artifacts"]:
        if artifact["name"] == "model.onnx":
            artifact.update(sha256=digest_bytes(body), size_bytes=len(body))
    files = {**tumour_files, "model.onnx": body, "manifest.json": manifests.canonical(manifest)}
    await vault.activate(await vault.upload(files))
    await refused(vault, "load_failed")


async def test_one_refused_version_does_not_hold_up_the_others(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    digest = await vault.upload(identity_files)
    first = vault.asset_id
    await vault.activate("0x" + "6" * 64)
    vault.slug, vault.asset_id = f"{vault.slug}-2", "0xf" + first[3:]
    await vault.fact(FactKind.REGISTERED, owner=OWNER, slug=vault.slug)
    await vault.activate(digest)
    await vault.reconciler.step()
    assert {m.asset_id: m.state for m in await vault.told()} == {first: "refused", vault.asset_id: "ready"}


@pytest.mark.parametrize("silent", ["infer", "unload_model"])
async def test_a_version_that_never_answers_does_not_hold_up_the_others(
    silent: str, vault: Vault, identity_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await vault.upload(identity_files)
    first, bad = vault.asset_id, pinned_name(vault.slug, digest)
    answers = getattr(InferenceServerClient, silent)

    async def hang(client: InferenceServerClient, name: str, *args: Any) -> Any:
        if name == bad:
            raise TimeoutError
        return await answers(client, name, *args)

    monkeypatch.setattr(InferenceServerClient, silent, hang)
    await vault.activate(digest)
    vault.slug, vault.asset_id = f"{vault.slug}-2", "0xf" + first[3:]
    await vault.fact(FactKind.REGISTERED, owner=OWNER, slug=vault.slug)
    await vault.activate(digest)
    await vault.reconciler.step()
    assert {m.asset_id: (m.state, m.reason) for m in await vault.told()} == {
        first: ("refused", "load_failed"),
        vault.asset_id: ("ready", ""),
    }


async def test_a_name_that_two_assets_share_is_not_unloaded_for_one_of_them(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    """One owner, one slug, one manifest, two chains."""
    digest = await vault.upload(identity_files)
    activation = await vault.activate(digest)
    first = vault.asset_id
    vault.asset_id = "0xe" + first[3:]
    await vault.fact(FactKind.REGISTERED, owner=OWNER, slug=vault.slug)
    await vault.activate(digest)
    await vault.reconciler.step()
    gone = Truth(1, retracted=True)
    await vault.record(AssetFact(first, activation.kind, activation.position, gone, digest=digest))
    for _ in range(3):
        await vault.reconciler.step()
    assert {m.asset_id: m.state for m in await vault.told()} == {first: "unloaded", vault.asset_id: "ready"}
    assert vault.infer(digest, "INPUT0") == 200


async def test_an_asset_that_the_vault_has_never_seen_is_nothing_to_it(
    vault: Vault, tumour_manifest: Manifest
) -> None:
    await vault.fact(FactKind.ACTIVATED, digest=manifests.digest(tumour_manifest))
    await vault.reconciler.step()
    assert await vault.told() == []


async def test_a_lost_event_is_made_good_by_the_next_look(
    vault: Vault, identity_files: dict[str, bytes]
) -> None:
    """The loop compares; it needs no event of its own to have arrived."""
    digest = await vault.upload(identity_files)
    await vault.activate(digest)
    await vault.reconciler.step()
    async with transaction(vault.engine) as session:
        await session.execute(delete(db.TABLES.outbox))
    await vault.triton.unload(*reversed(folder_names(pinned_name(vault.slug, digest))))
    await vault.reconciler.step()
    assert await vault.states() == [("unloaded", ""), ("ready", "")]
