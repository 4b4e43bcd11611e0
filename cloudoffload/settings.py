"""Settings: read from Dask's configuration each time they are asked for, checked, and typed.

They live under ``cloudoffload`` in :mod:`dask.config`, so files in ``~/.config/dask``, variables such as
``DASK_CLOUDOFFLOAD__LOCAL__WORKERS`` and ``dask.config.set`` all work. The packaged ``cloudoffload.yaml`` lies
underneath whatever is set there; it says what each key means, its unit and what is allowed. No key holds a secret:
credentials stay with the clouds' own tools.
"""

from __future__ import annotations

import copy
import difflib
import functools
import importlib.resources
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import dask.config
import yaml
from dask.system import cpu_count
from dask.utils import parse_bytes, parse_timedelta

from cloudoffload.errors import SettingsError
from cloudoffload.types import Budget

Results: TypeAlias = Literal["verified", "data", "pickle"]
"""What the client may decode."""

Prefer: TypeAlias = Literal["balanced", "cost", "latency"]
"""What counts when several clouds could do the work."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Shape of one call."""

    seconds: float  # deadline of a call whose length is not known yet
    batch: int  # most units in one call
    target_seconds: float  # aimed length of a batch on a cloud


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Worker processes on this machine."""

    workers: int  # resolved: never "one per CPU"
    memory: int | None  # limit of each worker, bytes; None means a share, see `memory_each`
    folder: Path  # where local stores lie

    def memory_each(self, workers: int | None = None) -> int:
        """Memory limit of each worker, bytes.

        Parameters
        ----------
        workers : int, optional
            How many there really are, when a Session was given another number than the setting.

        Raises
        ------
        SettingsError
            This system does not tell how much memory it has.
        """
        return self.memory if self.memory is not None else _total_memory() // (workers or self.workers)


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """The Lambda function."""

    memory_mb: int


@dataclass(frozen=True, slots=True)
class PanelSettings:
    """The live panel of a notebook."""

    hertz: float  # redraws a second


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, checked and in one unit: seconds, bytes, US dollars."""

    budget: Budget
    results: Results
    prefer: Prefer
    inline_limit: int  # largest value that travels inside an outcome, bytes
    result_limit: int  # largest single value, bytes
    retries: int  # further tries after a lost call
    call: CallSettings
    local: LocalSettings
    aws: AwsSettings
    panel: PanelSettings


def load() -> Settings:
    """Read and check the settings as they are now.

    Raises
    ------
    SettingsError
        A key is unknown or a value is not allowed; the message names the full key and what is allowed.
    """
    with dask.config.config_lock:  # another thread may be inside dask.config.set
        given = copy.deepcopy(dask.config.get("cloudoffload", default=None))
    tree = _overlay(_defaults(), given, "cloudoffload")

    def read(key: str, parse: Callable[[Any], T]) -> T:
        value: Any = tree
        for name in key.split("."):
            value = value[name]
        return _checked(f"cloudoffload.{key}", value, parse)

    return Settings(
        budget=read("budget", _budget),
        results=read("results", _one_of(Results)),
        prefer=read("prefer", _one_of(Prefer)),
        inline_limit=read("inline-limit", _size(0)),
        result_limit=read("result-limit", _size(1)),
        retries=read("retries", _whole(0)),
        call=CallSettings(
            seconds=read("call.seconds", _duration),
            batch=read("call.batch", _whole(1)),
            target_seconds=read("call.target-seconds", _duration),
        ),
        local=LocalSettings(
            workers=read("local.workers", _or_auto(_whole(1), cpu_count(), "one per CPU")),
            memory=read("local.memory", _or_auto(_size(1), None, "this machine's memory divided by the workers")),
            folder=read("local.folder", _or_auto(_folder, Path(tempfile.gettempdir()), "the temporary folder")),
        ),
        aws=AwsSettings(
            memory_mb=read("aws.memory-mb", _whole(128, 10_240)),
        ),
        panel=PanelSettings(hertz=read("panel.hertz", _hertz)),
    )


def parse_budget(value: object) -> Budget:
    """Read a budget.

    Parameters
    ----------
    value : str, Decimal, int, float, Budget or None
        US dollars: ``"0.50 USD"``, ``"$0.50"`` or a plain number, from 0. ``None`` and ``"none"`` mean no limit.

    Raises
    ------
    SettingsError
        It is none of these; the message says what is allowed.
    """
    return _checked("budget", value, _budget)


def _checked(key: str, value: object, parse: Callable[[Any], T]) -> T:
    """The parsed value; a parser's ValueError says only what is allowed, here it learns which key and value it was."""
    try:
        return parse(value)
    except ValueError as error:
        raise SettingsError(f"{key} = {value!r} is not allowed: expected {error}") from None


@functools.cache
def _defaults() -> Mapping[str, Any]:
    text = importlib.resources.files("cloudoffload").joinpath("cloudoffload.yaml").read_text(encoding="utf-8")
    tree: Mapping[str, Any] = yaml.safe_load(text)["cloudoffload"]
    return tree


def _overlay(defaults: Mapping[str, Any], given: object, path: str) -> dict[str, Any]:
    """What is given on top of the defaults; ``a_b`` and ``a-b`` are one key, as everywhere in Dask's configuration."""
    merged = dict(defaults)
    if given is None:  # a YAML file in which everything below this key is commented out
        return merged
    if not isinstance(given, Mapping):
        raise SettingsError(f"{path} = {given!r} is not allowed: expected keys below it: {', '.join(defaults)}")
    for name, value in given.items():
        key = dask.config.canonical_name(name, merged)
        if key not in defaults:
            raise SettingsError(_unknown(str(name), defaults, path))
        default = defaults[key]
        merged[key] = _overlay(default, value, f"{path}.{key}") if isinstance(default, Mapping) else value
    return merged


def _unknown(name: str, defaults: Mapping[str, Any], path: str) -> str:
    """Message about an unknown key; its value is left out, since it may be a secret set in the wrong place."""
    close = difflib.get_close_matches(name.replace("_", "-"), defaults, n=1)
    hint = f"; did you mean {path}.{close[0]}?" if close else "."
    return f"{path}.{name} is no setting{hint} Known below {path}: {', '.join(defaults)}"


# Parsers: each returns the typed value, or raises ValueError with the words that follow "expected".


def _budget(value: object) -> Budget:
    if isinstance(value, Budget):
        return value
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return Budget(usd=None)
    # Through text, so that 0.1 is ten cents and not the binary fraction beside it.
    match = re.fullmatch(r"\s*\$?\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(?:USD)?\s*", str(value), re.IGNORECASE)
    if match is None:
        raise ValueError('US dollars from 0, such as "0.50 USD" or 0.5, or none for no limit')
    return Budget(usd=Decimal(match[1]))


def _one_of(choice: Any) -> Callable[[object], Any]:
    names = get_args(choice)

    def parse(value: object) -> object:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return parse


def _whole(least: int, most: int | None = None) -> Callable[[object], int]:
    bounds = f"from {least}" if most is None else f"from {least} to {most}"

    def parse(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least or (most and value > most):
            raise ValueError(f"a whole number {bounds}")
        return value

    return parse


def _size(least: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        size = _measure(value, parse_bytes)
        if size is None or size < least:
            raise ValueError(f'a size from {least} bytes, such as 1000 or "16 KiB"')
        return int(size)

    return parse


def _duration(value: object) -> float:
    seconds = _measure(value, parse_timedelta)
    if seconds is None or seconds <= 0:
        raise ValueError('a duration over 0, such as 0.5 (seconds) or "2 minutes"')
    return float(seconds)


def _measure(value: object, parse: Callable[[Any], float]) -> float | None:
    """What Dask's parser makes of it, None where that is no sensible number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    # Dask reads text without a leading digit as "one such unit", so that ".5 s" would be one and a half seconds.
    if isinstance(value, str) and not value[:1].isdigit():
        return None
    try:
        return parse(value)
    except (ValueError, KeyError, OverflowError):
        return None


def _folder(value: object) -> Path:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("a path")
    return Path(value).expanduser().absolute()


def _or_auto(parse: Callable[[object], T], chosen: T, meaning: str) -> Callable[[object], T]:
    """A parser that takes null and ``auto`` for ``chosen``, and says so when it refuses a value."""

    def parse_or_choose(value: object) -> T:
        if value is None or value == "auto":
            return chosen
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or null or auto for {meaning}") from None

    return parse_or_choose


def _hertz(value: object) -> float:
    # More often than four times a second only costs CPU: a panel is read by eyes.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 4:
        raise ValueError("a number over 0, at most 4")
    return float(value)


def _total_memory() -> int:
    """Memory that this process and its children may use together, bytes: the machine's, or its control group's."""
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        message = "this system does not tell how much memory it has: set cloudoffload.local.memory"
        raise SettingsError(message) from None
    for place in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups version 2, then version 1
        try:
            limit = float(Path("/sys/fs/cgroup", place).read_text(encoding="ascii").replace("max", "inf"))
        except (OSError, ValueError):
            continue
        if math.isfinite(limit):
            limits.append(int(limit))
    return min(limits)
