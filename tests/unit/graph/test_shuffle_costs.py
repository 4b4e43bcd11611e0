"""In how many stages rows are shuffled follows from prices, waits and sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.graph.shuffle_costs import ShuffleCosts, cheapest, one_stage, two_stages

CLOUD = ShuffleCosts(
    read_usd=0.4e-6,
    write_usd=5e-6,
    read_seconds=0.02 / 16,
    write_seconds=0.02,
    reads_per_second=5500,
    bytes_per_second=80e6,
    workers=100,
    second_usd=0.00003,
)
"""S3 and a hundred functions."""

partitions = st.integers(1, 3000)


@pytest.mark.parametrize(("inputs", "outputs"), [(10, 10), (200, 200), (1000, 1000), (20, 2000)])
def test_a_folder_of_this_machine_is_used_once(inputs: int, outputs: int) -> None:
    """Nobody bills its reads, and moving all rows once more takes longer than they do."""
    assert cheapest(inputs, outputs, ShuffleCosts()).stages == 1


def test_large_shuffles_through_a_cloud_go_twice() -> None:
    """A million reads are bought for a thousand writes more; small shuffles stay as they are."""
    small, large = cheapest(10, 10, CLOUD), cheapest(1000, 1000, CLOUD)
    assert small.stages == 1
    assert large.stages == 2 and large.reads < 80_000 and large.writes < 2500
    assert large.usd < one_stage(1000, 1000, CLOUD).usd / 5


@pytest.mark.parametrize(
    "dearer", [replace(CLOUD, bytes_per_second=1e6), replace(CLOUD, input_bytes=10**14), replace(CLOUD, write_usd=0.01)]
)
def test_what_a_second_stage_adds_counts_against_it(dearer: ShuffleCosts) -> None:
    """Rows that are moved once more, and more objects that are written."""
    assert cheapest(300, 300, CLOUD).stages == 2
    assert cheapest(300, 300, dearer).stages == 1


@pytest.mark.parametrize(
    "dearer",
    [
        ShuffleCosts(read_usd=CLOUD.read_usd, second_usd=1e-9),
        ShuffleCosts(read_seconds=0.02),
        ShuffleCosts(reads_per_second=50.0, workers=100),
    ],
)
def test_what_a_second_stage_saves_counts_for_it(dearer: ShuffleCosts) -> None:
    """Billed reads, reads that wait, and reads that a store puts off because all workers ask at once."""
    assert cheapest(300, 300, ShuffleCosts()).stages == 1
    assert cheapest(300, 300, dearer).stages == 2


@given(partitions, partitions, st.sampled_from([CLOUD, ShuffleCosts(), ShuffleCosts(read_usd=1.0)]))
def test_the_form_is_one_that_can_be_built_and_costs_no_more(inputs: int, outputs: int, costs: ShuffleCosts) -> None:
    """Never more blocks than inputs or groups than outputs, and never dearer than one stage."""
    form = cheapest(inputs, outputs, costs)
    assert form.usd <= one_stage(inputs, outputs, costs).usd
    assert 1 <= form.blocks <= inputs and 1 <= form.groups <= outputs
    if form.stages == 2:
        assert form == two_stages(inputs, outputs, form.blocks, form.groups, costs)
        # A regrouping unit holds at most twice the larger of an input's and an output's share of all rows.
        share = -(-inputs // form.blocks) / inputs * -(-outputs // form.groups) / outputs
        assert share <= 2 / min(inputs, outputs)
