"""Which Session ``scheduler="cloudoffload"`` means, and Dask's configuration while any is active.

Sessions overlap freely in threads: each thread has its own innermost one. A thread that entered none uses the one that
was entered last anywhere; without any, a local Session is made, which lives until the interpreter ends.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import dask.config

if TYPE_CHECKING:
    from cloudoffload.engine.session import Session

NAME = "cloudoffload"

_lock = threading.Lock()
_entered: ContextVar[tuple[Session, ...]] = ContextVar("cloudoffload_sessions", default=())
_active: list[Session] = []
_configured: Any = None
_default: Session | None = None


def current() -> Session:
    """The Session that a computation started here belongs to."""
    for session in reversed(_entered.get()):
        # One that was closed in another thread could not be taken out of this thread's.
        if not session.closed:
            return session
    with _lock:
        return _active[-1] if _active else _default_session()


def enter(session: Session) -> None:
    """Make a Session the innermost one, and Dask's scheduler while any is active."""
    global _configured
    with _lock:
        if not _active:
            _configured = dask.config.set(scheduler=NAME)
        _active.append(session)
    _entered.set((*(item for item in _entered.get() if not item.closed), session))


def leave(session: Session) -> None:
    """Undo :func:`enter`; the last Session to leave restores Dask's configuration."""
    with _lock:
        if session not in _active:
            return
        _active[:] = [item for item in _active if item is not session]
        # Who set another scheduler meanwhile keeps it.
        if not _active and dask.config.get("scheduler", None) == NAME:
            _configured.__exit__(None, None, None)
    _entered.set(tuple(item for item in _entered.get() if item is not session))


def _default_session() -> Session:
    global _default
    if _default is None or _default.closed:
        from cloudoffload.engine.session import Session

        _default = Session()
    return _default
