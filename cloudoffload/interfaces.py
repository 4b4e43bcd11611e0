"""What other people's clouds and stores implement; small protocols, one promise each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Event
from typing import Protocol, runtime_checkable

from cloudoffload.types import Call, Outcome, RateCard, Ref

Buffer = bytes | bytearray | memoryview


@runtime_checkable
class Provider(Protocol):
    """One cloud's "invoke", its limits and its rate card.

    Attributes
    ----------
    name : str
        Cloud and region, such as ``"aws:eu-west-1"``; ``"aws"`` alone means its only region.
    card : RateCard
        Prices and limits of that region.
    runs : frozenset of str
        Runtimes it has: ``"python"``, ``"edge"``, ``"gpu"``.
    """

    name: str
    card: RateCard
    runs: frozenset[str]

    def invoke(self, call: Call, cancelled: Event) -> Outcome:
        """Send one call and wait for its outcome; blocking and thread-safe.

        Parameters
        ----------
        call : Call
            Its ``envelope`` is what travels; the answer is authenticated with its ``answer_key``.
        cancelled : threading.Event
            When it is set the wait ends within a second with :class:`~cloudoffload.errors.Cancelled`.

        Raises
        ------
        ProviderError
            Trouble of the cloud. An exception of the user's code comes back inside the outcome.
        """
        ...

    def close(self) -> None:
        """Release processes and connections; harmless when called twice."""
        ...


@runtime_checkable
class Deployable(Protocol):
    """A provider that can put its function into an account, and take it away again."""

    def deploy(self) -> Mapping[str, str]:
        """Create or update what is needed; idempotent."""
        ...

    def status(self) -> Mapping[str, str]:
        """Say what is there."""
        ...

    def destroy(self) -> None:
        """Delete only what the record says was created by :meth:`deploy`."""
        ...


@runtime_checkable
class Store(Protocol):
    """Objects behind refs; thread-safe."""

    url: str

    def put(self, key: str, pieces: Sequence[Buffer]) -> int:
        """Write an object from pieces laid end to end; visible whole or not at all. Returns its bytes."""
        ...

    def put_if_absent(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Write an object unless there is one; False when there was. For content-addressed keys only."""
        ...

    def get(self, ref: Ref) -> memoryview:
        """Bytes of the ref's span, writable, digest verified.

        Raises
        ------
        ObjectMissing
            There is no such object.
        Corrupt
            The bytes are not those that the ref names.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is missing already is no error."""
        ...

    def delete_prefix(self, prefix: str) -> int:
        """Delete every object whose key begins with ``prefix``; returns how many."""
        ...
