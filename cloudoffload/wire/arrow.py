"""Arrow arrays as a schema and record batches, whose memory is used as it came."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pyarrow as pa

from cloudoffload.interfaces import Buffer


def carries(kind: pa.DataType) -> bool:
    """Whether record batches carry arrays of a type, and nothing but their elements.

    Dictionaries travel beside the batches, foreign types must be known to the reader, and of types without any memory
    a few bytes could claim any number of elements.
    """
    if any(holds(kind) for holds in _PLAIN):
        return True
    if pa.types.is_fixed_size_binary(kind):
        return bool(kind.byte_width > 0)
    if pa.types.is_fixed_size_list(kind) and kind.list_size == 0:
        return False
    nested = any(holds(kind) for holds in _NESTED)
    return nested and kind.num_fields > 0 and all(carries(kind.field(i).type) for i in range(kind.num_fields))


def pieces_of(array: pa.ChunkedArray) -> tuple[bytes, list[memoryview]]:
    """Schema of an array, and a record batch for each of its chunks."""
    schema = pa.schema([pa.field("", array.type)])
    batches = [pa.RecordBatch.from_arrays([chunk], schema=schema) for chunk in array.chunks]
    return schema.serialize().to_pybytes(), [memoryview(batch.serialize()) for batch in batches]


def array_of(schema_bytes: bytes, batches: Sequence[Buffer]) -> pa.ChunkedArray:
    """Array of its schema and record batches.

    Raises
    ------
    ValueError, TypeError, struct.error, pyarrow.ArrowException
        They are none, or not all that they say.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    if len(schema) != 1 or not carries(schema.field(0).type):
        raise ValueError("a schema is not that of one array of plain elements")
    chunks = []
    for buffer in batches:
        message = pa.ipc.read_message(pa.py_buffer(buffer))
        if _is_compressed(message.metadata):
            raise ValueError("a record batch is compressed: a few bytes of it could become very many")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)  # Arrow reads memory wherever offsets point, and a worker may have made them up
        chunks.append(batch.column(0))
    return pa.chunked_array(chunks, schema.field(0).type)


def _is_compressed(metadata: pa.Buffer) -> bool:
    """Whether the body of a message is compressed; pyarrow can't tell before it has decompressed it.

    The format is Arrow's ``Message.fbs``: the third field of a message is its header, the fourth of a record batch says
    how it is compressed.
    """
    data = memoryview(metadata)
    (root,) = struct.unpack_from("<I", data)
    header = _field(data, root, 2)
    if header is None:
        raise ValueError("a message has no header")
    (distance,) = struct.unpack_from("<I", data, header)
    return _field(data, header + distance, 3) is not None


def _field(data: memoryview, table: int, number: int) -> int | None:
    """Where a field of a FlatBuffers table lies; None when it is left out."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    entry = 4 + 2 * number
    (offset,) = struct.unpack_from("<H", data, table - back + entry) if entry < size else (0,)
    return table + offset if offset else None


_PLAIN = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_timestamp,
    pa.types.is_duration,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)
_NESTED = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_struct,
    pa.types.is_map,
)
