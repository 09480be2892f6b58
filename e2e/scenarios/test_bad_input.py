"""Bad input of every kind gets a clear error and leaves no trace in the books."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
from licet_sdk import siwe
from tritonclient.http import InferenceServerClient, InferInput

from e2e.demo import books, calls
from e2e.observe import eventually
from e2e.scenarios.conftest import Buyer, Installation

PATH = f"/v2/models/{calls.MODEL}/infer"
BINARY = "inference-header-content-length"


def features(
    rows: int = 1, columns: int = 30, name: str = "FEATURES", kind: str = "FP32"
) -> dict[str, object]:
    value = [0.0] * (rows * columns)
    return {"inputs": [{"name": name, "shape": [rows, columns], "datatype": kind, "data": value}]}


def binary_body() -> tuple[bytes, int]:
    tensor = InferInput("FEATURES", [1, 30], "FP32")
    tensor.set_data_from_numpy(np.ascontiguousarray(calls.held_out(1)))
    body, size = InferenceServerClient.generate_request_body([tensor])
    return bytes(body), int(size)


BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "no body": (b"", {}),
    "not JSON": (b"{{{", {}),
    "not UTF-8": (b'{"inputs": "\xff\xfe"}', {}),
    "no inputs": (b"{}", {}),
    "the metered input is missing": (json.dumps(features(name="OTHER")).encode(), {}),
    "wrong number of columns": (json.dumps(features(columns=29)).encode(), {}),
    "wrong datatype": (json.dumps(features(kind="INT64")).encode(), {}),
    "no rows": (json.dumps(features(rows=0)).encode(), {}),
    "negative shape": (json.dumps({"inputs": [{"name": "FEATURES", "shape": [-1, 30]}]}).encode(), {}),
    "shape that is no list": (json.dumps({"inputs": [{"name": "FEATURES", "shape": "1,30"}]}).encode(), {}),
    "header length beyond the body": (binary_body()[0], {BINARY: "100000"}),
    "header length that is no number": (binary_body()[0], {BINARY: "many"}),
    "tensor cut short": (binary_body()[0][:-40], {BINARY: str(binary_body()[1])}),
    "values out of the feature's range": (json.dumps(features()).replace("0.0", "1e30").encode(), {}),
}


@pytest.fixture(scope="module")
def buyer(make_buyer: Callable[..., Buyer]) -> Buyer:
    """One who makes every mistake of this file, with the included rows of one license."""
    return make_buyer()


@pytest.fixture(scope="module")
def good_calls() -> Iterator[int]:
    """Counts the calls of one row that were answered."""
    return itertools.count(1)


@pytest.mark.parametrize("case", list(BODIES))
def test_a_malformed_call_is_refused_clearly_and_costs_nothing(
    case: str, installation: Installation, buyer: Buyer, good_calls: Iterator[int]
) -> None:
    world, notes = installation.world, installation.notes
    body, headers = BODIES[case]
    headers = {**headers, "authorization": f"Bearer {notes[f'{buyer.name}_key']}"}
    answer = httpx2.post(world.config.gateway[0] + PATH, content=body, headers=headers)
    assert answer.status_code >= 400
    assert answer.json()["error"], answer.text
    if answer.status_code >= 500:
        # Triton calls some of a caller's mistakes a 500. Its answer goes through unchanged; none of ours is one.
        pinned = f"{calls.MODEL}-{notes['digest'][2:18]}"
        direct = httpx2.post(f"{world.endpoints['triton']['http']}/v2/models/{pinned}/infer", content=body)
        assert (answer.status_code, answer.content) == (direct.status_code, direct.content)
    assert calls.refusal_code(world, notes, buyer.name) == "", "the next good call is answered"
    # Its record follows the refused call's in the log of the same lease: what that one cost would be seen here.
    account, due = notes[f"{buyer.name}_account"], next(good_calls)
    charges = eventually(
        lambda: c if sum((c := books.charges_by_request(world, account)).values()) >= due else {},
        "the good call is billed",
    )
    assert sum(charges.values()) == due, "only the good calls' rows are billed"


def test_an_oversized_body_is_refused_before_triton(installation: Installation, buyer: Buyer) -> None:
    headers = {"authorization": f"Bearer {installation.notes[f'{buyer.name}_key']}"}
    url = installation.world.config.gateway[0] + PATH
    answer = httpx2.post(url, content=b"x" * (65 << 20), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "model", ["clinic.absent", "absent.tumour-risk", "clinic.tumour-risk-0123456789abcdef"]
)
def test_an_unknown_model_is_not_found(model: str, installation: Installation, buyer: Buyer) -> None:
    headers = {"authorization": f"Bearer {installation.notes[f'{buyer.name}_key']}"}
    url = f"{installation.world.config.gateway[0]}/v2/models/{model}/infer"
    answer = httpx2.post(url, json=features(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "model_unknown")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/index",
        "/v2/repository/models/clinic.tumour-risk/load",
        "/v2/repository/models/clinic.tumour-risk/unload",
        "/v2/systemsharedmemory/status",
        "/v2/trace/setting",
        "/v2/logging",
        "/v2/models/stats",
        "/v2/models/clinic/infer",
        "/v2/models/clinic.tumour-risk/versions/1/infer",
        "/v2/models/../repository/index",
        "/v2/models/%2e%2e/repository/index",
        "/metrics",
    ],
)
def test_no_other_route_of_triton_is_reachable(path: str, installation: Installation) -> None:
    for method in ("GET", "POST"):
        answer = httpx2.request(method, installation.world.config.gateway[0] + path)
        assert answer.status_code in {401, 404, 405}, (method, answer.status_code, answer.text)


def test_a_replayed_login_is_refused(installation: Installation) -> None:
    world = installation.world
    person = world.actor("stranger")
    url = world.config.licensing
    nonce = httpx2.post(url + "/v1/auth/nonce").json()["nonce"]
    domain = url.split("//")[1]
    chain_id = world.chain.chain_id
    text = siwe.message(domain=domain, address=person.address, uri=url, chain_id=chain_id, nonce=nonce)
    body = {"message": text, "signature": siwe.sign(text, person.private_key)}
    assert httpx2.post(url + "/v1/auth/siwe", json=body).status_code == 201
    again = httpx2.post(url + "/v1/auth/siwe", json=body)
    assert (again.status_code, again.json()["code"]) == (401, "credential_invalid")


def test_a_login_signed_by_another_wallet_is_refused(installation: Installation) -> None:
    world = installation.world
    url = world.config.licensing
    nonce = httpx2.post(url + "/v1/auth/nonce").json()["nonce"]
    address, chain_id = world.actor("buyer").address, world.chain.chain_id
    text = siwe.message(domain=url.split("//")[1], address=address, uri=url, chain_id=chain_id, nonce=nonce)
    signature = siwe.sign(text, world.actor("stranger").private_key)
    answer = httpx2.post(url + "/v1/auth/siwe", json={"message": text, "signature": signature})
    assert (answer.status_code, answer.json()["code"]) == (401, "credential_invalid")


def test_another_accounts_objects_are_not_found(
    installation: Installation, make_buyer: Callable[..., Buyer]
) -> None:
    world, notes = installation.world, installation.notes
    owner, other = make_buyer(), make_buyer()
    assert calls.refusal_code(world, notes, owner.name) == ""
    account = notes[f"{owner.name}_account"]
    request_id = next(
        iter(eventually(lambda: books.charges_by_request(world, account), "the call is billed"))
    )
    headers = {"authorization": f"Bearer {notes[f'{other.name}_key']}"}
    answer = httpx2.get(f"{world.config.billing}/v1/receipts/{request_id}", headers=headers)
    assert answer.status_code == 404
    usage = httpx2.get(f"{world.config.billing}/v1/usage", headers=headers).json()["data"]
    assert request_id not in {u["request_id"] for u in usage}
