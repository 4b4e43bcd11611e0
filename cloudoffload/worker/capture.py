"""What the user's code prints, logs and warns comes back with the outcome."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from dataclasses import replace
from typing import BinaryIO, TextIO

from cloudoffload.types import Message

MAX_CHARACTERS = 200_000
"""Most text that one call brings back; the rest is counted, not sent."""

_OVERHEAD = 50
"""What a message counts beside its text, characters: a million empty ones are too many as well."""

_STREAMS = ("stdout", "stderr")


class _Collector:
    """Messages of the call that is running; empty between calls."""

    def __init__(self) -> None:
        self.active = False
        self._lock = threading.Lock()  # the user's code may have threads that print
        self._messages: list[Message] = []
        self._texts: list[str] = []  # of the last message: joining each time would cost the square of many small prints
        self._room = 0
        self._dropped = 0

    def begin(self) -> None:
        with self._lock:
            self.active = True
            self._messages, self._texts, self._room, self._dropped = [], [], MAX_CHARACTERS, 0

    def end(self) -> tuple[Message, ...]:
        with self._lock:
            self.active = False
            if self._dropped:
                note = f"[cloudoffload: {self._dropped} more characters of output were left on the worker]\n"
                self._open(Message("stderr", note))
            self._close()
            messages, self._messages = self._messages, []
            return tuple(messages)

    def add(self, message: Message) -> None:
        with self._lock:
            last = self._messages[-1] if self._messages else None
            joins = message.source in _STREAMS and last is not None and last.source == message.source
            cost = 0 if joins else _OVERHEAD
            text = message.text[: max(0, self._room - cost)]
            self._dropped += len(message.text) - len(text)
            if self._room <= cost:
                return
            self._room -= cost + len(text)
            if joins:
                self._texts.append(text)
            else:
                self._open(replace(message, text=text))

    def _open(self, message: Message) -> None:
        self._close()
        self._messages.append(message)
        self._texts = [message.text]

    def _close(self) -> None:
        if self._messages:
            self._messages[-1] = replace(self._messages[-1], text="".join(self._texts))


collector = _Collector()


class _Stream(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr``; outside of a call it writes where that wrote."""

    def __init__(self, source: str, fallback: TextIO) -> None:
        self._source = source
        self._fallback = fallback

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._fallback.encoding

    @property
    def buffer(self) -> BinaryIO:
        # Bytes go where a subprocess's go: they are no text.
        return self._fallback.buffer

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if collector.active:
            collector.add(Message(self._source, str(text)))
            return len(text)
        return self._fallback.write(text)

    def flush(self) -> None:
        self._fallback.flush()

    def fileno(self) -> int:
        # C libraries and subprocesses that ask for a descriptor get the real one.
        return self._fallback.fileno()


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if not collector.active:
            return
        try:
            text = self.format(record)
            collector.add(Message("log", text, record.levelno, record.name, record.filename, record.lineno))
        except Exception:  # noqa: BLE001 - as every handler: a line that can't be formatted must not fail the task
            self.handleError(record)


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
