"""What units of one kind have taken so far, by provider."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from cloudoffload.types import Key

_MOST_NAMES = 10_000


@dataclass(slots=True)
class Record:
    """Seconds of units of one prefix on one provider."""

    units: int = 0
    mean: float = 0.0  # of all of them
    longest: float = 0.0
    recent: float = 0.0  # mean of the last call: the first one often pays for imports

    def add(self, units: int, total: float, longest: float) -> None:
        """Add the units of one call."""
        self.mean = (self.mean * self.units + total) / (self.units + units)
        self.units += units
        self.longest = max(self.longest, longest)
        self.recent = total / units


class Learned:
    """Records of a session, shared by its computations; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str], Record] = {}
        self._seen: set[tuple[Key, str]] = set()

    def saw(self, keys: Iterable[Key], provider: str) -> None:
        """Units with these keys have run on a provider."""
        # Of a collection's many keys, ``(name, number)``, the name; it has a token of all that the values depend on.
        names = {(key[0] if isinstance(key, tuple) else key, provider) for key in keys}
        if not names <= self._seen:
            with self._lock:
                if len(self._seen) > _MOST_NAMES:
                    self._seen = set()
                self._seen |= names

    def has_seen(self, key: Key, provider: str) -> bool:
        """Whether the very same has run before on a provider, not only something that is called alike."""
        return (key[0] if isinstance(key, tuple) else key, provider) in self._seen

    def add(self, prefix: str, provider: str, seconds: list[float]) -> None:
        """Add what the units of one call took."""
        if not seconds:
            return
        with self._lock:
            record = self._records.setdefault((prefix, provider), Record())
            record.add(len(seconds), sum(seconds), max(seconds))

    def get(self, prefix: str, provider: str) -> Record | None:
        """Record of a kind of unit on a provider, None when none has run there."""
        return self._records.get((prefix, provider))
