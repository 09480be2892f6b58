"""The bloom proof: no log can be left out unseen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from licet_indexer.domain.bloom import Proof, bits_of, bloom_of, check, may_contain
from licet_indexer.domain.chain import Log

OURS = ("0x" + "aa" * 20, "0x" + "bb" * 20)
STRANGER = "0x" + "cc" * 20


def log(index: int, contract: str = OURS[0], *topics: str) -> Log:
    return Log("0x" + "11" * 32, 1, index, "0x" + "22" * 32, contract, topics or (topic(index),), "0x")


def topic(value: int) -> str:
    return f"0x{value:064x}"


def test_a_value_sets_at_most_three_bits_and_always_the_same() -> None:
    assert all(1 <= bits_of(topic(i)).bit_count() <= 3 for i in range(100))
    assert bits_of(STRANGER) == bits_of(STRANGER)


def test_all_logs_of_a_quiet_block_are_complete() -> None:
    logs = [log(0), log(1)]
    assert check(bloom_of(logs), logs, OURS) is Proof.COMPLETE


def test_a_block_that_excludes_our_contracts_is_complete_without_logs() -> None:
    assert check(bloom_of([log(0, STRANGER)]), [], OURS) is Proof.COMPLETE


def test_an_empty_answer_for_a_block_that_has_our_log_is_not_believed() -> None:
    assert check(bloom_of([log(0)]), [], OURS) is Proof.OPEN


def test_a_log_that_the_block_does_not_have_contradicts() -> None:
    assert check(bloom_of([log(0)]), [log(0), log(7)], OURS) is Proof.CONTRADICTED


def test_a_missing_log_of_equal_topics_is_seen_by_the_gap_in_indexes() -> None:
    twins = [log(0, OURS[0], topic(5)), log(1, OURS[0], topic(5))]
    assert check(bloom_of(twins), [twins[1]], OURS) is Proof.OPEN


@given(st.lists(st.tuples(st.sampled_from([*OURS, STRANGER]), st.integers(0, 40)), max_size=12), st.data())
def test_leaving_out_our_logs_is_never_called_complete(
    shape: list[tuple[str, int]], data: st.DataObject
) -> None:
    block = [log(i, contract, topic(t)) for i, (contract, t) in enumerate(shape)]
    bloom = bloom_of(block)
    ours = [entry for entry in block if entry.contract in OURS]
    kept = [entry for entry in ours if data.draw(st.booleans())]
    proof = check(bloom, kept, OURS)
    assert proof is not Proof.CONTRADICTED
    if kept != ours and ours[-1] != block[-1]:
        assert proof is Proof.OPEN
    if kept != ours and not kept:
        assert proof is Proof.OPEN
    assert may_contain(bloom, OURS) or not ours
