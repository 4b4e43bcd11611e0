"""What the client itself writes to and reads from the store, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any, TypeVar

from cloudoffload.engine.services import STORE, Services
from cloudoffload.types import Ref, Resources
from cloudoffload.wire.codecs import encode_pickle
from cloudoffload.wire.digest import digest
from cloudoffload.wire.envelope import prefix_of
from cloudoffload.wire.values import pack_value
from cloudoffload.worker.inputs import Inputs

PARALLEL = 8
"""Transfers of the client at once."""

T = TypeVar("T")
R = TypeVar("R")


def store_program(services: Services, program: bytes) -> Ref:
    """Ref of a pickled program: inside the calls when it is small, else an object that every worker reads once."""
    algorithm = services.clouds.store.algorithm
    identity = digest((program,), algorithm)
    if len(program) <= services.settings.inline_limit:
        return Ref("", "", (0, len(program)), len(program), identity, data=program)
    return _put_once(services, "graphs", identity, [program], (0, len(program)), len(program))


def store_data(services: Services, values: Iterable[Any]) -> list[Ref]:
    """Refs of values that a graph held inline, each stored once in a run."""
    return in_parallel(services, lambda value: _store_value(services, value), list(values))


def fetch(services: Services, ref: Ref) -> Any:
    """Download one value, as ``results`` allows."""
    inputs = Inputs({STORE: services.clouds.store}, pickles=services.results != "data")
    return inputs.value(ref)


def in_parallel(services: Services, function: Callable[[T], R], items: list[T]) -> list[R]:
    """Results of a function over items, in their order; the first error is raised when all have ended."""
    if len(items) <= 1:
        return [function(item) for item in items]
    results: list[Any] = [None] * len(items)
    pending: SimpleQueue[int | None] = SimpleQueue()
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    for i in range(len(items)):
        pending.put(i)
    threads = min(PARALLEL, len(items))
    for _ in range(threads):
        pending.put(None)

    def work() -> None:
        error: BaseException | None = None
        while (i := pending.get()) is not None:
            if error is None:
                try:
                    results[i] = function(items[i])
                except Exception as raised:  # noqa: BLE001 - raised again where the results are waited for
                    error = raised
        ended.put(error)

    for _ in range(threads):
        services.pool.submit(work)
    errors = [error for _ in range(threads) if (error := ended.get()) is not None]
    if errors:
        raise errors[0]
    return results


class Metered:
    """Books what the client does with the store during a block: operations and egress are spend too."""

    def __init__(self, services: Services, what: str) -> None:
        self._services = services
        self._what = what

    def __enter__(self) -> None:
        self._before = self._services.clouds.store.usage.read()

    def __exit__(self, *_: object) -> None:
        services = self._services
        now = services.clouds.store.usage.read()
        writes, reads, written, read = (after - before for after, before in zip(now, self._before, strict=True))
        if not (writes or reads):
            return
        used = Resources(
            store_operations={"write": writes, "read": reads}, bytes_in=written, bytes_out={"client": read}
        )
        services.ledger.record(services.clouds.store_card, used, what=self._what)
        services.counters.add(client_bytes_in=read, client_bytes_out=written)


def _store_value(services: Services, value: Any) -> Ref:
    packed = pack_value(encode_pickle(value), services.clouds.store.algorithm)
    span = (packed.span.offset, packed.span.length)
    if packed.nbytes <= services.settings.inline_limit:
        return Ref("", "", span, packed.nbytes, packed.span.digest, data=b"".join(packed.pieces))
    return _put_once(services, "data", packed.span.digest, packed.pieces, span, packed.nbytes)


def _put_once(
    services: Services, folder: str, identity: bytes, pieces: list[Any], span: tuple[int, int], nbytes: int
) -> Ref:
    known = services.stored.get(identity)
    if known is None:
        key = f"{prefix_of(services.run)}{folder}/{identity.hex()}"
        services.clouds.store.put_if_absent(key, pieces)
        known = services.stored[identity] = Ref(STORE, key, span, nbytes, identity)
    return known
