"""Arguments of a Session, checked and filled up from the settings."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import get_args

from cloudoffload.engine.clouds import EMULATED
from cloudoffload.errors import SettingsError
from cloudoffload.interfaces import Provider
from cloudoffload.routing.requirements import check
from cloudoffload.settings import Prefer, Results, Settings, load, parse_budget
from cloudoffload.types import Budget, Requirements


@dataclass(frozen=True, slots=True)
class Options:
    """What a Session was asked for, as :class:`~cloudoffload.engine.session.Session` explains it."""

    settings: Settings
    run_id: str
    providers: tuple[str | Provider, ...]
    emulate: tuple[str, ...]
    store: str | None
    budget: Budget
    prefer: str
    results: str
    rules: Mapping[str, Requirements]
    workers: int
    worker_memory: int  # bytes
    tags: Mapping[str, str]


def read_options(
    *,
    providers: Sequence[str | Provider] | None,
    emulate: bool | Sequence[str],
    store: str | None,
    budget: str | Decimal | float | Budget | None,
    prefer: str | None,
    rules: Mapping[str, Requirements] | None,
    workers: int | None,
    memory_mb: int | None,
    results: str | None,
    tags: Mapping[str, str] | None,
    run_id: str | None,
) -> Options:
    """Check the arguments; what is None comes from the settings.

    Raises
    ------
    SettingsError
        An argument or a setting is not allowed; the message says what is.
    """
    settings = load()
    count = _positive("workers", workers) or settings.local.workers
    memory = _positive("memory_mb", memory_mb)
    return Options(
        settings=settings,
        run_id=_run_id(run_id),
        providers=_names(providers, emulate),
        emulate=tuple(EMULATED) if emulate is True else tuple(emulate or ()),
        store=store,
        budget=settings.budget if budget is None else parse_budget(budget),
        prefer=_allowed("prefer", prefer or settings.prefer, get_args(Prefer)),
        results=_allowed("results", results or settings.results, get_args(Results)),
        rules=_rules(rules or {}),
        workers=count,
        worker_memory=memory << 20 if memory else settings.local.memory_each(count),
        tags=dict(tags or {}),
    )


def _names(providers: Sequence[str | Provider] | None, emulate: bool | Sequence[str]) -> tuple[str | Provider, ...]:
    if isinstance(providers, str) or isinstance(emulate, str):
        raise SettingsError("providers and emulate are sequences of names, such as providers=('aws',)")
    if providers is not None:
        if not providers:
            raise SettingsError("providers names no provider; use ('local',) to run on this machine")
        return tuple(providers)
    return (*(EMULATED if emulate is True else tuple(emulate or ())), "local")


def _allowed(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise SettingsError(f"{name} = {value!r} is not allowed: use one of {', '.join(map(repr, choices))}")
    return value


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise SettingsError(f"{name} = {value!r} is not allowed: use a whole number from 1")
    return value


def _run_id(value: str | None) -> str:
    if value is None:
        return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        # It becomes part of keys and paths, and what lies below them is deleted at the end.
        raise SettingsError(f"run_id = {value!r} is not allowed: use 1 to 64 letters, digits, '.', '_' and '-'")
    return value


def _rules(rules: Mapping[str, Requirements]) -> Mapping[str, Requirements]:
    for prefix, rule in rules.items():
        if not isinstance(rule, Requirements):
            raise SettingsError(
                f"rules[{prefix!r}] = {rule!r} is not allowed: use Requirements, such as Requirements(provider='aws')"
            )
        check(rule)
    return dict(rules)
