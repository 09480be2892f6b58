"""What proofs promise: an honest one holds, a changed one does not."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_schemas import merkle, sumtree
from licet_schemas.sumtree import Charge, Step

WORDS = st.binary(min_size=32, max_size=32)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex())
CHARGES = st.builds(Charge, WORDS, st.integers(0, 2**120), ADDRESSES, ADDRESSES, WORDS)
FORESTS = st.lists(CHARGES, min_size=1, max_size=20)


@given(charges=FORESTS, data=st.data())
def test_every_leaf_of_a_sum_tree_is_proved(charges: list[Charge], data: st.DataObject) -> None:
    tree = sumtree.build(charges)
    index = data.draw(st.integers(0, len(charges) - 1))
    assert tree.sum == sum(charge.amount for charge in charges)
    assert sumtree.verify(charges[index], tree.proof(index), tree.root, tree.sum)


@given(charges=FORESTS, delta=st.integers(1, 1000), data=st.data())
def test_no_other_amount_is_proved(charges: list[Charge], delta: int, data: st.DataObject) -> None:
    tree = sumtree.build(charges)
    index = data.draw(st.integers(0, len(charges) - 1))
    dearer = dataclasses.replace(charges[index], amount=charges[index].amount + delta)
    assert not sumtree.verify(dearer, tree.proof(index), tree.root, tree.sum)
    assert not sumtree.verify(dearer, tree.proof(index), tree.root, tree.sum + delta)
    assert not sumtree.verify(charges[index], tree.proof(index), tree.root, tree.sum + delta)


@given(charges=st.lists(CHARGES, min_size=2, max_size=20), delta=st.integers(1, 1000), data=st.data())
def test_no_sibling_can_hide_or_add_money(charges: list[Charge], delta: int, data: st.DataObject) -> None:
    tree = sumtree.build(charges)
    index = data.draw(st.integers(0, len(charges) - 1))
    steps = tree.proof(index)
    at = data.draw(st.integers(0, len(steps) - 1))
    changed = dataclasses.replace(steps[at], sum=steps[at].sum + delta)
    forged = [*steps[:at], changed, *steps[at + 1 :]]
    assert not sumtree.verify(charges[index], forged, tree.root, tree.sum + delta)
    assert not sumtree.verify(charges[index], forged, tree.root, tree.sum)


def test_a_sum_above_128_bits_is_neither_built_nor_proved() -> None:
    top = Charge(bytes(32), sumtree.MAX_SUM, "0x" + "01" * 20, "0x" + "02" * 20, bytes(32))
    with pytest.raises(ValueError, match="is no uint128"):
        sumtree.build([top, dataclasses.replace(top, amount=1)])
    overflowing = [Step(bytes(32), 1, left=True), Step(bytes(32), 0, left=True)]
    assert not sumtree.verify(top, overflowing, bytes(32), 0)
    assert not sumtree.verify(top, [Step(bytes(32), -1, left=True)], bytes(32), sumtree.MAX_SUM - 1)


@pytest.mark.parametrize("make", [lambda: sumtree.build([]), lambda: merkle.tree([])])
def test_an_empty_tree_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="at least one"):
        make()


@given(leaves=st.lists(WORDS, min_size=1, max_size=40, unique=True), other=WORDS, data=st.data())
def test_a_merkle_proof_holds_for_its_leaf_alone(
    leaves: list[bytes], other: bytes, data: st.DataObject
) -> None:
    tree = merkle.tree(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    assert merkle.verify(leaves[index], tree.proof(index), tree.root)
    if other != leaves[index]:
        assert not merkle.verify(other, tree.proof(index), tree.root)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_leaf_that_is_not_there_has_no_proof(index: int) -> None:
    charge = Charge(bytes(32), 1, "0x" + "01" * 20, "0x" + "02" * 20, bytes(32))
    with pytest.raises(IndexError):
        merkle.tree([bytes([i]) * 32 for i in range(3)]).proof(index)
    with pytest.raises(IndexError):
        sumtree.build([charge] * 3).proof(index)
