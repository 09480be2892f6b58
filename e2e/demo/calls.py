"""How the story calls the model: NVIDIA's own client, with a key in a header and nothing else changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from licet_schemas.licet.usage.v1 import usage_pb2
from licet_sdk.errors import Refused
from licet_sdk.inference import Inference
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from tritonclient.http import InferenceServerClient, InferInput

from e2e.demo.steps import Notes
from e2e.observe import eventually
from e2e.world import World

MODEL = "clinic.tumour-risk"
Rows = NDArray[np.float32]


def held_out(count: int, start: int = 0) -> Rows:
    """Rows of the data set: [count, 30] float32."""
    return np.ascontiguousarray(load_breast_cancer().data[start : start + count], dtype=np.float32)


def make_key(world: World, notes: Notes, name: str) -> None:
    """An actor signs in with its wallet and makes an API key."""
    client = world.client(name)
    client.licensing.login(client.chain.chain_id)
    notes[f"{name}_key"] = client.licensing.create_key("demo")["key"]
    notes[f"{name}_account"] = client.licensing.account()["account_id"]


def through(world: World, notes: Notes, name: str, rows: Rows, *, replica: int = 0) -> Rows:
    """One call through a gateway replica; returns probabilities [rows, 2]. Raises what tritonclient raises."""
    headers = {"authorization": f"Bearer {notes[f'{name}_key']}"}
    answer = _infer(world.config.gateway[replica], MODEL, rows, headers)
    _count(notes, len(rows))
    return answer


def direct(world: World, notes: Notes, rows: Rows) -> Rows:
    """The same call to Triton itself, under the pinned name."""
    return _infer(world.endpoints["triton"]["http"], f"{MODEL}-{notes['digest'][2:18]}", rows, {})


def _infer(url: str, model: str, rows: Rows, headers: dict[str, str]) -> Rows:
    client = InferenceServerClient(url.rsplit("//", maxsplit=1)[-1])
    try:
        tensor = InferInput("FEATURES", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        answer = client.infer(model, [tensor], headers=headers).as_numpy("PROBABILITIES")
    finally:
        client.close()
    return np.asarray(answer, dtype=np.float32)


def refusal_code(world: World, notes: Notes, name: str, *, replica: int = 0, rows: int = 1) -> str:
    """The code with which a call is refused; "" when it is answered. By the SDK: Triton's client drops the code."""
    config = replace(world.config, api_key=notes[f"{name}_key"])
    call = Inference(config, replica)
    try:
        call(MODEL.replace(".", "/", 1), {"FEATURES": held_out(rows)})
    except Refused as refused:
        return refused.code
    finally:
        call.close()
    _count(notes, rows)
    return ""


def answered(notes: Notes) -> int:
    """Rows that callers have answers for, as they counted them: the least that must turn up in every book."""
    return int(notes.values.get("answered_rows", 0))


def _count(notes: Notes, rows: int) -> None:
    notes["answered_rows"] = answered(notes) + rows


def records(world: World, notes: Notes) -> list[usage_pb2.UsageRecorded]:
    """The story's usage records in Kafka, each request once, without the markers that close leases."""
    found = {r.request_id: r for r in world.topic("usage.recorded", usage_pb2.UsageRecorded)}
    aborted = usage_pb2.OUTCOME_ABORTED
    people = accounts(notes)
    return [r for r in found.values() if r.account_id in people and r.outcome != aborted]


def accounts(notes: Notes) -> list[str]:
    """Accounts of the story's people."""
    return [str(value) for name, value in notes.values.items() if name.endswith("_account")]


def totals(world: World, notes: Notes) -> dict[str, int]:
    """Calls with units, and their units, as Kafka has them."""
    billable = [r for r in records(world, notes) if r.units]
    return {"calls": len(billable), "units": sum(r.units for r in billable)}


def workers(world: World, notes: Notes, *, at_least: int) -> set[str]:
    """Workers that recorded usage, once there are enough of them."""
    found = {r.worker_id for r in records(world, notes)}
    return found if len(found) >= at_least else set()


def wait_refused(world: World, notes: Notes, name: str, code: str, deadline_s: float = 30.0) -> None:
    """Until each replica refuses this actor with this code."""
    for number in range(len(world.config.gateway)):
        eventually(
            lambda n=number: refusal_code(world, notes, name, replica=n) == code,  # type: ignore[misc]
            f"gateway {number + 1} refuses {name} with {code}",
            deadline_s,
        )
