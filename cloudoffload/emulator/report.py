"""What Lambda writes into a function's log about each invocation: here is where its billing is decided."""

from __future__ import annotations

import math
from dataclasses import dataclass

TAIL_BYTES = 4096
"""How much of the log an invocation answers (AWS Lambda API reference, Invoke, LogResult)."""


@dataclass(frozen=True, slots=True)
class Metering:
    """What one invocation used."""

    seconds: float  # from the handover of the event to the answer
    memory_mb: int  # size of the function
    peak_mb: float  # most that its environment ever held, MB
    init_seconds: float | None = None  # the environment was started for it
    status: str = ""  # "" | "timeout" | "error"
    error_type: str = ""

    @property
    def billed_ms(self) -> int:
        """Milliseconds that are charged, each begun one whole; the start of the environment included."""
        return math.ceil(round((self.seconds + (self.init_seconds or 0.0)) * 1000, 2))


def report_line(request_id: str, metering: Metering) -> str:
    """The REPORT line, fields separated by tabs as Lambda writes them."""
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {metering.seconds * 1000:.2f} ms",
        f"Billed Duration: {metering.billed_ms} ms",
        f"Memory Size: {metering.memory_mb} MB",
        f"Max Memory Used: {min(math.ceil(metering.peak_mb), metering.memory_mb)} MB",
    ]
    if metering.init_seconds is not None:
        fields.append(f"Init Duration: {metering.init_seconds * 1000:.2f} ms")
    if metering.status:
        fields.append(f"Status: {metering.status}")
    if metering.error_type:
        fields.append(f"Error Type: {metering.error_type}")
    return "\t".join(fields) + "\t\n"


def log_tail(request_id: str, printed: bytes, metering: Metering) -> bytes:
    """Last bytes of the log as of this invocation: what the function printed, between START and REPORT."""
    start = f"START RequestId: {request_id} Version: $LATEST\n".encode()
    end = f"END RequestId: {request_id}\n{report_line(request_id, metering)}".encode()
    if printed and not printed.endswith(b"\n"):
        printed += b"\n"
    return (start + printed + end)[-TAIL_BYTES:]
