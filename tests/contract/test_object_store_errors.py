"""Errors of a store on object storage: they say what happened, and never show a secret."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cloudoffload.errors import StoreError
from cloudoffload.store import ObjectStore, open_store
from cloudoffload.types import StoreAccess

SECRET, TOKEN = "wJalrXUtnFEMI-secret", "FwoGZXIvYXdz-token"
ANSWER = f"<Error><Code>ExpiredToken</Code><Message>expired</Message><Token-0>{TOKEN}</Token-0></Error>".encode()


def access(port: int, **more: str) -> StoreAccess:
    options = {
        "access_key_id": "AKIA",
        "secret_access_key": SECRET,
        "token": TOKEN,
        "region": "us-east-1",
        "endpoint": f"http://127.0.0.1:{port}",
        "allow_http": "true",
    }
    return StoreAccess("s3://bucket", options | more)


class Refuses(BaseHTTPRequestHandler):
    """Answers as S3 does when it does not believe a token: it repeats it."""

    status: int

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_POST(self) -> None:
        self.do_PUT()

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: Any) -> None:  # the signature is the base class's
        """Keep the test's output clean."""


@contextmanager
def refused(status: int) -> Iterator[ObjectStore]:
    """A store whose server answers every request with a status and a token."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("RefusesSo", (Refuses,), {"status": status}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield open_store(access(server.server_port))
    finally:
        server.shutdown()
        server.server_close()


OPERATIONS: list[Callable[[ObjectStore], Any]] = [
    lambda store: store.put("some key", [b"x"]),
    lambda store: store.put_if_absent("some key", [b"x"]),
    lambda store: store.read("some key", 0, 1),
    lambda store: store.delete(["some key"]),
    lambda store: list(store.keys("some key")),
]


def shown(error: BaseException) -> str:
    """All that a user or a log may see of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_refusal_names_the_key_and_the_reason_but_no_secret(operation: Callable[[ObjectStore], Any]) -> None:
    """The cloud's code for its refusal is in the message; the token that it repeats is not."""
    reason = r"some key.*s3://bucket.*403 Forbidden.*ExpiredToken"
    with refused(403) as store, pytest.raises(StoreError, match=reason) as raised:
        operation(store)
    assert TOKEN not in shown(raised.value) and SECRET not in shown(raised.value)


def test_a_conflict_of_an_unconditional_write_is_an_error() -> None:
    """Only a conditional write may find that there was an object."""
    with refused(409) as store:
        assert store.put_if_absent("a", [b"x"]) is False
        with pytest.raises(StoreError, match="409 Conflict"):
            store.put("a", [b"x"])


def test_an_endpoint_that_is_not_there_is_named_without_secrets() -> None:
    """A refused connection is a StoreError with the endpoint's address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        store = open_store(access(port))
        with pytest.raises(StoreError, match=f"127.0.0.1:{port}") as raised:
            store.put("a", [b"x"])
    assert TOKEN not in shown(raised.value) and SECRET not in shown(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        StoreAccess(""),
        StoreAccess("no scheme"),
        StoreAccess("ftp://host/folder"),
        StoreAccess("s3://"),
        access(1, secret_acces_key=SECRET),
    ],
)
def test_what_is_no_store_is_refused_with_what_would_be_one(wrong: StoreAccess) -> None:
    """Unknown URLs and options are named when the store is opened; the values of options are not shown."""
    with pytest.raises(StoreError, match="use s3://bucket/prefix") as raised:
        open_store(wrong)
    assert repr(wrong.url) in str(raised.value)
    assert SECRET not in shown(raised.value) and TOKEN not in shown(raised.value)


def test_no_repr_shows_a_secret() -> None:
    """Neither a store's nor that of the access that opened it."""
    store = open_store(access(1))
    for text in (repr(store), str(store), repr(store.access), f"{store.access}"):
        assert "s3://bucket" in text and SECRET not in text and TOKEN not in text


def test_plain_http_is_refused_unless_it_was_allowed() -> None:
    """A secret must not travel in the clear by accident."""
    store = open_store(access(1, allow_http="false"))
    with pytest.raises(StoreError):
        store.put("a", [b"x"])
