"""The REPORT line that Lambda ends each invocation's log with: what it bills, from the cloud itself."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

LINE = re.compile(
    r"^REPORT RequestId: (?P<request>\S+)\s+"
    r"Duration: (?P<duration>[\d.]+) ms\s+"
    r"Billed Duration: (?P<billed>\d+) ms\s+"
    r"Memory Size: (?P<memory>\d+) MB\s+"
    r"Max Memory Used: (?P<peak>\d+) MB"
    r"(?:\s+Init Duration: (?P<init>[\d.]+) ms)?",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Report:
    """One invocation as Lambda measured it (AWS Lambda developer guide, "Working with Lambda function logs")."""

    request_id: str
    duration_ms: float  # of the handler
    billed_ms: int  # what is charged, already rounded up to whole milliseconds
    memory_mb: int  # size of the function, MB
    peak_memory_mb: int  # most that its environment held so far, MB
    init_ms: float = 0.0  # start of the environment; 0 when it was warm

    @property
    def billed_seconds(self) -> float:
        """Seconds that are charged, the start of the environment included where it is charged."""
        return self.billed_ms / 1000

    @property
    def billed_init_seconds(self) -> float:
        """Part of :attr:`billed_seconds` that was the start, in whole milliseconds.

        Accounts and runtimes that are not charged for it have a billed duration that does not hold it.
        """
        charged = self.billed_ms >= math.floor(self.duration_ms + self.init_ms)
        return math.ceil(self.init_ms) / 1000 if charged and self.init_ms else 0.0


def parse_report(log: bytes) -> Report | None:
    """The last REPORT line of a log's tail; None without one. Earlier ones are what the function printed."""
    found = list(LINE.finditer(log.decode(errors="replace")))
    if not found:
        return None
    fields = found[-1].groupdict()
    return Report(
        request_id=fields["request"],
        duration_ms=float(fields["duration"]),
        billed_ms=int(fields["billed"]),
        memory_mb=int(fields["memory"]),
        peak_memory_mb=int(fields["peak"]),
        init_ms=float(fields["init"] or 0.0),
    )
