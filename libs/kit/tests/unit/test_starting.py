"""Imports of a starting process."""

from __future__ import annotations

import gc

import pytest
from licet_kit.starting import collector_paused


def test_nothing_is_collected_until_all_is_imported() -> None:
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failed_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), collector_paused():
        raise ImportError
    assert gc.isenabled()
