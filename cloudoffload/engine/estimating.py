"""The estimate of a plan: its units grouped by kind and provider, priced by the ledger."""

from __future__ import annotations

from cloudoffload.engine.reads import most_reads
from cloudoffload.engine.services import Services
from cloudoffload.graph.lifting import nbytes_of
from cloudoffload.ledger.estimate import Learned, Work, estimate
from cloudoffload.types import Estimate, Plan, Unit


class Estimated(BaseException):
    """Ends a dry run at its first computation, whose value does not exist; no ``except Exception`` may swallow it."""

    def __init__(self, estimate: Estimate) -> None:
        super().__init__("estimated, not run")
        self.estimate = estimate


def estimate_plan(services: Services, plan: Plan, bytes_read: int) -> Estimate:
    """Dollars, seconds and bytes of a plan, before anything is spent.

    Parameters
    ----------
    services : Services
        Of the session.
    plan : Plan
        What would run.
    bytes_read : int
        What its units read from files, bytes; taken to be spread evenly over those that need no other unit.
    """
    groups: dict[tuple[str, str], list[Unit]] = {}
    for unit in plan.units:
        groups.setdefault((unit.prefix, services.decide(unit).provider), []).append(unit)
    sizes = [plan.known[i].nbytes if i in plan.known else nbytes_of(value) for i, value in enumerate(plan.data)]
    leaves = sum(_is_leaf(unit, plan) for unit in plan.units)
    each = bytes_read // leaves if leaves else 0
    return estimate(_work(services, plan, sizes, each, prefix, name, units) for (prefix, name), units in groups.items())


def _work(
    services: Services, plan: Plan, sizes: list[int], each: int, prefix: str, name: str, units: list[Unit]
) -> Work:
    lane = services.clouds.lanes[name]
    record = services.learned.get(prefix, name)
    total = len(plan.units)
    stored = sum(sizes[edge.source - total] for unit in units for edge in unit.inputs if edge.source >= total)
    return Work(
        prefix=prefix,
        card=lane.card,
        memory_mb=lane.memory_mb,
        units=len(units),
        inputs=sum(most_reads(unit, plan.units) for unit in units),
        input_bytes=stored + each * sum(_is_leaf(unit, plan) for unit in units),
        learned=None if record is None else Learned(record.mean, record.longest),
    )


def _is_leaf(unit: Unit, plan: Plan) -> bool:
    return all(edge.source >= len(plan.units) for edge in unit.inputs)
