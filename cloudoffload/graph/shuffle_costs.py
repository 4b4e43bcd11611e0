"""Whether a shuffle goes through the store once or twice, by what each form costs.

In one stage each of M joins reads a part of each of N inputs: N * M reads. In two stages blocks of inputs are regrouped
first: each regrouping unit gathers one group of output partitions from one block of inputs, and each join then reads
one part for every block. With square roots for the numbers of blocks and groups that is about 2 N sqrt(M) reads, for
which every byte is written and read once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True)
class ShuffleCosts:
    """What using the store takes; by default a folder of this machine, where nobody is billed."""

    read_usd: float = 0.0  # one read, US dollars
    write_usd: float = 0.0
    read_seconds: float = 40e-6  # of a worker, for one small read; measured on a folder in memory, decoding included
    write_seconds: float = 300e-6
    reads_per_second: float = math.inf  # most that the store answers to all workers together
    bytes_per_second: float = 500e6  # of one worker, to the store or from it
    workers: int = 1  # at once
    second_usd: float = 0.00003  # a worker's second; where nobody is billed it only weighs seconds against dollars
    input_bytes: int = 0  # what the graph reads from files; 0 when unknown


PARTITION_BYTES = 64 << 20
"""Assumed size of one input partition where nothing is known of it, bytes: Dask's guides advise about 100 MB."""

IN_MEMORY = 2
"""How much larger data usually is in memory than in compressed files."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to do a shuffle."""

    blocks: int  # of inputs; 1 where there is one stage
    groups: int  # of output partitions
    reads: int
    writes: int
    usd: float  # requests and workers' seconds
    stages: int


def one_stage(inputs: int, outputs: int, costs: ShuffleCosts) -> Form:
    """Every join reads from every input; and of the barrier its footer, its row and what the rows mean."""
    reads = inputs + 1 + outputs * (3 + inputs)
    return Form(1, 1, reads, inputs + 1, _usd(reads, inputs + 1, 0, costs, outputs), 1)


def two_stages(inputs: int, outputs: int, blocks: int, groups: int, costs: ShuffleCosts) -> Form:
    """Every join reads from one regrouping unit for each block."""
    middle = blocks * groups
    # Barriers of the blocks, regrouping units, barriers of the groups, joins.
    reads = (inputs + blocks) + (3 * middle + groups * inputs) + (middle + groups) + outputs * (3 + blocks)
    writes = inputs + blocks + middle + groups
    moved = 2 * (costs.input_bytes * IN_MEMORY or inputs * PARTITION_BYTES)
    return Form(blocks, groups, reads, writes, _usd(reads, writes, moved, costs, middle), 2)


def cheapest(inputs: int, outputs: int, costs: ShuffleCosts) -> Form:
    """The form of a shuffle that costs least, in dollars and workers' seconds.

    Parameters
    ----------
    inputs, outputs : int
        Partitions before and after.
    costs : ShuffleCosts
        Of the store.
    """
    forms = [one_stage(inputs, outputs, costs)]
    for blocks, groups in product(_divisions(inputs), _divisions(outputs)):
        # A regrouping unit must not hold much more than a partition: as large a share of all rows.
        share = math.ceil(inputs / blocks) / inputs * math.ceil(outputs / groups) / outputs
        if share <= 2 / max(min(inputs, outputs), 1):
            forms.append(two_stages(inputs, outputs, blocks, groups, costs))
    return min(forms, key=lambda form: form.usd)


def _divisions(count: int) -> Iterator[int]:
    """Numbers of nearly equal shares that something can be divided into, some of them: a factor of 1.2 apart."""
    shares, before = 2.0, 1
    while shares < count:
        even = math.ceil(count / math.ceil(count / shares))  # as many as shares of that size really are
        if even > before:
            yield even
            before = even
        shares *= 1.2


def _usd(reads: int, writes: int, moved: int, costs: ShuffleCosts, readers: int) -> float:
    each = max(costs.read_seconds, min(costs.workers, readers) / costs.reads_per_second)
    seconds = reads * each + writes * costs.write_seconds + moved / costs.bytes_per_second
    return reads * costs.read_usd + writes * costs.write_usd + seconds * costs.second_usd
