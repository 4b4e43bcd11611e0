"""The one way in which any worker runs a call: verify, read, run, write, answer."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from cloudoffload.errors import CloudoffloadError, ObjectMissing, StoreError
from cloudoffload.store import ObjectStore, Usage, open_store
from cloudoffload.types import Assignment, Edge, Emit, Failure, Message, Outcome, Ref, Resources, StoreAccess
from cloudoffload.wire.envelope import PYTHON, Order, open_envelope
from cloudoffload.wire.outcome import seal_outcome
from cloudoffload.wire.program import Loaded, load, run_steps, settled
from cloudoffload.wire.refs import part_of
from cloudoffload.worker import failures
from cloudoffload.worker.caches import InputCache, Recent, cache_bytes
from cloudoffload.worker.capture import collector, install
from cloudoffload.worker.deadline import DeadlinePassed, deadline
from cloudoffload.worker.inputs import Inputs
from cloudoffload.worker.outputs import Outputs
from cloudoffload.worker.overlap import Transfers, overlapped

_PROGRAM_GROWTH = 8
"""How many times the bytes of its pickle a program of many small tasks takes (measured)."""

_MAX_STORES = 8
_MAXRSS_PER_MB = 1 << 20 if sys.platform == "darwin" else 1 << 10  # getrusage(2): bytes there, kB on Linux

_FOREIGN = (Exception, SystemExit)
"""What pickling and unpickling may raise: they run foreign code, and a script that they import may end itself."""

_stopped_by_deadline = threading.Event()
_programs: Recent[bytes, Loaded] = Recent(cache_bytes)
_inputs = InputCache()
_stores: dict[tuple[Any, ...], ObjectStore] = {}


def answer(
    envelope: bytes, keys: Mapping[str, bytes], *, remaining_seconds: float | None = None, worker: str = ""
) -> bytes:
    """Run a signed call and answer with its authenticated outcome.

    Parameters
    ----------
    envelope : bytes
        The signed call.
    keys : mapping of str to bytes
        Raw public keys that may sign calls, by key id.
    remaining_seconds : float, optional
        What the platform leaves to this invocation; the earlier of this and the call's own deadline counts. Such a
        platform may freeze the process between calls.
    worker : str
        Name of this process or instance, for traces.

    Raises
    ------
    WireError
        The call must not be trusted; nothing of it was decoded or run.
    """
    meter = _Meter()
    order = open_envelope(envelope, keys, now=time.time())
    install()
    _stand_where_the_client_stands(order)
    # An answer must still be written when the user's code is stopped at the last moment.
    seconds = order.seconds if remaining_seconds is None else min(order.seconds, max(remaining_seconds - 1.0, 0.1))
    try:
        stores = {name: _inputs.before(_opened(access)) for name, access in order.stores.items()}
    except StoreError as error:
        results: list[Ref | Failure] = [failures.of_machinery(error)] * len(order.units)
        return _sealed(order, results, [], meter.read(0), (), worker)
    meter.watch(stores.values())
    if any(store.reads_at_once > 1 for store in stores.values()):
        _inputs.expect(order.units)
    collector.begin()
    try:
        with overlapped(stores) as transfers:
            results, unit_seconds, inline_bytes = _run_all(
                order, transfers, seconds, never_frozen=remaining_seconds is None
            )
    finally:
        messages = collector.end()
    return _sealed(order, results, unit_seconds, meter.read(inline_bytes), messages, worker)


def _stand_where_the_client_stands(order: Order) -> None:
    """On the client's own machine relative paths and imports mean what they mean there, also after a ``chdir``."""
    if order.folder and order.folder != os.getcwd():  # noqa: PTH109 - no path is needed, and each call asks
        os.chdir(order.folder)
    sys.path += [path for path in order.paths if path not in sys.path]


def must_end() -> bool:
    """Whether a deadline has struck in this process.

    It may have struck anywhere, in the middle of an import too: the process must not run another call.
    """
    return _stopped_by_deadline.is_set()


class _Meter:
    """Measures what a call uses."""

    def __init__(self) -> None:
        self._started, self._cpu = time.perf_counter(), time.process_time()
        self._usages: list[tuple[Usage, tuple[int, int, int, int]]] = []

    def watch(self, stores: Iterable[ObjectStore]) -> None:
        """Count what is done with these stores from now on; two names may open one store."""
        usages = {id(store): store.usage for store in stores}
        self._usages = [(usage, usage.read()) for usage in usages.values()]

    def read(self, inline_bytes: int) -> Resources:
        """What was used so far; ``inline_bytes`` of values travel in the outcome."""
        used = [[now - then for now, then in zip(usage.read(), before, strict=True)] for usage, before in self._usages]
        writes, reads, written, read = (sum(column) for column in zip(*used, strict=True)) if used else (0, 0, 0, 0)
        return Resources(
            seconds=time.perf_counter() - self._started,
            cpu_seconds=time.process_time() - self._cpu,
            peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_PER_MB,
            requests=1,
            store_operations={"write": writes, "read": reads},
            bytes_in=read,
            bytes_out={"store": written, "client": inline_bytes},
        )


def _sealed(
    order: Order,
    results: list[Ref | Failure],
    unit_seconds: list[float],
    resources: Resources,
    messages: tuple[Message, ...],
    worker: str,
) -> bytes:
    seconds = (*unit_seconds, *[0.0] * (len(results) - len(unit_seconds)))
    outcome = Outcome(tuple(results), seconds, resources, messages, worker or f"pid {os.getpid()}")
    return seal_outcome(outcome, order.call, order.answer_key)


def _run_all(
    order: Order, transfers: Transfers, seconds: float, *, never_frozen: bool
) -> tuple[list[Ref | Failure], list[float], int]:
    """Results and seconds of the units, and how many bytes of values the results hold."""
    inputs, outputs = Inputs(transfers.stores), Outputs(order, transfers.stores[order.output])
    results: list[Ref | Failure] = []
    unit_seconds: list[float] = []
    made: dict[int, Ref] = {}  # by units of this call, for those behind them
    try:
        with deadline(seconds, never_frozen=never_frozen) as check:
            program = _program(order, inputs)
            for place, unit in enumerate(order.units):
                check()
                transfers.fetch(order.units[place : place + 2])
                started = time.perf_counter()
                result = program if isinstance(program, Failure) else _run(program, unit, made, inputs, outputs)
                results.append(result)
                unit_seconds.append(time.perf_counter() - started)
                if isinstance(result, Ref):
                    made[unit.number] = result
            results = [_written(result, transfers) for result in results]
    except DeadlinePassed as passed:
        _stopped_by_deadline.set()
        # What is done stays done; the unit that was running, and those behind it, have no value, nor have those whose
        # value is not written.
        late = failures.of_user_code(passed)
        results = [late if transfers.is_pending(result) else _written(result, transfers) for result in results]
        results += [late] * (len(order.units) - len(results))
    return results, unit_seconds, outputs.inline_bytes


def _written(result: Ref | Failure, transfers: Transfers) -> Ref | Failure:
    """A result whose value is in its store, or why it could not be written."""
    error = transfers.failure(result)
    return result if error is None else failures.of_machinery(error)


def _run(program: Loaded, unit: Assignment, made: Mapping[int, Ref], inputs: Inputs, outputs: Outputs) -> Ref | Failure:
    try:
        steps, out, names, emit = program.entries[unit.number]
        if emit == Emit.INDEX:
            return outputs.write_index(unit, inputs)
        values = {name: inputs.value(_ref(item, made)) for name, item in zip(names, unit.inputs, strict=True)}
    except _FOREIGN as error:
        return failures.of_machinery(error)
    try:
        value = settled(run_steps(steps, out, values))  # what is lazy runs the user's code here
    except DeadlinePassed:
        raise  # it ends the call, not this unit alone
    except BaseException as error:  # noqa: BLE001 - the user's code; its error, SystemExit too, is the unit's result
        return failures.of_user_code(error)
    try:
        return outputs.write(unit, value, emit)
    except _FOREIGN as error:
        return failures.of_machinery(error)


def _ref(item: Ref | Edge, made: Mapping[int, Ref]) -> Ref:
    """Where an input lies, also one that an earlier unit of the call has made."""
    if isinstance(item, Ref):
        return item
    if item.source not in made:
        raise ObjectMissing(f"unit {item.source}, which this one reads, has no value")
    return part_of(made[item.source], item)


def _program(order: Order, inputs: Inputs) -> Loaded | Failure:
    """The call's program, or why it can't be loaded here."""
    if order.python != PYTHON:
        return failures.wrong_version(order.python, PYTHON)
    program = _programs.get(order.graph.digest)
    if program is not None:
        return program
    try:
        program = load(inputs.span(order.graph))
    except CloudoffloadError as error:
        return failures.of_machinery(error)
    except _FOREIGN as error:
        return failures.of_loading(error)
    _programs.put(order.graph.digest, program, program.nbytes * _PROGRAM_GROWTH)
    return program


def _opened(access: StoreAccess) -> ObjectStore:
    key = (access.url, *sorted(access.options.items()))
    store = _stores.get(key)
    if store is None:
        store = _stores[key] = open_store(access)
        if len(_stores) > _MAX_STORES:
            del _stores[next(iter(_stores))]  # the oldest: its credentials expire first
    return store
