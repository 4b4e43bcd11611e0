"""Settings: where they are read from, what they mean, and what is refused."""

from __future__ import annotations

import copy
import importlib.resources
import os
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import dask.config
import pytest
from dask.system import CPU_COUNT

from cloudoffload import settings
from cloudoffload.errors import SettingsError
from cloudoffload.settings import AwsSettings, CallSettings, LocalSettings, PanelSettings, Settings
from cloudoffload.types import Budget


def load_with(key: str, value: object) -> Settings:
    """The settings while one key is set."""
    with dask.config.set({f"cloudoffload.{key}": value}):
        return settings.load()


def load_in_subprocess(expression: str, **environment: str) -> str:
    """What a fresh process prints for an expression of ``s``, its settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    code = f"from cloudoffload import settings; s = settings.load(); print({expression})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_defaults() -> None:
    """With nothing set, these are the settings."""
    assert settings.load() == Settings(
        budget=Budget(Decimal(1)),
        results="verified",
        prefer="balanced",
        inline_limit=16 * 1024,
        result_limit=5 * 1024**3,
        retries=3,
        call=CallSettings(seconds=120.0, batch=256, target_seconds=0.5),
        local=LocalSettings(workers=CPU_COUNT, memory=None, folder=Path(tempfile.gettempdir())),
        aws=AwsSettings(memory_mb=1769),
        panel=PanelSettings(hertz=4.0),
    )


def test_every_key_is_explained_where_its_default_stands() -> None:
    """In the packaged file a comment lies directly above each key that holds a value."""
    text = importlib.resources.files("cloudoffload").joinpath("cloudoffload.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    keys = [number for number, line in enumerate(lines) if ": " in line and not line.lstrip().startswith("#")]
    assert len(keys) == 14
    assert [lines[number] for number in keys if not lines[number - 1].lstrip().startswith("# ")] == []


def test_dask_config_set_counts_while_it_lasts() -> None:
    """Settings are read when asked for: a block changes them and its end restores them."""
    with dask.config.set({"cloudoffload.retries": 7, "cloudoffload.local.workers": 5}):
        assert (settings.load().retries, settings.load().local.workers) == (7, 5)
    assert (settings.load().retries, settings.load().local.workers) == (3, CPU_COUNT)


@pytest.mark.parametrize("key", ["call.target-seconds", "call.target_seconds"])
def test_hyphens_and_underscores_are_one(key: str) -> None:
    """Keys are written either way, as everywhere in Dask's configuration."""
    assert load_with(key, 2).call == CallSettings(seconds=120.0, batch=256, target_seconds=2.0)


def test_environment_variables_count() -> None:
    """``DASK_CLOUDOFFLOAD__...`` reaches nested keys and keys of two words."""
    printed = load_in_subprocess(
        "(s.budget.usd, s.local.workers, s.inline_limit, s.call.target_seconds)",
        DASK_CLOUDOFFLOAD__BUDGET="0.50 USD",
        DASK_CLOUDOFFLOAD__LOCAL__WORKERS="3",
        DASK_CLOUDOFFLOAD__INLINE_LIMIT="8 KiB",
        DASK_CLOUDOFFLOAD__CALL__TARGET_SECONDS="250ms",
    )
    assert printed == "(Decimal('0.50'), 3, 8192, 0.25)"


def test_an_environment_variable_can_remove_the_budget() -> None:
    """``none`` said in the environment is said explicitly."""
    assert load_in_subprocess("s.budget.usd", DASK_CLOUDOFFLOAD__BUDGET="none") == "None"


def test_a_file_in_dasks_folder_counts(tmp_path: Path) -> None:
    """A ``cloudoffload.yaml`` beside Dask's own files changes what it names and leaves the rest."""
    text = "cloudoffload:\n  prefer: cost\n  call:\n  aws:\n    memory-mb: 512\n"
    (tmp_path / "cloudoffload.yaml").write_text(text, encoding="utf-8")
    printed = load_in_subprocess("(s.prefer, s.aws.memory_mb, s.call.batch)", DASK_CONFIG=str(tmp_path))
    assert printed == "('cost', 512, 256)"


def test_loading_changes_nothing() -> None:
    """Dask's configuration is the user's: reading it twice gives the same and leaves it as it was."""
    with dask.config.set({"cloudoffload.local": {"workers": 2}}):
        before = copy.deepcopy(dask.config.config)
        assert settings.load() == settings.load()
        assert dask.config.config == before


def test_one_load_does_not_leak_into_the_next() -> None:
    """What a block set is not kept among the defaults."""
    load_with("aws", {"memory_mb": 256})
    assert settings.load().aws.memory_mb == 1769


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("retires", 1, "cloudoffload.retires is no setting; did you mean cloudoffload.retries?"),
        (
            "call.target_second",
            1,
            "cloudoffload.call.target_second is no setting; did you mean cloudoffload.call.targe",
        ),
        ("local", {"memroy": 1}, "cloudoffload.local.memroy is no setting; did you mean cloudoffload.local.memory?"),
        ("zzz", 1, "cloudoffload.zzz is no setting. Known below cloudoffload: budget, results"),
    ],
)
def test_an_unknown_key_is_named_with_what_it_resembles(key: str, value: object, words: str) -> None:
    """A misspelt key never passes for the default: the message has its full name and the likely one."""
    with pytest.raises(SettingsError) as caught:
        load_with(key, value)
    assert words in str(caught.value)


def test_the_value_of_an_unknown_key_is_not_shown() -> None:
    """A secret that was put in the wrong place does not end in a log."""
    with pytest.raises(SettingsError) as caught:
        load_with("aws.secret-access-key", "hunter2")
    assert "cloudoffload.aws.secret-access-key" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", [4, "fast", ["workers"]])
def test_a_group_of_keys_takes_no_value_itself(value: object) -> None:
    """The message names the keys that lie below."""
    with pytest.raises(SettingsError, match=r"^cloudoffload\.local = .* keys below it: workers, memory, folder$"):
        load_with("local", value)
    with dask.config.set({"cloudoffload": value}), pytest.raises(SettingsError, match=r"^cloudoffload = .*: budget,"):
        settings.load()


REFUSED: list[tuple[str, str, list[Any]]] = [
    (
        "budget",
        "US dollars from 0",
        [
            "much",
            "1 EUR",
            "-1 USD",
            -1,
            float("nan"),
            float("inf"),
            "USD",
            "",
            True,
            "1,5 USD",
            [1],
            "\u0661 USD",
        ],
    ),
    ("results", "one of verified, data, pickle", ["pickles", None, "Verified", ["data"]]),
    ("prefer", "one of balanced, cost, latency", ["cheap", None, 1]),
    (
        "inline-limit",
        "a size from 0 bytes",
        [-1, "16 foos", "KiB", "", None, "-1 KiB", True, float("inf"), float("nan"), [1], "1e999"],
    ),
    ("result-limit", "a size from 1 bytes", [0, -1, "0 B", "5 GIGA", None, 0.5]),
    ("retries", "a whole number from 0", [-1, 1.5, "3", None, True, [3]]),
    (
        "call.seconds",
        "a duration over 0",
        [0, -1, "soon", "5 parsecs", None, "", ".5 s", "s", True, float("inf"), float("nan"), [1]],
    ),
    ("call.batch", "a whole number from 1", [0, 2.0, "256", None, True]),
    ("call.target-seconds", "a duration over 0", [0, -0.5, "half a second", None]),
    ("local.workers", "a whole number from 1, or null or auto for one per CPU", [0, -2, "all", 1.5, True, {"a": 1}]),
    ("local.memory", "a size from 1 bytes", [0, -1, "most of it", "2 GIGA", True]),
    ("local.folder", "a path, or null or auto", ["", 3, True, ["a"]]),
    ("aws.memory-mb", "a whole number from 128 to 10240", [127, 10241, "1769", 1769.5, None, True]),
    ("panel.hertz", "a number over 0, at most 4", [0, -1, 5, "4", None, True, float("nan")]),
]


@pytest.mark.parametrize(
    ("key", "allowed", "value"), [(key, allowed, value) for key, allowed, values in REFUSED for value in values]
)
def test_a_bad_value_is_refused_by_name(key: str, allowed: str, value: object) -> None:
    """The message has the full key, the value and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        load_with(key, value)
    assert str(caught.value).startswith(f"cloudoffload.{key} = {value!r} is not allowed: expected {allowed}")


@pytest.mark.parametrize(
    ("key", "value", "meaning"),
    [
        ("inline-limit", 0, 0),
        ("inline-limit", "1e3", 1000),
        ("result-limit", "1.5 MB", 1_500_000),
        ("retries", 0, 0),
        ("call.seconds", "2 minutes", 120.0),
        ("call.seconds", 0.25, 0.25),
        ("local.workers", "auto", CPU_COUNT),
        ("local.memory", "2 GiB", 2 * 1024**3),
        ("local.memory", None, None),
        ("local.folder", "~/offload", Path.home() / "offload"),
        ("local.folder", Path("here"), Path.cwd() / "here"),
        ("aws.memory-mb", 10_240, 10_240),
        ("panel.hertz", 0.5, 0.5),
    ],
)
def test_values_arrive_in_one_unit(key: str, value: object, meaning: object) -> None:
    """Bytes, seconds, paths: whatever way they were written."""
    found: Any = load_with(key, value)
    for name in key.replace("-", "_").split("."):
        found = getattr(found, name)
    assert found == meaning
    assert type(found) is type(meaning)


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        ("0.50 USD", Decimal("0.50")),
        ("0.50usd", Decimal("0.50")),
        ("$2", Decimal(2)),
        (" .5 ", Decimal("0.5")),
        (0.1, Decimal("0.1")),
        (3, Decimal(3)),
        (0, Decimal(0)),
        (1e-7, Decimal("1e-7")),
        (Decimal("12.345"), Decimal("12.345")),
        ("none", None),
        ("None", None),
        (None, None),
    ],
)
def test_a_budget_is_exact(value: object, usd: Decimal | None) -> None:
    """Every way to write one gives the very decimal that was meant; only none removes the limit."""
    assert settings.parse_budget(value) == Budget(usd)


def test_a_budget_passes_as_it_is() -> None:
    """A Budget keeps its own alerts."""
    budget = Budget(Decimal(2), alerts=(0.9,))
    assert settings.parse_budget(budget) is budget


def test_a_bad_budget_is_refused_by_name() -> None:
    """Outside the settings it is called what a Session calls it."""
    with pytest.raises(SettingsError, match=r"^budget = '1 EUR' is not allowed: expected US dollars"):
        settings.parse_budget("1 EUR")


def test_workers_share_the_memory_that_there_is() -> None:
    """Without a limit of its own each worker gets an equal share, for as many workers as there really are."""
    shared = load_with("local.workers", 2).local
    assert shared.memory_each() == shared.memory_each(1) // 2
    assert shared.memory_each(8) == shared.memory_each(1) // 8
    assert 0 < shared.memory_each(1) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_memory_limit_that_was_set_is_each_workers_own() -> None:
    """It is not divided by the number of workers."""
    fixed = load_with("local.memory", "3 GiB").local
    assert fixed.memory_each() == fixed.memory_each(8) == 3 * 1024**3
