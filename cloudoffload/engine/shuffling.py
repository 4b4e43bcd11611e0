"""What shuffling through a session's store takes, from its rate cards: the planner itself knows no clouds."""

from __future__ import annotations

from typing import Any

from cloudoffload.engine.services import Services
from cloudoffload.graph.reading import parquet_bytes
from cloudoffload.graph.shuffle_costs import ShuffleCosts
from cloudoffload.types import RateCard

FIRST_BYTE_SECONDS = 0.02
"""From asking object storage to the first byte, seconds, inside of one region. Amazon promises 100-200 ms at most for
small objects ("Best practices design patterns: optimizing Amazon S3 performance"); usual are 10-30 ms."""

READS_PER_SECOND = 5500.0
"""GETs that S3 answers for one prefix (the same page); all of a computation's objects share one."""

BYTES_PER_SECOND = 80e6
"""Between one function and object storage: what obstore reached in both directions with objects of 1 MB."""

_MB_PER_GB = 1024


def shuffle_costs(services: Services, graph: Any) -> ShuffleCosts:
    """Prices of the session's store and of its workers' seconds, and how long that store lets a worker wait.

    Parameters
    ----------
    services : Services
        Of the session.
    graph : Expr, HighLevelGraph, dict or None
        What Dask handed over: how much it reads from files decides what moving the rows once more takes.
    """
    store, card = services.clouds.store, services.clouds.store_card
    if store.reads_at_once == 1:
        return ShuffleCosts()
    seconds = [_usd(lane.card, "gb_second") * lane.memory_mb / _MB_PER_GB for lane in services.clouds.lanes.values()]
    billed = [usd for usd in seconds if usd > 0]
    return ShuffleCosts(
        read_usd=_usd(card, "read"),
        write_usd=_usd(card, "write"),
        read_seconds=FIRST_BYTE_SECONDS / store.reads_at_once,
        write_seconds=FIRST_BYTE_SECONDS,
        reads_per_second=READS_PER_SECOND,
        bytes_per_second=BYTES_PER_SECOND,
        workers=sum(lane.slots for lane in services.clouds.lanes.values()),
        second_usd=min(billed) if billed else ShuffleCosts().second_usd,
        input_bytes=parquet_bytes(graph),
    )


def _usd(card: RateCard, dimension: str) -> float:
    price = card.prices.get(dimension)
    return 0.0 if price is None else float(price.rate / price.per)
