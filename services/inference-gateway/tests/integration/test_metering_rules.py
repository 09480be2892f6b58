"""Each rule, over every protocol: usage records equal what the models wrote down, call by call.

`METER_CALLS` is how many calls are made by each rule; `make meter` makes ten thousand.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from licet_gateway.testing.callers import make
from licet_gateway.testing.calls import TOKENS_MAX, Call, Seen, Way, generated, model_log
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_CLIENT_GONE, OUTCOME_OK, UsageRecorded

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]
CALLS = int(os.environ.get("METER_CALLS", "200"))
SEED = int(os.environ.get("METER_SEED", "1"))
LIMITS = {"max_input_tokens": 64, "max_output_tokens": TOKENS_MAX}
PLENTY = 10**15
SECOND = 10**9
RULES = ("request", "rows:X", "bytes", "seconds", "input_tokens", "output_tokens")


@pytest.fixture(scope="module")
def counted(servers: dict[str, Any]) -> Iterator[dict[str, LoadedModel]]:
    """The models that write down what they see."""
    place = {"triton": servers["triton"]["http"], "repository": Path(servers["triton"]["repository"])}
    with ExitStack() as stack:
        yield {kind: stack.enter_context(loaded(kind, **place)) for kind in ("counted", "counted-stream")}


@pytest.mark.parametrize("rule", RULES)
async def test_records_equal_what_the_model_wrote_down(
    new_scene: NewScene, counted: dict[str, LoadedModel], eventually: Eventually, rule: str
) -> None:
    calls = generated(CALLS, rule, seed=SEED, first=RULES.index(rule) * CALLS)
    models = {kind: replace(model, rule=rule, limits=LIMITS) for kind, model in counted.items()}
    async with new_scene(own_models=models) as scene:
        for right in scene.rights.values():
            right.free, right.lease_units = PLENTY, 10**6
        # Where seconds are counted no call may wait behind another one that sleeps.
        await make(scene, calls, at_once=3 if rule == "seconds" else 12)
        await scene.gateway.stop()
        await eventually(lambda: _ended(scene), 60, what="the end of every lease")
        seen = model_log(model.folder for model in counted.values())
        records, unbegun = _by_call(calls, scene.calls)
        assert len(scene.calls) == len(records) + len(unbegun), "two records of one call"
        assert [record for record in unbegun if record.units] == []
        assert len(unbegun) <= sum(call.leaves_after == 0 for call in calls if call.number not in records)
        differing = [_difference(rule, call, records.get(call.number), seen) for call in calls]
        assert [text for text in differing if text] == []
        _print(rule, calls, records, seen)


def _ended(scene: Scene) -> bool:
    return scene.lease_ids == {record.lease_id for record in scene.records if record.last}


def _by_call(
    calls: list[Call], records: list[UsageRecorded]
) -> tuple[dict[int, UsageRecorded], list[UsageRecorded]]:
    """Records by the number of their call: by their name, or, where the client left before it, by what was sent.

    And records of calls that were left before they began: these commit to their own name alone.
    Raises LookupError where a record is of no call.
    """
    numbers = {call.request_id: call.number for call in calls if call.request_id}
    nameless = [call for call in calls if not call.request_id]
    found, unbegun = {}, []
    for record in records:
        name = record.request_id
        if name in numbers:
            found[numbers[name]] = record
            continue
        sent = [call.number for call in nameless if call.commits_to(name) == record.request_commitment]
        if sent:
            found[sent[0]] = record
        elif record.request_commitment == hashlib.sha256(name.encode()).digest():
            unbegun.append(record)
        else:
            raise LookupError(f"of no call: {record}")
    return found, unbegun


def _difference(rule: str, call: Call, record: UsageRecorded | None, seen: dict[int, Seen]) -> str:
    """What is wrong with the record of a call; empty where nothing is."""
    what = seen.get(call.number, Seen())
    if record is None:
        # Who left before its call was written down is not recorded: it got nothing, and the model knows nothing of it.
        return "" if call.leaves_after == 0 and not what.sent else f"no record: {call}"
    if (call.answered or what.rows) and record.request_commitment != call.commits_to(record.request_id):
        return f"committed to another request: {call} {record}"
    outcome = OUTCOME_OK if call.answered else OUTCOME_CLIENT_GONE
    # A gRPC call that was left is over by its deadline or by its reset, whichever came first.
    if not call.fails and call.leaves_after != 0 and record.outcome != outcome:
        return f"outcome {record.outcome}: {call} {what}"
    low, high = _due(rule, call, what)
    return "" if low <= record.units <= high else f"{record.units} units, due {low} to {high}: {call} {what}"


def _due(rule: str, call: Call, what: Seen) -> tuple[int, int]:
    """Units of what was handed over, by the model's log: exactly, but for time, which model and client bracket."""
    if call.fails or call.leaves_after == 0:
        return 0, 0
    taken = len(what.sent) if call.leaves_after is None else call.leaves_after
    if rule == "seconds":
        shortest = what.ns if call.leaves_after is None else call.sleep_ms * 10**6
        return max(1, -(-shortest // SECOND)), max(1, -(-call.took_ns // SECOND))
    due = {
        "request": 1,
        # A generate route has no rows.
        "rows:X": what.rows,
        "bytes": len(call.sent),
        "input_tokens": what.read,
        "output_tokens": what.sent[taken - 1],
    }[rule]
    return due, due


def _print(rule: str, calls: list[Call], records: dict[int, UsageRecorded], seen: dict[int, Seen]) -> None:
    """The counts, for `make meter`."""
    due = [_due(rule, call, seen.get(call.number, Seen())) for call in calls]
    ways = Counter(call.way for call in calls)
    sys.stdout.write(
        f"\n{rule}: {len(calls)} calls ({', '.join(f'{way.value} {ways[way]}' for way in Way if ways[way])}); "
        f"answered {sum(call.answered for call in calls)}, failed {sum(call.fails for call in calls)}, "
        f"left before {sum(call.leaves_after == 0 for call in calls)}, "
        f"left in the middle {sum(bool(call.leaves_after) for call in calls)}; records {len(records)}; "
        f"units due {sum(low for low, _ in due)}, recorded {sum(record.units for record in records.values())}, "
        f"pinned exactly {sum(low == high for low, high in due)}\n"
    )
