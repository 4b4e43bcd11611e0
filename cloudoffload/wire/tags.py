"""What the nodes of a tree of plain data are, and what makes them and reads them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from cloudoffload.wire.tree import Reader, Writer


class Tag(enum.IntEnum):
    """What a node is; numbers are part of the format."""

    TUPLE = 1
    SET = 2
    FROZENSET = 3
    BYTEARRAY = 4
    INTEGER = 5  # of more than 64 bits
    COMPLEX = 6
    RANGE = 7
    SLICE = 8
    ELLIPSIS = 9
    DECIMAL = 10
    UUID = 11
    DATE = 12
    TIME = 13
    DATETIME = 14
    TIMEDELTA = 15
    OFFSET = 16  # a time zone that is a fixed offset
    ZONE = 17  # a time zone of the IANA database
    ROWS = 18  # a list of tuples of one length
    ARRAY = 32
    OBJECTS = 33  # an array of Python objects
    SCALAR = 34
    MASKED = 35
    MOMENTS = 64  # pandas arrays from here on
    ZONED = 65
    PERIODS = 66
    INTERVALS = 67
    CATEGORIES = 68
    NULLABLE = 69
    TEXTS = 70
    ARROW = 71
    RANGE_INDEX = 80
    INDEX = 81
    LEVELS = 82
    SERIES = 83
    FRAME = 84
    TIMESTAMP = 96
    DURATION = 97
    PERIOD = 98
    INTERVAL = 99
    NAT = 100
    NA = 101


class NotData(Exception):
    """A value, or something in it, that no node returns unchanged.

    Attributes
    ----------
    item : object
        The innermost thing that does not fit.
    why : str
        What it is, where its type does not say it; otherwise empty.
    """

    def __init__(self, item: Any, why: str = "") -> None:
        super().__init__(why or str(type(item)))
        self.item = item
        self.why = why


Encoder: TypeAlias = "Callable[[Any, Writer], tuple[Any, ...]]"  # of a value: its tag, then its parts
Decoder: TypeAlias = "Callable[[list[Any], Reader], Any]"  # of the parts
