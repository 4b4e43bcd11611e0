"""Nouns of cloudoffload: frozen records without behaviour that could fail, shared by every floor.

Units of measure are always the same: seconds, bytes, MB of 1024 * 1024 bytes where a cloud sells them so, and US
dollars as :class:`~decimal.Decimal`.

What there is one of for every unit of a graph is a named tuple: making one costs a third of making a dataclass.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

Key: TypeAlias = "str | bytes | int | float | tuple[Key, ...]"
"""What Dask accepts as the name of a task."""

PartName: TypeAlias = "int | str"
"""Name of one part of a value that was written in parts, such as the number of a shuffle's output partition."""


class Ref(NamedTuple):
    """Where a value lies. The client moves refs, never the data."""

    store: str  # name of the store in the call's table of stores; "" when the bytes travel in `data`
    key: str  # object's key in that store, relative to the store's root
    span: tuple[int, int]  # offset and length of the value (or of the footer of a value in parts), bytes
    nbytes: int  # bytes that a reader of the whole value must fetch
    digest: bytes  # one byte naming the algorithm (wire.digest), then the digest of the span
    parted: bool = False  # the value was written in parts; `span` is then the footer that lists them
    part: PartName | None = None  # which part is meant, None for the whole value
    data: bytes | None = None  # the span itself, for values so small that a stored object would cost more


class Emit(enum.StrEnum):
    """How a unit's value is written."""

    VALUE = "value"  # one value
    PARTS = "parts"  # a mapping or sequence, each item readable on its own
    INDEX = "index"  # a barrier: reads the footers of all inputs, writes where each part of each input lies


class FailureKind(enum.StrEnum):
    """Why a unit has no value, seen from its worker."""

    EXCEPTION = "exception"  # the user's code raised
    MISSING_PACKAGE = "missing-package"  # the graph imports what this worker does not have
    VERSION = "version"  # the worker's Python or wire version does not fit the client's
    UNPICKLABLE_GRAPH = "unpicklable-graph"  # the graph was verified but could not be loaded
    UNPICKLABLE_RESULT = "unpicklable-result"  # the value cannot be written by any codec
    RESULT_TYPE = "result-type"  # results="data" and no data-only codec fits
    RESULT_TOO_BIG = "result-too-big"  # larger than the limit for one value
    INPUT_LOST = "input-lost"  # an input is missing or its digest is wrong
    STORE = "store"  # the store could not be read or written
    OUT_OF_MEMORY = "out-of-memory"  # MemoryError inside the worker
    DEADLINE = "deadline"  # the call's time was over before this unit ended


@dataclass(frozen=True, slots=True)
class Failure:
    """What a call answers for a unit that has no value."""

    kind: FailureKind
    type_name: str  # qualified name of the exception's type on the worker
    message: str  # str(exception)
    traceback: str  # formatted on the worker; "" when there is none
    arguments: tuple[Any, ...] | None = None  # exception.args where they are plain data
    pickled: bytes | None = None  # the exception itself, when it could be pickled
    unit_key: str = ""  # repr of the Dask key, for messages


@dataclass(frozen=True, slots=True)
class Resources:
    """What a call uses: the same type whether estimated or measured."""

    seconds: float = 0.0  # wall seconds of the handler, as the cloud reports them when it does
    init_seconds: float = 0.0  # seconds of a cold start that are billed
    cpu_seconds: float = 0.0  # user and system CPU seconds of the worker process
    memory_mb: int = 0  # memory that is paid for, MB
    peak_memory_mb: float = 0.0  # most memory that the worker held, MB; 0 when unknown
    requests: int = 0  # paid invocations
    store_operations: Mapping[str, int] = field(default_factory=dict)  # by class: "write", "read"
    bytes_in: int = 0  # bytes read from stores
    bytes_out: Mapping[str, int] = field(default_factory=dict)  # bytes sent, by destination: "store", "client"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a unit needs or prefers; every field that is None leaves the choice to the router."""

    provider: str | None = None  # a provider's name, or the part of it before the colon
    cost: str | None = None  # "minimize" | "balanced" | "ignore"
    latency: str | None = None  # "low" | "medium" | "high"
    memory_mb: int | None = None  # least memory, MB
    seconds: float | None = None  # expected seconds of one unit; also bounds its deadline
    gpu: bool | None = None
    region: str | None = None
    retries: int | None = None  # further tries after a lost call


class Edge(NamedTuple):
    """One input of a unit: the value of another unit, or one part of it."""

    source: int  # number of a unit, or len(units) + number of a datum
    part: PartName | None = None


class Unit(NamedTuple):
    """A piece of the graph that always runs in one place."""

    number: int  # place in the plan, from 0
    key: Key  # Dask's key of the value that it makes
    prefix: str  # what its key begins with, such as "read-parquet": like units share it
    inputs: tuple[Edge, ...]
    priority: int  # place in dask.order
    emit: Emit = Emit.VALUE
    requested: bool = False  # the caller asked for this value
    keeps_inputs: bool = False  # its readers read its inputs too (a barrier, never requested): free them together
    here_because: str = ""  # why it must run on this machine; "" when it may run anywhere
    requirements: Requirements = Requirements()
    tasks: tuple[Key, ...] = ()  # keys of the graph's tasks in it, in the order in which they run


@dataclass(frozen=True, slots=True)
class Plan:
    """Units of one computation, and everything that a worker needs to run them."""

    units: tuple[Unit, ...]
    program: bytes  # the pickled units, shipped once: see wire.program
    data: tuple[Any, ...]  # values that the graph held inline, to be stored before the first unit runs
    results: tuple[Edge, ...]  # where each requested value comes from, in the order of the flattened keys
    known: Mapping[int, Ref] = field(default_factory=dict)  # data that lies in a store already, by datum number
    notes: tuple[str, ...] = ()  # choices that the plan made, a sentence each, for whoever reads it


class Assignment(NamedTuple):
    """One unit inside a call."""

    number: int
    attempt: int  # from 1; outputs are named by it
    inputs: tuple[Ref | Edge, ...]  # in the order of the unit's edges; an edge leads to an earlier unit of the call
    requested: bool = False


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """How a worker opens one store: its URL and a credential limited to the run's prefix."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # obstore options; may hold secrets


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation of a cloud function: a batch of units, sent to one provider."""

    id: str  # unique within the run
    run: str
    provider: str
    units: tuple[Assignment, ...]
    seconds: float  # deadline that the worker enforces on itself, counted from its start
    memory_mb: int
    envelope: bytes = field(default=b"", repr=False)  # the signed call as it travels
    answer_key: bytes = field(default=b"", repr=False)  # the outcome is authenticated by this key


@dataclass(frozen=True, slots=True)
class Message:
    """Something that remote code said."""

    source: str  # "stdout" | "stderr" | "log" | "warning"
    text: str
    level: int = 0  # logging level, for "log"
    name: str = ""  # logger's name for "log", category's name for "warning"
    filename: str = ""
    lineno: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call answers."""

    results: tuple[Ref | Failure, ...]  # in the order of call.units
    unit_seconds: tuple[float, ...]  # in the same order
    resources: Resources
    messages: tuple[Message, ...] = ()
    worker: str = ""  # which process or instance ran it, for traces


@dataclass(frozen=True, slots=True)
class Price:
    """One priced dimension of a product."""

    rate: Decimal  # USD per unit
    per: Decimal  # how many units the rate buys, such as 1000 PUTs
    free: Decimal = Decimal(0)  # units a month that cost nothing
    whole: bool = False  # billed up to the next whole `per`


@dataclass(frozen=True, slots=True)
class RateCard:
    """Prices and limits of one provider in one region, from a dated file."""

    provider: str
    version: str  # date of the prices; every row of the ledger names it
    source: str  # where they were read
    prices: Mapping[str, Price]  # by dimension: "gb_second", "request", "write", "read", "egress_gb", ...
    billing_seconds: float  # each invocation is billed up to the next multiple of this
    request_bytes: int  # largest request, bytes
    response_bytes: int  # largest response, bytes
    max_seconds: float  # longest run of one call
    memory_mb: tuple[int, int]  # least and most memory of a function
    concurrency: int  # calls at once


@dataclass(frozen=True, slots=True)
class Quote:
    """What one provider would take for a batch, or why it can't have it."""

    provider: str
    usd: Decimal
    seconds: float
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """One attempt's money: a row of the ledger."""

    call: str
    provider: str
    price_version: str
    resources: Resources
    usd: Mapping[str, Decimal]  # by layer: "compute", "requests", "storage", "egress"
    units: int
    ok: bool  # the attempt's values were used
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        """Dollars of all layers."""
        return sum(self.usd.values(), Decimal(0))


@dataclass(frozen=True, slots=True)
class Budget:
    """Most that one run may cost; `usd` None means no limit, which must be said explicitly."""

    usd: Decimal | None
    alerts: tuple[float, ...] = (0.5, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a computation would take, before anything is spent."""

    usd_low: Decimal
    usd_high: Decimal
    seconds: float
    bytes_in: int
    bytes_out: int
    calls: int
    units: int
    by_provider: Mapping[str, int] = field(default_factory=dict)  # units
