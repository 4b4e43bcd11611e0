"""What Python itself has besides text, numbers, lists and mappings: as nodes of a tree of plain data."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import uuid
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any

from cloudoffload.wire.tags import Decoder, Encoder, NotData, Tag
from cloudoffload.wire.tree import Reader, Rows, Wrapped, Writer


def _integer(value: int, writer: Writer) -> tuple[Any, ...]:
    return Tag.INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _slice(value: slice, writer: Writer) -> tuple[Any, ...]:
    parts = (value.start, value.stop, value.step)
    writer.look(parts)
    return Tag.SLICE, *map(writer.wrapped, parts)


def _uuid(value: uuid.UUID, writer: Writer) -> tuple[Any, ...]:
    return Tag.UUID, value.bytes, value.is_safe.value


def _time(value: datetime.time, writer: Writer) -> tuple[Any, ...]:
    return Tag.TIME, value.hour, value.minute, value.second, value.microsecond, _zone_of(value), value.fold


def _datetime(value: datetime.datetime, writer: Writer) -> tuple[Any, ...]:
    day = (value.year, value.month, value.day)
    time = (value.hour, value.minute, value.second, value.microsecond)
    return Tag.DATETIME, *day, *time, _zone_of(value), value.fold


def _zone_of(value: datetime.time | datetime.datetime) -> datetime.tzinfo | None:
    zone = value.tzinfo
    if zone is not None and type(zone) not in (datetime.timezone, zoneinfo.ZoneInfo):
        raise NotData(zone)
    return zone


def _offset(value: datetime.timezone, writer: Writer) -> tuple[Any, ...]:
    return Tag.OFFSET, *value.__getinitargs__()  # type: ignore[attr-defined]  # as pickle does; the name may be left out


def _zone(value: zoneinfo.ZoneInfo, writer: Writer) -> tuple[Any, ...]:
    # One that was made of a file has the rules of that file, whatever it is called.
    with contextlib.suppress(ValueError, LookupError, OSError):
        if value.key is not None and zoneinfo.ZoneInfo(value.key) is value:
            return Tag.ZONE, value.key
    raise NotData(value, "a time zone that is not of the time zone database")


def _rows(value: Rows, writer: Writer) -> tuple[Any, ...]:
    return Tag.ROWS, value.width, list(map(writer.wrapped, value.items))


def _typed(kind: type, make: Callable[[Any], Any]) -> Decoder:
    """Decoder of a node with one part of a known type: constructors take much else, such as the size to allocate."""

    def decode(parts: list[Any], reader: Reader) -> Any:
        (part,) = parts
        if type(part) is not kind:
            raise TypeError(f"a {kind.__name__} is expected, not a {type(part).__name__}")
        return make(part)

    return decode


def _made_rows(parts: list[Any], reader: Reader) -> list[tuple[Any, ...]]:
    width, items = parts
    if type(width) is not int or type(items) is not list or not 1 <= width <= len(items):
        raise ValueError("rows have no items")
    return list(zip(*[iter(items)] * width, strict=True))


def _made_uuid(parts: list[Any], reader: Reader) -> uuid.UUID:
    content, safe = parts
    return uuid.UUID(bytes=content, is_safe=uuid.SafeUUID(safe))


def _made_time(parts: list[Any], reader: Reader) -> datetime.time:
    hour, minute, second, microsecond, zone, fold = parts
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


def _made_datetime(parts: list[Any], reader: Reader) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond, zone, fold = parts
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


ENCODERS: Mapping[type, Encoder] = {
    tuple: lambda value, writer: (Tag.TUPLE, *value),
    set: lambda value, writer: (Tag.SET, *value),
    frozenset: lambda value, writer: (Tag.FROZENSET, *value),
    bytearray: lambda value, writer: (Tag.BYTEARRAY, bytes(value)),
    Rows: _rows,
    Wrapped: lambda value, writer: (Tag.BYTEARRAY, bytes(value.value)),
    int: _integer,
    complex: lambda value, writer: (Tag.COMPLEX, value.real, value.imag),
    range: lambda value, writer: (Tag.RANGE, value.start, value.stop, value.step),
    slice: _slice,
    type(...): lambda value, writer: (Tag.ELLIPSIS,),
    decimal.Decimal: lambda value, writer: (Tag.DECIMAL, str(value)),
    uuid.UUID: _uuid,
    datetime.date: lambda value, writer: (Tag.DATE, value.year, value.month, value.day),
    datetime.time: _time,
    datetime.datetime: _datetime,
    datetime.timedelta: lambda value, writer: (Tag.TIMEDELTA, value.days, value.seconds, value.microseconds),
    datetime.timezone: _offset,
    zoneinfo.ZoneInfo: _zone,
}

MUTABLE = frozenset((list, dict, set, bytearray))

DECODERS: Mapping[Tag, Decoder] = {
    Tag.ROWS: _made_rows,
    Tag.SET: lambda parts, reader: set(parts),
    Tag.FROZENSET: lambda parts, reader: frozenset(parts),
    Tag.BYTEARRAY: _typed(bytes, bytearray),
    Tag.INTEGER: _typed(bytes, lambda part: int.from_bytes(part, "little", signed=True)),
    Tag.COMPLEX: lambda parts, reader: complex(*parts),
    Tag.RANGE: lambda parts, reader: range(*parts),
    Tag.SLICE: lambda parts, reader: slice(*parts),
    Tag.ELLIPSIS: lambda parts, reader: ...,
    Tag.DECIMAL: _typed(str, decimal.Decimal),
    Tag.UUID: _made_uuid,
    Tag.DATE: lambda parts, reader: datetime.date(*parts),
    Tag.TIME: _made_time,
    Tag.DATETIME: _made_datetime,
    Tag.TIMEDELTA: lambda parts, reader: datetime.timedelta(*parts),
    Tag.OFFSET: lambda parts, reader: datetime.timezone(*parts),
    Tag.ZONE: _typed(str, zoneinfo.ZoneInfo),
}
