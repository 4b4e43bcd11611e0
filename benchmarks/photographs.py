"""A folder of distinct photographs, cut from one that Matplotlib ships with its examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.data import made_once

PIXELS = (2448, 3264)
"""Width and height: 8 megapixels, as a telephone makes them."""

_SOURCE = ("sample_data", "grace_hopper.jpg")
_GRAIN = 5  # most that a sensor's noise adds to a colour; without it files would be far smaller than photographs are


def photographs(count: int, *, root: Path | None = None) -> Path:
    """Folder of so many JPEG files, each another cut, every second one mirrored; made once."""
    return made_once(f"photographs-{count}", lambda folder: _write(folder, count), root)


def _write(folder: Path, count: int) -> None:
    import matplotlib
    from PIL import Image, ImageOps

    random = np.random.default_rng(4)
    with Image.open(Path(matplotlib.get_data_path(), *_SOURCE)) as opened:
        source = opened.convert("RGB")
    for number in range(count):
        height = int(random.integers(source.height * 3 // 4, source.height))
        width = height * PIXELS[0] // PIXELS[1]
        left, top = (int(random.integers(most)) for most in (source.width - width, source.height - height))
        cut = source.resize(PIXELS, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        if number % 2:
            cut = ImageOps.mirror(cut)
        grain = random.integers(-_GRAIN, _GRAIN + 1, (*cut.size[::-1], 3), dtype=np.int16)
        pixels = np.clip(np.asarray(cut) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.jpg", quality=90)
