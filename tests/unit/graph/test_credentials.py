"""Promises of the refusal of graphs that hold credentials."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from typing import Any

import boto3
import botocore.config
import botocore.session
import dask
import fsspec
import pandas as pd
import pyarrow.fs as pafs
import pytest
from dask._task_spec import DataNode, Dict, GraphNode, Task, TaskRef, convert_legacy_graph
from dask.utils import apply
from fsspec.implementations.arrow import ArrowFSWrapper
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.fsspec import FsspecStore
from obstore.store import AzureStore, S3Store

from cloudoffload.errors import CredentialsInGraph
from cloudoffload.graph.credentials import refuse_credentials

SECRET = "c2VjcmV0LW9mLXRoZS10ZXN0"
TOMORROW = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
OPTIONS = {"key": "id", "secret": SECRET}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials where they belong: in the environment of this machine."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


def check(thing: Any) -> None:
    """Refuse or allow a graph in which one task is given the thing."""
    refuse_credentials({"read-csv-0123456789abcdef": Task("read-csv-0123456789abcdef", len, thing)})


def s3_by_fsspec() -> FsspecStore:
    """A file system with explicit keys."""
    return FsspecStore("s3", access_key_id="id", secret_access_key=SECRET)


def s3_by_arrow() -> pafs.S3FileSystem:
    """The same of Arrow."""
    return pafs.S3FileSystem(access_key="id", secret_key=SECRET, region="eu-west-1")


class Reader:
    """An object of the user's that holds a file system."""

    def __init__(self, system: Any) -> None:
        self.system = system

    def read(self) -> Any:
        """Bound to its file system."""
        return self.system


def closing_over(storage_options: Any) -> Callable[[], Any]:
    """A function that holds options in its closure."""
    return lambda: storage_options


SECRETS: dict[str, tuple[Callable[[], Any], str]] = {
    "arrow S3": (s3_by_arrow, "'access_key' of pyarrow's S3FileSystem"),
    "arrow S3 session": (
        lambda: pafs.S3FileSystem(access_key="a", secret_key=SECRET, session_token=SECRET, region="eu-west-1"),
        "pyarrow's S3FileSystem",
    ),
    "arrow proxy": (
        lambda: pafs.S3FileSystem(
            region="eu-west-1",
            proxy_options={"scheme": "http", "host": "h", "port": 1, "username": "u", "password": SECRET},
        ),
        "'password' of pyarrow's S3FileSystem",
    ),
    "arrow GCS": (
        lambda: pafs.GcsFileSystem(access_token=SECRET, credential_token_expiration=TOMORROW),
        "'access_token' of pyarrow's GcsFileSystem",
    ),
    "arrow Azure": (
        lambda: pafs.AzureFileSystem(account_name="name", account_key=SECRET),
        "'account_key' of pyarrow's AzureFileSystem",
    ),
    "arrow Azure SAS": (lambda: pafs.AzureFileSystem(account_name="name", sas_token=SECRET), "'sas_token'"),
    "folder of arrow S3": (lambda: pafs.SubTreeFileSystem("bucket", s3_by_arrow()), "pyarrow's S3FileSystem"),
    "arrow over fsspec": (lambda: pafs.PyFileSystem(pafs.FSSpecHandler(s3_by_fsspec())), "obstore's FsspecStore"),
    "fsspec over arrow": (lambda: ArrowFSWrapper(s3_by_arrow()), "S3FileSystem"),
    "fsspec S3": (s3_by_fsspec, "'access_key_id' of obstore's FsspecStore"),
    "fsspec S3 config": (
        lambda: FsspecStore("s3", config={"aws_secret_access_key": SECRET}),
        "'aws_secret_access_key'",
    ),
    "file on S3": (lambda: fsspec.core.OpenFile(s3_by_fsspec(), "bucket/x"), "FsspecStore"),
    "folder of S3": (lambda: fsspec.filesystem("dir", path="bucket", fs=s3_by_fsspec()), "FsspecStore"),
    "web header": (
        lambda: fsspec.filesystem("http", client_kwargs={"headers": {"Authorization": f"Bearer {SECRET}"}}),
        "'Authorization' of fsspec's HTTPFileSystem",
    ),
    "password in storage_options": (
        lambda: {"storage_options": {"username": "u", "password": SECRET}},
        "'password' of 'storage_options'",
    ),
    "obstore S3": (lambda: S3Store("bucket", access_key_id="id", secret_access_key=SECRET), "obstore's S3Store"),
    "obstore Azure": (
        lambda: AzureStore("container", account_name="name", account_key="c2VjcmV0"),
        "_key' of obstore's AzureStore",
    ),
    "obstore provider": (
        lambda: Boto3CredentialProvider(boto3.Session(aws_access_key_id="id", aws_secret_access_key=SECRET)),
        "botocore's",
    ),
    "storage_options": (lambda: {"storage_options": OPTIONS}, "'key' of 'storage_options'"),
    "token in storage_options": (lambda: {"storage_options": {"token": SECRET}}, "'token' of 'storage_options'"),
    "object in storage_options": (lambda: {"storage_options": {"credential": Reader(None)}}, "'credential'"),
    "nested options": (
        lambda: {"storage_options": {"client_kwargs": {"aws_secret_access_key": SECRET}}},
        "'aws_secret_access_key'",
    ),
    "options in a node": (lambda: Dict({"storage_options": Dict({"secret": SECRET, "x": TaskRef("x")})}), "'secret'"),
    "options in data": (lambda: DataNode(None, OPTIONS), "'secret'"),
    "key and secret": (lambda: OPTIONS, "'secret'"),
    "a secret by its name": (lambda: {"aws_secret_access_key": SECRET}, "'aws_secret_access_key'"),
    "boto3 client": (lambda: boto3.client("s3"), "botocore's S3"),
    "boto3 resource": (lambda: boto3.resource("s3"), "boto3's"),
    "boto3 session": (boto3.Session, "boto3's Session"),
    "botocore session": (botocore.session.Session, "botocore's Session"),
    "botocore credentials": (lambda: boto3.Session().get_credentials(), "botocore's Credentials"),
    "frozen credentials": (lambda: boto3.Session().get_credentials().get_frozen_credentials(), "botocore's"),
    "database URL": (lambda: f"postgresql://user:{SECRET}@host/db", "URL with a user and a password"),
}
HARMLESS: dict[str, Callable[[], Any]] = {
    "arrow S3 by environment": lambda: pafs.S3FileSystem(region="eu-west-1", endpoint_override="http://localhost:1"),
    "anonymous arrow S3": lambda: pafs.S3FileSystem(anonymous=True, region="eu-west-1"),
    "anonymous arrow GCS": lambda: pafs.GcsFileSystem(anonymous=True),
    "fsspec S3 by environment": lambda: FsspecStore("s3", region="eu-west-1"),
    "local files": lambda: fsspec.filesystem("file"),
    "web": lambda: fsspec.filesystem("http"),
    "anonymous options": lambda: {"storage_options": {"anon": True, "key": None, "secret": "", "token": "anon"}},
    "google's own login": lambda: {"storage_options": {"token": "google_default", "project": "p"}},
    "cached login": lambda: {"storage_options": {"token": True}},
    "other options": lambda: {"storage_options": {"endpoint_url": "http://localhost:1", "use_ssl": False}},
    "a key of the user's": lambda: {"key": "column", "token": "word"},
    "sort key": lambda: {"key": str.lower},
    "URL with a port": lambda: "https://host:8080/a@b",
    "mail address": lambda: "someone@example.org",
    "client settings": lambda: botocore.config.Config(retries={"max_attempts": 1}),
    "data": lambda: pd.DataFrame({"secret": ["x"], "key": ["y"]}),
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_refused_by_name(name: str) -> None:
    """The error names the tasks, the kind of object and the option, but never the value."""
    make, where = SECRETS[name]
    with pytest.raises(CredentialsInGraph, match=where) as caught:
        check(make())
    assert "'read-csv'" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_holds_no_secret_passes(name: str) -> None:
    """Keys from the environment, anonymous access and words that only sound secret are fine."""
    check(HARMLESS[name]())


def test_obstore_that_read_the_environment() -> None:
    """A store is judged by what its pickle holds: here nothing but the region."""
    check(S3Store("bucket", region="eu-west-1"))


HIDING_PLACES: dict[str, Callable[[], GraphNode]] = {
    "keyword": lambda: Task("k", pd.read_csv, "s3://b/x", storage_options=OPTIONS),
    "keyword node": lambda: Task("k", pd.read_csv, "s3://b/x", storage_options=DataNode(None, {"token": SECRET})),
    "partial": lambda: Task("k", functools.partial(pd.read_csv, storage_options=OPTIONS)),
    "closure": lambda: Task("k", closing_over({"token": SECRET})),
    "attribute": lambda: Task("k", len, Reader(s3_by_arrow())),
    "bound method": lambda: Task("k", Reader(s3_by_fsspec()).read),
    "method of the file system": lambda: Task("k", s3_by_arrow().open_input_file, "bucket/x"),
    "nested task": lambda: Task("k", len, Task(None, list, s3_by_arrow())),
    "fused task": lambda: Task.fuse(Task("i", list, s3_by_arrow()), Task("k", len, TaskRef("i"))),
    "data": lambda: DataNode("k", s3_by_arrow()),
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_every_place_of_a_task_is_searched(place: str) -> None:
    """Secrets are found wherever a task may carry them."""
    with pytest.raises(CredentialsInGraph):
        refuse_credentials({"k": HIDING_PLACES[place]()})


def test_older_graphs_are_searched() -> None:
    """Keyword arguments that an older graph writes as pairs are read as what they are."""
    options = (dict, [["key", "id"], ["secret", SECRET]])
    graph = {"x": 1, "k": (apply, pd.read_csv, ["s3://b/x"], (dict, [["storage_options", options], ["nrows", "x"]]))}
    with pytest.raises(CredentialsInGraph, match="storage_options"):
        refuse_credentials(convert_legacy_graph(graph))


def test_a_delayed_read_with_keys_is_refused() -> None:
    """The usual way into trouble: storage_options of a delayed call."""
    value = dask.delayed(pd.read_csv)("s3://bucket/x.csv", storage_options=OPTIONS)
    with pytest.raises(CredentialsInGraph, match="'read_csv'"):
        refuse_credentials(convert_legacy_graph(dict(value.__dask_graph__())))
