"""Every error that cloudoffload raises, as one tree.

::

    CloudoffloadError
    ├── SettingsError              a setting is unknown or has a bad value
    ├── PlanError                  the graph can't be run as asked; nothing was spent
    │   ├── LocalPathError         it reads or writes this machine's files, and may not run here
    │   ├── CredentialsInGraph     secrets would have travelled inside the graph
    │   ├── UnpicklableGraph       a function or argument can't be sent
    │   ├── MalformedGraph         a task needs what is not in the graph, or itself
    │   └── UnsupportedGraph       a construct that no cloud function can run
    ├── BudgetExceeded             going on could cost more than the budget
    ├── ProviderError              the cloud, not the user's code (`retryable`, `billed`)
    │   ├── Throttled              too many calls at once
    │   ├── TimedOut               no answer within the call's deadline
    │   ├── PayloadTooLarge        request or response over the provider's limit
    │   ├── OutOfMemory            the function was killed for its memory
    │   ├── ProviderDown           unreachable, crashed, or answered nonsense
    │   └── Unauthorized           credentials are missing, wrong or lack a permission
    ├── WireError                  bytes that must not be trusted
    │   ├── BadSignature           not signed by the run's key, or altered
    │   ├── Expired                too old, or meant for another run
    │   └── Corrupt                digest, length or layout is wrong
    ├── StoreError                 an object could not be read or written
    │   └── ObjectMissing          it is not there (any more)
    ├── TaskError                  a unit has no value
    │   ├── RemoteError            the user's code raised something that can't be rebuilt here
    │   ├── MissingPackage         the worker lacks a package that the graph imports
    │   ├── VersionMismatch        the worker runs another Python or wire version
    │   ├── UnpicklableResult      a value can't be written
    │   ├── ResultTypeRefused      results="data" and the value needs a pickle
    │   ├── ResultTooLarge         a value is over the limit for one value
    │   └── WorkerLost             every allowed try ended without an answer
    ├── Cancelled                  the computation was cancelled
    ├── SessionClosed              a Session was used after its block
    └── EmulatorError              an emulated cloud did not start or died
"""

from __future__ import annotations


class CloudoffloadError(Exception):
    """Root of all errors of this package."""


class SettingsError(CloudoffloadError, ValueError):
    """A setting is unknown or has a bad value; the message names the key and what is allowed."""


class PlanError(CloudoffloadError):
    """The graph can't be run as asked; raised before anything is spent."""


class LocalPathError(PlanError):
    """The graph reads or writes this machine's files, and this machine is not among the providers."""


class CredentialsInGraph(PlanError):
    """The graph holds credentials, which would have travelled to every worker."""


class UnpicklableGraph(PlanError, ValueError):
    """A function or an argument can't be pickled, or can't be loaded by the worker."""


class MalformedGraph(PlanError, ValueError, RuntimeError):
    """A task needs what is not in the graph (to Dask a ``ValueError``), or itself (to Dask a ``RuntimeError``)."""


class UnsupportedGraph(PlanError):
    """The graph holds a construct that can't run on functions, such as a materialized P2P shuffle."""


class BudgetExceeded(CloudoffloadError):
    """Going on could cost more than the budget; what is done stays done.

    Attributes
    ----------
    room_may_come : bool
        Calls under way hold reservations; what they don't use comes back.
    """

    room_may_come = False


class ProviderError(CloudoffloadError):
    """Trouble of a cloud, not of the user's code.

    Attributes
    ----------
    retryable : bool
        The same call may succeed when it is sent again.
    billed : bool
        The attempt costs money although it has no outcome.
    billed_seconds : float or None
        How long it is billed for, seconds, where the cloud said so; otherwise its worst case must be assumed.
    """

    retryable = True
    billed = False
    billed_seconds: float | None = None

    def __init__(self, message: str, *, retryable: bool | None = None, billed: bool | None = None) -> None:
        super().__init__(message)
        if retryable is not None:
            self.retryable = retryable
        if billed is not None:
            self.billed = billed


class Throttled(ProviderError):
    """Too many calls at once; nothing ran."""


class TimedOut(ProviderError):
    """No answer within the call's deadline; the function ran until then."""

    billed = True


class PayloadTooLarge(ProviderError):
    """Request or response is over the provider's limit."""

    retryable = False


class OutOfMemory(ProviderError):
    """The function was killed for its memory."""

    billed = True


class ProviderDown(ProviderError):
    """The provider is unreachable, its function crashed, or its answer makes no sense."""


class Unauthorized(ProviderError):
    """Credentials are missing or wrong, or lack a permission."""

    retryable = False


class WireError(CloudoffloadError):
    """Bytes that must not be trusted."""


class BadSignature(WireError):
    """Not signed by the run's key, or altered on the way."""


class Expired(WireError):
    """Too old, or meant for another run."""


class Corrupt(WireError):
    """A digest, a length or the layout is wrong."""


class StoreError(CloudoffloadError):
    """An object could not be read or written."""


class ObjectMissing(StoreError):
    """The object is not there, or not there any more."""


class TaskError(CloudoffloadError):
    """A unit has no value."""


class RemoteError(TaskError):
    """The user's code raised an exception that can't, or may not, be rebuilt on the client.

    Attributes
    ----------
    type_name : str
        Qualified name of the exception's type on the worker.
    """

    def __init__(self, message: str, *, type_name: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name


class MissingPackage(TaskError):
    """The worker lacks a package that the graph imports."""


class VersionMismatch(TaskError):
    """The worker runs another Python or speaks another wire version."""


class UnpicklableResult(TaskError):
    """A value can't be written by any codec."""


class ResultTypeRefused(TaskError):
    """``results="data"`` and the value needs a pickle."""


class ResultTooLarge(TaskError):
    """A value is over the limit for one value."""


class WorkerLost(TaskError):
    """Every allowed try of a unit ended without an answer."""


class Cancelled(CloudoffloadError):
    """The computation was cancelled."""


class SessionClosed(CloudoffloadError):
    """A Session was used after its block."""


class EmulatorError(CloudoffloadError):
    """An emulated cloud did not start, or died."""


class RemoteTraceback(Exception):
    """Cause of a rebuilt remote exception: shows the worker's traceback below the client's own."""

    def __str__(self) -> str:
        return "\n\n" + str(self.args[0]) if self.args else ""
