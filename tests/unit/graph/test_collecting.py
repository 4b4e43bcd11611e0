"""The collector is paused while any thread plans, and left as it was found."""

from __future__ import annotations

import gc

import pytest

from cloudoffload.graph import collecting
from cloudoffload.graph.collecting import collection_paused, patience


def test_blocks_may_overlap() -> None:
    """Leaving an inner block does not end the pause of the outer one."""
    with collection_paused():
        with collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_ends_the_pause() -> None:
    """A graph that can't be planned leaves the collector on."""
    with pytest.raises(ValueError, match="no plan"), collection_paused():
        raise ValueError("no plan")
    assert gc.isenabled()


def test_who_has_no_collector_keeps_none() -> None:
    """A program that runs without the collector does not get it back."""
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_pause_that_lasts_too_long_is_ended_by_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles that other code makes meanwhile must not pile up; a pause that begins later is one again."""
    with collection_paused():
        left = patience()
        assert left is not None
        assert 0 < left <= collecting.MOST_SECONDS
        monkeypatch.setattr(collecting, "_until", 0.0)
        assert patience() is None
        assert gc.isenabled()
        with collection_paused():
            assert not gc.isenabled()
            assert patience() is not None
        assert not gc.isenabled()
    assert gc.isenabled()
    assert patience() is None


def test_nobody_asks_for_a_collector_that_was_off() -> None:
    """What the program has chosen stays as it is."""
    gc.disable()
    try:
        with collection_paused():
            assert patience() is None
            assert not gc.isenabled()
    finally:
        gc.enable()
