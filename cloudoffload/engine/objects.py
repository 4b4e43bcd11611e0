"""What a run has in its store, as its client knows it: how many bytes, and until when each object is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cloudoffload.types import Plan, Ref

FIRST_PAUSE = 1.0
"""How long after its call was lost an object is looked for the second time, seconds; then ever later."""

_PAUSE_GROWTH = 4.0


@dataclass(slots=True, eq=False)
class _Shared:
    """An object that is named by its content."""

    identity: bytes
    key: str
    users: int = 0
    ref: Ref | None = None  # None until it is written
    writing: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class _Suspects:
    """Objects that calls may still write although nobody waits for them."""

    keys: list[str]
    until: float  # when the last of the calls has ended
    due: float  # when to delete them next
    pause: float = FIRST_PAUSE


class Inventory:
    """All objects of a run; thread-safe.

    Attributes
    ----------
    nbytes : int
        Of the objects that are there now, bytes. One that was let go counts until it is deleted.
    peak : int
        The most that there ever was, bytes.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self.peak = 0
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._shared: dict[bytes, _Shared] = {}  # by content
        self._by_key: dict[str, _Shared] = {}
        self._made = 0
        self._suspects: list[_Suspects] = []

    def add(self, key: str, nbytes: int) -> None:
        """An object was written."""
        with self._lock:
            self.nbytes += nbytes
            self._sizes[key] = nbytes
            self.peak = max(self.peak, self.nbytes)

    def share(self, identity: bytes, folder: str, write: Callable[[str], Ref]) -> Ref:
        """Ref of an object that is written once for all who need it at the same time; each lets it go once.

        Parameters
        ----------
        identity : bytes
            Digest of its content.
        folder : str
            Where it lies, ending in a slash.
        write : callable
            ``write(key)`` writes the object and returns its ref.
        """
        with self._lock:
            shared = self._shared.get(identity)
            if shared is None:
                # Never the name of one that is being deleted: its deletion may come after the next writing.
                self._made += 1
                shared = self._shared[identity] = _Shared(identity, f"{folder}{identity.hex()}-{self._made}")
                self._by_key[shared.key] = shared
            shared.users += 1
        try:
            with shared.writing:
                if shared.ref is None:
                    shared.ref = write(shared.key)
                    self.add(shared.key, shared.ref.nbytes)
                return shared.ref
        except BaseException:
            self.let_go([shared.key])
            raise

    def let_go(self, keys: Iterable[str]) -> list[str]:
        """Objects that somebody does not need any more; returns those that nobody needs and that may be deleted."""
        with self._lock:
            return [key for key in keys if self._is_last(key)]

    def deleted(self, keys: Iterable[str]) -> None:
        """Objects are gone from the store."""
        with self._lock:
            self.nbytes -= sum(self._sizes.pop(key, 0) for key in keys)

    def suspect(self, keys: list[str], now: float, seconds: float) -> None:
        """Calls were lost that may go on for so long: what they write then is nobody's."""
        with self._lock:
            self._suspects.append(_Suspects(keys, now + seconds, now + FIRST_PAUSE))

    def due(self, now: float) -> list[str]:
        """Objects that may have been written since they were last deleted; asked for along with other deletions."""
        with self._lock:
            found = [suspects for suspects in self._suspects if suspects.due <= now]
            for suspects in found:
                suspects.pause *= _PAUSE_GROWTH
                # Once more when its call is over for certain.
                suspects.due = min(now + suspects.pause, max(suspects.until, now))
            self._suspects = [suspects for suspects in self._suspects if suspects not in found or now < suspects.until]
            return [key for suspects in found for key in suspects.keys]

    def _is_last(self, key: str) -> bool:
        shared = self._by_key.get(key)
        if shared is None:
            return True
        shared.users -= 1
        if shared.users:
            return False
        del self._by_key[key], self._shared[shared.identity]
        return True


class Belongings:
    """Objects that one computation has in the store; what it doesn't hand over is let go when it ends.

    Parameters
    ----------
    inventory : Inventory
        Of the run.
    let_go : callable
        Takes keys of objects that are not needed any more; quick, in any thread.
    """

    def __init__(self, inventory: Inventory, let_go: Callable[[list[str]], None]) -> None:
        self._inventory = inventory
        self._let_go = let_go
        self._lock = threading.Lock()
        self._own: dict[str, None] = {}
        self._borrowed: list[str] = []  # one entry for each time that something shared was asked for
        self._closed = False

    def wrote(self, key: str, nbytes: int) -> None:
        """A worker, or the client itself, wrote an object of this computation's own."""
        self._inventory.add(key, nbytes)
        self._take(self._own.setdefault, key)

    def may_have_written(self, keys: list[str], now: float, seconds: float) -> None:
        """A call was lost that may have written these objects first, and that may go on for so many seconds."""
        self._inventory.suspect(keys, now, seconds)
        for key in keys:
            self._take(self._own.setdefault, key)

    def share(self, identity: bytes, folder: str, write: Callable[[str], Ref]) -> Ref:
        """Ref of an object that other computations may need, too; see :meth:`Inventory.share`."""
        ref = self._inventory.share(identity, folder, write)
        self._take(self._borrowed.append, ref.key)
        return ref

    def discard(self, keys: list[str]) -> None:
        """Nobody needs these objects of its own any more."""
        for key in keys:
            self._own.pop(key, None)
        self._let_go(keys)

    def discard_if_written(self, key: str) -> None:
        """:meth:`discard` for an object that may not have been needed at all."""
        if key in self._own:
            self.discard([key])

    def close(self, handed_over: Iterable[str]) -> None:
        """Let go of everything but what was handed over: those objects are somebody else's to let go."""
        with self._lock:
            self._closed = True
            own, borrowed = self._own, self._borrowed
        for key in handed_over:
            if key in own:
                del own[key]
            else:
                borrowed.remove(key)
        if rest := [*own, *borrowed]:
            self._let_go(rest)

    def _take(self, keep: Callable[[str], None], key: str) -> None:
        with self._lock:
            if not self._closed:
                keep(key)
                return
        # A transfer that nobody waited for any more.
        self._let_go([key])


def handed_over(plan: Plan, refs: Mapping[int, Ref]) -> list[str]:
    """Keys of the objects that belong to whoever asked for a plan's results: one for each stored unit or datum.

    Values that were persisted before belong to their handles, and a unit that failed alone has no value.
    """
    total = len(plan.units)
    sources = dict.fromkeys(edge.source for edge in plan.results)
    found = [refs[source] for source in sources if source in refs and source - total not in plan.known]
    return [ref.key for ref in found if ref.data is None]
