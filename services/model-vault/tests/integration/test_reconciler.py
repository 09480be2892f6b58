"""The loop on a real Triton, Postgres and store; only the clock is ours."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import onnx
import pytest
from licet_kit.clock import ManualClock
from licet_kit.db import reading, transaction
from licet_kit.ids import new_id
from licet_schemas import manifest as manifests
from licet_schemas.licet.vault.v1.vault_pb2 import VersionStateChanged
from licet_schemas.manifest import Manifest, digest_bytes, parse
from licet_vault import db
from licet_vault.clients.triton import Triton, TritonUnavailable
from licet_vault.db.tables import MANIFEST
from licet_vault.domain import AssetFact, FactKind, Position, Publisher, Truth, pinned_name
from licet_vault.reconciler import Reconciler, Timing
from licet_vault.repository.entry import folder_names
from licet_vault.repository.place import Repository
from licet_vault.store import MasterKey, ObjectStore
from licet_vault.usecases.loading import Loader
from licet_vault.usecases.publishing import record_manifest
from onnx import helper
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from examples.models.bench_identity import build
from examples.models.tumour_risk import train

OWNER, STRANGER = ("0x" + digit * 40 for digit in "ab")
GRACE_S = 5.0
LIMIT_BYTES = 4 << 20


class Vault:
    """What a vault consists of, without its servers; `restart` makes a new process of it."""

    def __init__(self, engine: AsyncEngine, store: ObjectStore, repository: Path, url: str) -> None:
        self.engine = engine
        self.store = store
        self.repository = repository
        self.slug = f"t{new_id()[-10:]}/risk"
        self.asset_id = "0x" + new_id() * 2
        self._url = url
        self._block = 0
        self._tritons: list[Triton] = []
        self.restart()

    def restart(self) -> None:
        """A vault that remembers nothing but Postgres, store and repository."""
        self.clock = ManualClock()
        self.triton = Triton(self._url, load_timeout_s=60)
        self._tritons.append(self.triton)
        loader = Loader(self.store, Repository(self.repository), self.triton)
        # Grace counts by the database's clock, which no test moves; most tests let go at once.
        timing = Timing(unload_grace_s=0.0, announce_s=3600.0)
        self.reconciler = Reconciler(self.engine, loader, self.clock, timing)

    async def close(self) -> None:
        for triton in self._tritons:
            await triton.close()

    def put(self, content: bytes) -> None:
        with self.store.receive(digest_bytes(content)) as upload:
            upload.write(content)
            upload.finish()

    async def upload(self, files: dict[str, bytes], wallet: str = OWNER) -> str:
        """Artefacts and manifest, as after the publisher's calls; returns the digest."""
        for name, body in files.items():
            if name != "manifest.json":
                self.put(body)
        manifest = parse(files["manifest.json"])
        async with transaction(self.engine) as session:
            await record_manifest(session, Publisher("account", frozenset([wallet])), manifest)
        return manifests.digest(manifest)

    async def fact(self, kind: FactKind, **values: Any) -> AssetFact:
        """The next log of the chain."""
        self._block += 1
        position = Position(31337, self._block, f"0x{self._block}", 0)
        fact = AssetFact(self.asset_id, kind, position, Truth(1, retracted=False), **values)
        await self.record(fact)
        return fact

    async def record(self, fact: AssetFact) -> None:
        async with transaction(self.engine) as session:
            await db.record_fact(session, fact)

    async def activate(self, digest: str, uri: str = "") -> AssetFact:
        """Registers if need be, publishes and activates; returns the activation."""
        if self._block == 0:
            await self.fact(FactKind.REGISTERED, owner=OWNER, slug=self.slug)
        await self.fact(FactKind.PUBLISHED, digest=digest, uri=uri)
        return await self.fact(FactKind.ACTIVATED, digest=digest)

    async def told(self) -> list[VersionStateChanged]:
        """Everything that was announced, in order."""
        async with reading(self.engine) as session:
            rows = await session.execute(select(db.TABLES.outbox).order_by(db.TABLES.outbox.c.id))
            return [VersionStateChanged.FromString(row.payload) for row in rows]

    async def states(self) -> list[tuple[str, str]]:
        """State and reason of every announcement."""
        return [(m.state, m.reason) for m in await self.told()]

    def plaintext(self) -> list[Path]:
        """What the repository holds of this asset."""
        return [p for p in self.repository.iterdir() if p.name.startswith(self.slug.replace("/", "."))]

    def infer(self, digest: str, name: str = "FEATURES") -> int:
        """Status of one call under the pinned name."""
        row = {"FEATURES": train.load().held_out.x[:1], "INPUT0": np.zeros((1, build.COLUMNS))}[name]
        given = {"name": name, "datatype": "FP32", "shape": list(row.shape), "data": row.ravel().tolist()}
        url = f"{self._url}/v2/models/{pinned_name(self.slug, digest)}/infer"
        return httpx2.post(url, content=json.dumps({"inputs": [given]}), timeout=20).status_code

    async def loaded(self) -> list[str]:
        """Models of this asset that Triton has loaded."""
        return [
            name for name in await self.triton.ready_models() if name.startswith(self.slug.replace("/", "."))
        ]


@pytest.fixture
async def vault(
    engine: AsyncEngine, tmp_path: Path, triton_repository: Path, triton_url: str
) -> AsyncIterator[Vault]:
    store = ObjectStore(tmp_path / "store", MasterKey(bytes(32)), limit_bytes=LIMIT_BYTES)
    store.prepare()
    made = Vault(engine, store, triton_repository, triton_url)
    yield made
    await made.close()


@pytest.fixture
def identity_files() -> dict[str, bytes]:
    """A version that Triton loads faster than the example, where only its life counts."""
    return {"manifest.json": manifests.canonical(build.MANIFEST)}


def second(files: dict[str, bytes]) -> dict[str, bytes]:
    """Another version of the example: the same artefacts under another manifest."""
    body = json.loads(files["manifest.json"])
    body["summary"] = "The same, told otherwise."
    return {**files, "manifest.json": manifests.canonical(body)}


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
