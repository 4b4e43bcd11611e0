"""The collector is paused while any thread plans, and left as it was found."""

from __future__ import annotations

import gc

import pytest

from cloudoffload.graph.collecting import collection_paused


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
