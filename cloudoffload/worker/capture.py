"""What the user's code prints, logs and warns comes back with the outcome."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from typing import TextIO

from cloudoffload.types import Message

MAX_CHARACTERS = 200_000
"""Most text that one call brings back; the rest is counted, not sent."""


class _Collector:
    """Messages of the call that is running; empty between calls."""

    def __init__(self) -> None:
        self.active = False
        self._messages: list[Message] = []
        self._characters = 0
        self._dropped = 0

    def begin(self) -> None:
        self.active = True
        self._messages, self._characters, self._dropped = [], 0, 0

    def end(self) -> tuple[Message, ...]:
        self.active = False
        if self._dropped:
            note = f"[cloudoffload: {self._dropped} more characters of output were left on the worker]\n"
            self._messages.append(Message("stderr", note))
        messages, self._messages = self._messages, []
        return tuple(messages)

    def add(self, message: Message) -> None:
        room = MAX_CHARACTERS - self._characters
        if room <= 0 or len(message.text) > room:
            self._dropped += len(message.text)
            return
        self._characters += len(message.text)
        last = self._messages[-1] if self._messages else None
        if last is not None and last.source == message.source and message.source in ("stdout", "stderr"):
            self._messages[-1] = Message(message.source, last.text + message.text)
        else:
            self._messages.append(message)


collector = _Collector()


class _Stream(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr``; outside of a call it writes where that wrote."""

    def __init__(self, source: str, fallback: TextIO) -> None:
        self._source = source
        self._fallback = fallback

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if collector.active:
            collector.add(Message(self._source, text))
            return len(text)
        return self._fallback.write(text)

    def flush(self) -> None:
        self._fallback.flush()

    def fileno(self) -> int:
        # C libraries and subprocesses that ask for a descriptor get the real one.
        return self._fallback.fileno()


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if collector.active:
            text = self.format(record)
            collector.add(Message("log", text, record.levelno, record.name, record.filename, record.lineno))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if collector.active:
        collector.add(Message("warning", str(message), 0, category.__name__, filename, lineno))
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def install() -> None:
    """Send what this process prints, logs and warns to :data:`collector`; done once, so that a call costs nothing."""
    if isinstance(sys.stdout, _Stream):
        return
    sys.stdout = _Stream("stdout", sys.stdout)
    sys.stderr = _Stream("stderr", sys.stderr)
    handler = _Handler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    # The client decides what is shown once; a warm worker must not remember for it.
    warnings.simplefilter("always")
    warnings.showwarning = _show_warning
