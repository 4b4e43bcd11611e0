"""What the user's code prints, logs and warns comes back with the outcome, in order and bounded."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from cloudoffload.types import Message
from cloudoffload.worker.capture import MAX_CHARACTERS
from tests.unit.worker.conftest import Desk, task


def said(desk: Desk, *functions: Any) -> tuple[Message, ...]:
    return desk.run(*map(task, functions)).messages


def test_prints_logs_and_warnings_keep_their_order(desk: Desk) -> None:
    """As the user would have seen them at home, with level, logger, category and place."""

    def function() -> None:
        print("one", 1)
        logging.getLogger("my.logger").warning("two %d", 2)
        print("three", file=sys.stderr)
        warnings.warn("four", DeprecationWarning, stacklevel=1)
        print("five")

    out, log, err, warning, last = said(desk, function)
    assert out == Message("stdout", "one 1\n") and last == Message("stdout", "five\n")
    assert err == Message("stderr", "three\n")
    assert (log.source, log.text, log.level, log.name) == ("log", "two 2", logging.WARNING, "my.logger")
    assert (warning.source, warning.text, warning.name) == ("warning", "four", "DeprecationWarning")
    assert log.filename == "test_capture.py" and warning.filename.endswith("test_capture.py")
    assert 0 < log.lineno < warning.lineno


def test_what_is_printed_in_a_row_is_one_message(desk: Desk) -> None:
    """Lines, pieces of lines and the units of a call run together as they do on a terminal."""

    def function() -> None:
        for number in range(1000):
            print(number, end=" ")

    (message,) = said(desk, function, lambda: print("end"))
    assert message == Message("stdout", " ".join(map(str, range(1000))) + " end\n")


def test_output_before_an_exception_comes_back(desk: Desk) -> None:
    """It is what explains the exception."""

    def function() -> None:
        print("before")
        raise ValueError

    assert said(desk, function) == (Message("stdout", "before\n"),)


def test_each_call_brings_its_own_output(desk: Desk) -> None:
    """Nothing of one call shows up in the next; a warning shows again, as it is another call's."""

    def function() -> None:
        warnings.warn("again", stacklevel=1)

    for _ in range(2):
        assert [message.text for message in said(desk, function)] == ["again"]
    assert said(desk, lambda: None) == ()


def test_logs_carry_their_exception(desk: Desk) -> None:
    """``logger.exception`` shows the traceback."""

    def function() -> None:
        try:
            raise ValueError("caught")
        except ValueError:
            logging.exception("failed")

    (message,) = said(desk, function)
    assert message.text.startswith("failed\nTraceback") and "ValueError: caught" in message.text


def test_a_log_line_that_can_not_be_formatted_does_not_fail_the_task(desk: Desk) -> None:
    """As at home, logging complains on the standard error, and the task goes on."""

    def function() -> int:
        logging.warning("%d", "no number")
        return 7

    outcome = desk.run(task(function))
    assert desk.value(outcome.results[0]) == 7
    assert "Logging error" in outcome.messages[0].text


@pytest.mark.parametrize("source", ["print", "log", "warning"])
def test_output_is_bounded_and_the_rest_is_counted(desk: Desk, source: str) -> None:
    """What came first is kept, up to the limit; the last message says how much is missing."""
    texts: dict[str, Callable[[str], Any]] = {
        "print": lambda text: sys.stdout.write(text),
        "log": lambda text: logging.error("%s", text),
        "warning": lambda text: warnings.warn(text, stacklevel=1),
    }
    write = texts[source]

    def function() -> None:
        for _ in range(50):
            write("x" * 10_000)

    *kept, note = said(desk, function)
    size = sum(len(message.text) for message in kept)
    assert MAX_CHARACTERS - 10_000 <= size <= MAX_CHARACTERS
    assert note.source == "stderr" and f"{500_000 - size} more characters" in note.text


def test_one_huge_print_is_cut_not_dropped(desk: Desk) -> None:
    """Its beginning comes back."""
    message, note = said(desk, lambda: print("y" * 1_000_000, end=""))
    assert message.text == "y" * len(message.text) and len(message.text) >= MAX_CHARACTERS - 1000
    assert f"{1_000_000 - len(message.text)} more characters" in note.text


def test_empty_messages_are_bounded_too(desk: Desk) -> None:
    """A million log lines without text would still be a million messages."""

    def function() -> None:
        for _ in range(100_000):
            logging.error("")

    assert len(said(desk, function)) <= MAX_CHARACTERS // 50 + 1


def test_threads_do_not_tear_lines(desk: Desk) -> None:
    """Every character that threads print arrives."""

    def function() -> None:
        def write(letter: str) -> None:
            for _ in range(500):
                sys.stdout.write(letter)

        threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    (message,) = said(desk, function)
    assert sorted(message.text) == sorted("abcd" * 500)


def test_the_streams_behave_like_streams(desk: Desk) -> None:
    """Libraries ask for an encoding, a descriptor, the bytes below; and only text can be written."""

    def function() -> Any:
        found = [sys.stdout.encoding.lower(), sys.stdout.writable(), sys.stdout.isatty()]
        sys.stdout.flush()
        subprocess.run(["true"], check=True, stdout=sys.stdout)
        sys.stdout.buffer.write(b"")
        try:
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
        except TypeError as error:
            found.append(str(error))
        return found

    outcome = desk.run(task(function))
    assert desk.value(outcome.results[0]) == ["utf-8", True, False, "write() argument must be str, not bytes"]
    assert outcome.messages == ()


def test_text_that_is_no_valid_unicode_comes_back(desk: Desk) -> None:
    """File names may hold half a surrogate pair."""
    assert said(desk, lambda: print("\udcff")) == (Message("stdout", "\udcff\n"),)


def test_warnings_that_the_users_code_records_stay_with_it(desk: Desk) -> None:
    """``catch_warnings`` works as everywhere."""

    def function() -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("mine", stacklevel=1)
        return len(caught)

    outcome = desk.run(task(function))
    assert desk.value(outcome.results[0]) == 1 and outcome.messages == ()
