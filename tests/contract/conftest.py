"""Real endpoints for the suites: S3 as moto serves it over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cloudoffload.types import StoreAccess

SECRET = "wJalrXUtnFEMI-secret"


@pytest.fixture(scope="session")
def bucket() -> Iterator[StoreAccess]:
    """An S3 bucket, and the credentials that open it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="AKIA", aws_secret_access_key=SECRET
    ).create_bucket(Bucket="bucket")
    options = {
        "access_key_id": "AKIA",
        "secret_access_key": SECRET,
        "region": "us-east-1",
        "endpoint": endpoint,
        "allow_http": "true",
    }
    yield StoreAccess("s3://bucket/some prefix", options)
    server.stop()
