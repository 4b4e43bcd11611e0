"""What the emulated Lambda charges, and how it says so."""

from __future__ import annotations

import signal

import pytest

from cloudoffload.emulator.process import exit_message
from cloudoffload.emulator.report import TAIL_BYTES, Metering, log_tail, report_line
from cloudoffload.providers.lambda_report import parse_report


@pytest.mark.parametrize(
    ("seconds", "init_seconds", "billed"),
    [
        (0.0001, None, 1),
        (0.001, None, 1),
        (0.00101, None, 2),
        (0.0995, None, 100),
        (0.0005, 0.0995, 100),
        (2, 0.1, 2100),
    ],
)
def test_each_begun_millisecond_is_billed_whole(seconds: float, init_seconds: float | None, billed: int) -> None:
    """An invocation is billed up to the next millisecond, together with the start of its environment."""
    assert Metering(seconds, 128, 30, init_seconds).billed_ms == billed


def test_the_provider_reads_the_line_that_the_emulator_writes() -> None:
    """Both sides agree on the REPORT line, every field of it."""
    report = parse_report(report_line("some-id", Metering(0.01234, 1769, 100.2, 0.5, "error", "Runtime.X")).encode())
    assert report is not None
    assert (report.request_id, report.duration_ms, report.billed_ms) == ("some-id", 12.34, 513)
    assert (report.memory_mb, report.peak_memory_mb, report.init_ms) == (1769, 101, 500.0)


def test_a_function_never_reports_more_memory_than_it_has() -> None:
    """The sample that found it over its limit may be far above: Lambda then reports the limit."""
    assert "Max Memory Used: 128 MB" in report_line("id", Metering(1, 128, 400))


def test_the_tail_keeps_the_end_of_the_log() -> None:
    """A chatty function can't push the REPORT line out of what its caller gets."""
    tail = log_tail("id", b"x" * 10_000, Metering(1, 128, 40))
    assert len(tail) == TAIL_BYTES
    assert tail.endswith(report_line("id", Metering(1, 128, 40)).encode())


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (0, "Runtime exited without providing a reason"),
        (3, "Runtime exited with error: exit status 3"),
        (-signal.SIGKILL, "Runtime exited with error: signal: killed"),
        (-signal.SIGSEGV, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_the_end_of_a_process_is_told_in_lambdas_words(code: int, message: str) -> None:
    """Clients recognise a crash, and a kill, by the words that Lambda uses."""
    assert exit_message(code) == message
