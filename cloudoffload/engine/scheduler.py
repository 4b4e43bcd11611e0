"""Which Session ``scheduler="cloudoffload"`` means, and Dask's configuration while any is active.

Sessions overlap freely in threads: each thread has its own innermost one. A thread that entered none uses the one that
was entered last anywhere; without any, a local Session is made, which lives until the interpreter ends.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

import dask.config

if TYPE_CHECKING:
    from cloudoffload.engine.session import Session

NAME = "cloudoffload"

_lock = threading.Lock()
_innermost: ContextVar[Session | None] = ContextVar("cloudoffload_session", default=None)
_active: list[Session] = []
_configured_before: Any = None
_default: Session | None = None


def current() -> Session:
    """The Session that a computation started here belongs to."""
    session = _innermost.get()
    if session is not None and not session.closed:
        return session
    with _lock:
        return _active[-1] if _active else _default_session()


def enter(session: Session) -> Token[Session | None]:
    """Make a Session the innermost one, and Dask's scheduler while any is active."""
    global _configured_before
    with _lock:
        if not _active:
            _configured_before = dask.config.get("scheduler", None)
            dask.config.set(scheduler=NAME)
        _active.append(session)
    return _innermost.set(session)


def leave(session: Session, token: Token[Session | None] | None) -> None:
    """Undo :func:`enter`; the last Session to leave restores Dask's configuration."""
    with _lock:
        if session not in _active:
            return
        _active.remove(session)
        if not _active and dask.config.get("scheduler", None) == NAME:
            dask.config.set(scheduler=_configured_before)
    if token is not None:
        try:
            _innermost.reset(token)
        except ValueError:
            _innermost.set(None)  # closed in another thread or task than it was entered in


def _default_session() -> Session:
    global _default
    if _default is None or _default.closed:
        from cloudoffload.engine.session import Session

        _default = Session()
    return _default
