"""Promises of the photographs."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from benchmarks.photographs import PIXELS, photographs


def test_photographs_are_distinct_and_large(tmp_path: Path) -> None:
    """Every file is a JPEG of 8 megapixels with as much detail as takes a megabyte, and no two show the same."""
    files = sorted(photographs(3, root=tmp_path).iterdir())
    assert len({file.read_bytes() for file in files}) == 3
    assert min(file.stat().st_size for file in files) > 800_000
    for file in files:
        with Image.open(file) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", PIXELS, "RGB")
