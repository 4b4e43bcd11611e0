"""What is computed: stock Dask, the same for every engine that speaks it, and the same by hand for those that don't."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.workloads.groupby import GROUPBY
from benchmarks.workloads.images import IMAGES
from benchmarks.workloads.merge import AWS_MERGE, MERGE
from benchmarks.workloads.noop import NOOP, NOOP_COLLECTIONS, NOOP_MANY
from benchmarks.workloads.overhead import IMPORT, TINY
from benchmarks.workloads.shuffle import SHUFFLE
from benchmarks.workloads.workload import Workload

__all__ = ["WORKLOADS", "Workload"]

WORKLOADS: Mapping[str, Workload] = {
    "noop": NOOP,
    "noop-20000": NOOP_MANY,
    "noop-collections": NOOP_COLLECTIONS,
    "groupby": GROUPBY,
    "merge": MERGE,
    "shuffle": SHUFFLE,
    "images": IMAGES,
    "tiny": TINY,
    "import": IMPORT,
    "aws-merge": AWS_MERGE,
}
