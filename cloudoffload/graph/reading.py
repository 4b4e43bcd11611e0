"""How much a computation reads from Parquet files, as their own footers say."""

from __future__ import annotations

from typing import Any

from dask._expr import Expr


def parquet_bytes(graph: Any) -> int:
    """Compressed bytes of the columns that the expression reads, estimated from a sample of the files' footers.

    Dask has read these footers already to choose its partitions. What else a graph reads is not known before it runs,
    and counts as 0.
    """
    if not isinstance(graph, Expr):
        return 0
    # Reads of several small files at once wrap the expression of one read, out of reach of ``walk``.
    nodes = [node.operand("_expr") if "_expr" in type(node)._parameters else node for node in graph.walk()]
    return sum(_size(node) for node in nodes if hasattr(type(node), "approx_statistics"))


def _size(node: Any) -> int:
    columns = {str(column) for column in node.columns}
    each = sum(
        column["total_compressed_size"]
        for column in node.approx_statistics()["columns"]
        if column["path_in_schema"].partition(".")[0] in columns
    )
    return int(each * len(node._partitions))
