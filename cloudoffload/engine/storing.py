"""What the client itself writes to and reads from the store, and what that costs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from cloudoffload.engine.objects import Belongings
from cloudoffload.engine.services import STORE, Services
from cloudoffload.types import Ref, Resources
from cloudoffload.wire.codecs import encode_pickle
from cloudoffload.wire.digest import digest
from cloudoffload.wire.envelope import prefix_of
from cloudoffload.wire.values import pack_value
from cloudoffload.worker.inputs import Inputs

PARALLEL = 8
"""Transfers of the client at once."""

INLINE_PROGRAMS = 64 * 1024
"""Most bytes that all copies of a program inside calls may take together; beyond it one stored object costs less."""

_ALONE_SECONDS = 0.002
"""How long one thread works alone, seconds: by then a few small values are done, and waking others takes as long."""

T = TypeVar("T")
R = TypeVar("R")


def store_program(services: Services, objects: Belongings, program: bytes, calls: int) -> Ref:
    """Ref of a pickled program: inside the calls when it is small, else an object that every worker reads once.

    Parameters
    ----------
    services : Services
        Of the session.
    objects : Belongings
        Of the computation.
    program : bytes
        The pickled units.
    calls : int
        Most calls that may carry it.
    """
    algorithm = services.clouds.store.algorithm
    identity = digest((program,), algorithm)
    if len(program) <= services.settings.inline_limit and len(program) * calls <= INLINE_PROGRAMS:
        return Ref("", "", (0, len(program)), len(program), identity, data=program)

    def put(piece: bytes) -> Ref:
        return _put_once(services, objects, "graphs", identity, [piece], (0, len(piece)), len(piece))

    return in_parallel(services, put, [program])[0]


def store_data(services: Services, objects: Belongings, values: Iterable[Any]) -> list[Ref]:
    """Refs of values that a graph held inline; what several computations need at a time is stored once."""
    return in_parallel(services, lambda value: _store_value(services, objects, value), list(values))


def fetch(services: Services, ref: Ref) -> Any:
    """Download one value, as ``results`` allows."""
    inputs = Inputs({STORE: services.clouds.store}, pickles=services.results != "data")
    return inputs.value(ref)


def in_parallel(services: Services, function: Callable[[T], R], items: list[T]) -> list[R]:
    """Results of a function over items, in their order; the first error is raised when all have ended.

    The caller only waits: a transfer can't be interrupted, and Ctrl-C must be heard.
    """
    if not items:
        return []
    results: list[Any] = [None] * len(items)
    places = deque(range(len(items)))
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            while (i := _next(places)) is not None:
                results[i] = function(items[i])
        except BaseException as error:  # noqa: BLE001 - raised again where the results are waited for
            places.clear()
            ended.put(error)
        else:
            ended.put(None)

    helpers = min(PARALLEL, len(items)) - 1
    try:
        services.pool.submit(work)
        try:
            errors = [ended.get(timeout=_ALONE_SECONDS)]
        except Empty:
            for _ in range(helpers):
                services.pool.submit(work)
            errors = [ended.get() for _ in range(helpers + 1)]
    except BaseException:
        places.clear()  # what was not begun is not wanted any more
        raise
    for error in filter(None, errors):
        raise error
    return results


@contextmanager
def metered(services: Services, what: str) -> Iterator[None]:
    """Book what the client does with the store during a block: operations and egress are spend too."""
    try:
        yield
    finally:
        writes, reads, written, read = services.store_usage()
        if writes or reads:
            used = Resources(
                store_operations={"write": writes, "read": reads}, bytes_in=written, bytes_out={"client": read}
            )
            services.ledger.record(services.clouds.store_card, used, what=what)
            services.counters.add(client_bytes_in=read, client_bytes_out=written)


def _next(places: deque[int]) -> int | None:
    try:
        return places.popleft()
    except IndexError:
        return None


def _store_value(services: Services, objects: Belongings, value: Any) -> Ref:
    packed = pack_value(encode_pickle(value), services.clouds.store.algorithm)
    span = (packed.span.offset, packed.span.length)
    if packed.nbytes <= services.settings.inline_limit:
        return Ref("", "", span, packed.nbytes, packed.span.digest, data=b"".join(packed.pieces))
    return _put_once(services, objects, "data", packed.span.digest, packed.pieces, span, packed.nbytes)


def _put_once(
    services: Services,
    objects: Belongings,
    folder: str,
    identity: bytes,
    pieces: list[Any],
    span: tuple[int, int],
    nbytes: int,
) -> Ref:
    def write(key: str) -> Ref:
        services.clouds.store.put_if_absent(key, pieces)
        return Ref(STORE, key, span, nbytes, identity)

    return objects.share(identity, f"{prefix_of(services.run)}{folder}/", write)
