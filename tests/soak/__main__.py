"""``python -m tests.soak``: one session computes for minutes; what it takes of its machine must stay the same."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import islice

import dask

import cloudoffload as co
from tests.soak.health import WORKER_MB, look
from tests.soak.work import KINDS, computations

LEAST = 500
"""Computations at least, however short the time."""

WARM_UP = 4
"""Rounds before the first look: libraries are imported, pools and caches filled."""

ROUNDS_BETWEEN = 10


def main() -> int:
    """Compute for as long as was asked; the exit status is 1 when something has grown."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long to compute (600)")
    parser.add_argument("--emulate", action="append", default=[], help="a cloud to emulate, such as aws")
    options = parser.parse_args()
    clouds = tuple(options.emulate)
    with (
        dask.config.set({"cloudoffload.aws.memory-mb": WORKER_MB}),
        co.Session(providers=clouds or ("local",), emulate=clouds, memory_mb=WORKER_MB) as session,
    ):
        work, done, until = computations(), 0, time.monotonic() + options.seconds
        for compute in islice(work, WARM_UP * len(KINDS)):
            compute(session)
        before, calls = look(session), session.stats()["calls"]
        print(f"{'warm':>6}: {before}")
        while done < LEAST or time.monotonic() < until:
            for compute in islice(work, ROUNDS_BETWEEN * len(KINDS)):
                compute(session)
                done += 1
            after = look(session)
            print(f"{done:>6}: {after}")
        grown = after.growth(before, session.stats()["calls"] - calls)
    print("\n".join(grown) or f"nothing grew in {done} computations")
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
