"""What is computed: stock Dask, the same for every engine that speaks it, and the same by hand for those that don't."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.workloads.groupby import GROUPBY
from benchmarks.workloads.images import IMAGES
from benchmarks.workloads.merge import AWS_MERGE, MERGE
from benchmarks.workloads.noop import NOOP, NOOP_COLLECTIONS, NOOP_FEW, NOOP_MANY
from benchmarks.workloads.outofcore import OUT_OF_CORE
from benchmarks.workloads.overhead import IMPORT, TINY
from benchmarks.workloads.remote import REMOTE_50, REMOTE_1000
from benchmarks.workloads.shuffle import SHUFFLE
from benchmarks.workloads.workload import Workload

__all__ = ["WORKLOADS", "Workload"]

WORKLOADS: Mapping[str, Workload] = {
    "noop": NOOP,
    "noop-100": NOOP_FEW,
    "noop-20000": NOOP_MANY,
    "noop-collections": NOOP_COLLECTIONS,
    "groupby": GROUPBY,
    "merge": MERGE,
    "shuffle": SHUFFLE,
    "images": IMAGES,
    "out-of-core": OUT_OF_CORE,
    "tiny": TINY,
    "import": IMPORT,
    "remote-1000": REMOTE_1000,
    "remote-50": REMOTE_50,
    "aws-merge": AWS_MERGE,
}
