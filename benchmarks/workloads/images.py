"""Photographs made smaller: independent pieces of honest CPU work."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask

from benchmarks.photographs import photographs
from benchmarks.promises import wall_of_busy_cpus
from benchmarks.workloads.workload import Answer, Workload

SMALL = (768, 1024)
QUALITY = 85


def read(path: str) -> Any:
    """A photograph, decoded."""
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def shrink(image: Any) -> Any:
    """The same in few pixels."""
    from PIL import Image

    return image.resize(SMALL, Image.Resampling.LANCZOS)


def encode(image: Any) -> tuple[int, int]:
    """As JPEG: its bytes, and a number that they make."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    data = buffer.getvalue()
    # Short enough that the sum of all is exact also as a floating-point number.
    return len(data), int.from_bytes(hashlib.sha256(data).digest()[:4])


def thumbnail(path: str) -> tuple[int, int]:
    """All three steps."""
    return encode(shrink(read(path)))


def with_dask(tool: Any, place: str, size: int) -> Callable[[], Sequence[tuple[int, int]]]:
    """Three tasks for each photograph."""
    steps = [dask.delayed(encode)(dask.delayed(shrink)(dask.delayed(read)(path))) for path in _paths(place)]
    return lambda: list(dask.compute(*steps))


def with_lithops(remote_map: Any, place: str, size: int) -> Callable[[], Sequence[tuple[int, int]]]:
    """One activation for each photograph."""
    paths = _paths(place)
    return lambda: list(remote_map(thumbnail, paths))


def _paths(place: str) -> list[str]:
    return sorted(map(str, Path(place).glob("*.jpg")))


def _answer(made: Sequence[tuple[int, int]]) -> Answer:
    return [len(made), *map(sum, zip(*made, strict=True))]


IMAGES = Workload(
    title="photographs of 8 megapixels made smaller",
    unit="photographs",
    size=100,
    engines=("cloudoffload", "localcluster", "threads", "processes", "lithops", "bare"),
    solutions={"dask": with_dask, "lithops": with_lithops},
    answer=_answer,
    prepare=photographs,
    promises=(wall_of_busy_cpus(1.05),),
)
