"""Runs units in this process, with the parts that a worker is made of: values go through a store and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cloudoffload.store import ObjectStore, open_store
from cloudoffload.types import Assignment, Edge, Emit, Plan, Ref, StoreAccess
from cloudoffload.wire.codecs import encode_pickle
from cloudoffload.wire.envelope import Order
from cloudoffload.wire.program import Loaded, load, run_steps, settled
from cloudoffload.wire.values import pack_value
from cloudoffload.worker.inputs import Inputs
from cloudoffload.worker.outputs import Outputs

STORE = "main"
NO_PROGRAM = Ref("", "", (0, 0), 0, b"")


class Bench:
    """A worker without its process.

    Parameters
    ----------
    folder : Path
        Where values lie that don't travel inside messages.
    """

    def __init__(self, folder: Path) -> None:
        self.store: ObjectStore = open_store(StoreAccess(folder.as_uri()))
        self._runs = 0

    def run(self, plan: Plan, numbers: Iterable[int], inline_limit: int) -> list[Any]:
        """Run the units of a plan in this order; returns the values that were asked for.

        Parameters
        ----------
        plan : Plan
            What to run.
        numbers : iterable of int
            Its units.
        inline_limit : int
            Values up to this size lie inside their refs, bytes.
        """
        program, folder = load(memoryview(plan.program)), self.folder()
        total = len(plan.units)
        refs: dict[int, Ref] = dict(enumerate(self.data(plan, inline_limit), total))
        for number in numbers:
            unit = plan.units[number]
            inputs = tuple(part_of(refs[edge.source], edge) for edge in unit.inputs)
            assignment = Assignment(number, 1, inputs, unit.requested)
            refs[number] = self.one(program, assignment, folder, inline_limit)
        values = [self.value(part_of(refs[edge.source], edge)) for edge in plan.results]
        self.store.delete_prefix(folder)
        return values

    def folder(self) -> str:
        """Where the objects of a new run lie."""
        self._runs += 1
        return f"{self._runs}/"

    def data(self, plan: Plan, inline_limit: int) -> list[Ref]:
        """Refs of what a plan holds inline."""
        return [self._put(value, f"{self._runs}/data-{i}", inline_limit) for i, value in enumerate(plan.data)]

    def one(self, program: Loaded, unit: Assignment, folder: str, inline_limit: int) -> Ref:
        """Run one unit; returns where its value lies."""
        order = Order("", "", NO_PROGRAM, (unit,), {}, STORE, folder, 60.0, b"", inline_limit=inline_limit)
        inputs, outputs = Inputs({STORE: self.store}), Outputs(order, self.store)
        steps, out, names, emit = program.entries[unit.number]
        if emit == Emit.INDEX:
            return outputs.write_index(unit, inputs)
        values = {name: inputs.value(ref) for name, ref in zip(names, unit.inputs, strict=True)}
        return outputs.write(unit, settled(run_steps(steps, out, values)), emit)

    def value(self, ref: Ref) -> Any:
        """What lies behind a ref."""
        return Inputs({STORE: self.store}).value(ref)

    def _put(self, value: Any, key: str, inline_limit: int) -> Ref:
        packed = pack_value(encode_pickle(value), self.store.algorithm)
        span = (packed.span.offset, packed.span.length)
        if packed.nbytes <= inline_limit:
            return Ref("", "", span, packed.nbytes, packed.span.digest, data=b"".join(packed.pieces))
        self.store.put(key, packed.pieces)
        return Ref(STORE, key, span, packed.nbytes, packed.span.digest)


def part_of(ref: Ref, edge: Edge) -> Ref:
    """Ref of what an edge means of a value."""
    return Ref(ref.store, ref.key, ref.span, ref.nbytes, ref.digest, ref.parted, edge.part, ref.data)
