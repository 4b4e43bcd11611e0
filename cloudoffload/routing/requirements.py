"""What a unit may ask for, and whether a provider's name is the one it asked for."""

from __future__ import annotations

from cloudoffload.errors import SettingsError
from cloudoffload.types import Requirements

COSTS = ("minimize", "balanced", "ignore")
LATENCIES = ("low", "medium", "high")
PREFERENCES = ("cost", "balanced", "latency")

_POSITIVE = ("memory_mb", "seconds")


def check(requirements: Requirements) -> None:
    """Refuse requirements that no router could understand.

    Raises
    ------
    SettingsError
        A field has a bad value; the message names it and what is allowed.
    """
    _one_of("Requirements.cost", requirements.cost, COSTS)
    _one_of("Requirements.latency", requirements.latency, LATENCIES)
    for name in _POSITIVE:
        value = getattr(requirements, name)
        # "not >" also refuses NaN, which is neither above nor below anything.
        if value is not None and not value > 0:
            raise SettingsError(f"Requirements.{name} must be above 0, not {value!r}")
    if requirements.retries is not None and requirements.retries < 0:
        raise SettingsError(f"Requirements.retries must be 0 or more, not {requirements.retries!r}")
    if requirements.provider == "":
        raise SettingsError('Requirements.provider must be a name such as "aws", or None for any provider')


def check_preference(prefer: str) -> None:
    """Refuse a session's preference that no router could understand.

    Raises
    ------
    SettingsError
        It is none of :data:`PREFERENCES`.
    """
    _one_of("prefer", prefer, PREFERENCES)


def matches(required: str, name: str) -> bool:
    """Whether a provider is the one that was asked for: ``"aws"`` means any of its regions."""
    return name == required or name.startswith(f"{required}:")


def _one_of(setting: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise SettingsError(f"{setting} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
