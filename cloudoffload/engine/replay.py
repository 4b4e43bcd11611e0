"""What remote code printed, logged and warned, said again here."""

from __future__ import annotations

import builtins
import logging
import sys
import warnings
from collections.abc import Iterable

from cloudoffload.types import Message


def replay(messages: Iterable[Message]) -> None:
    """Print, log and warn as if the code had run here; Python's own filters decide what is shown."""
    for message in messages:
        if message.source == "stdout":
            sys.stdout.write(message.text)
        elif message.source == "stderr":
            sys.stderr.write(message.text)
        elif message.source == "log":
            record = logging.LogRecord(
                message.name, message.level, message.filename, message.lineno, message.text, None, None
            )
            logger = logging.getLogger(message.name)
            if logger.isEnabledFor(message.level):
                logger.handle(record)
        else:
            warnings.warn_explicit(message.text, _category(message.name), message.filename, message.lineno)


def _category(name: str) -> type[Warning]:
    category = getattr(builtins, name, UserWarning)
    return category if isinstance(category, type) and issubclass(category, Warning) else UserWarning
