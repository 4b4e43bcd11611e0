"""The clouds of a session: its providers, the store that they share, and what is emulated on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudoffload.engine.folders import local_store_folder
from cloudoffload.engine.messages import Lane
from cloudoffload.engine.objects import Inventory
from cloudoffload.errors import SettingsError, StoreError
from cloudoffload.interfaces import Provider
from cloudoffload.providers import rates
from cloudoffload.settings import Settings
from cloudoffload.store import ObjectStore, open_store
from cloudoffload.types import RateCard, StoreAccess
from cloudoffload.wire.envelope import prefix_of
from cloudoffload.wire.signing import Signer

logger = logging.getLogger(__name__)

EMULATED = ("aws",)
"""Clouds that can be started on this machine."""

LOCAL_TARGET_SECONDS = 0.05
"""Aimed length of a batch of small units on a worker process, seconds: its call costs about 1 ms."""

LOCAL_AHEAD = 0.25
"""Calls that wait for a worker process, by worker: a worker that ends one need not wait until the client has made the
next. More would begin work whose values nobody needs yet."""

_EMULATED_ROLE = "arn:aws:iam::123456789012:role/cloudoffload-data"
_LATENCY = {"local": 0.001, "aws": 0.05}


class Clouds:
    """Everything of a session that has to be closed.

    Attributes
    ----------
    lanes : dict of str to Lane
        Providers as the loop sees them, in the session's order.
    providers : dict of str to Provider
        By name.
    store : ObjectStore
        As the client opens it.
    store_card : RateCard
        Prices of the store.
    worker_access : callable
        How workers open the store, with a credential that outlives any call sent now.
    inventory : Inventory
        What lies in the store.
    """

    def __init__(
        self,
        *,
        names: Sequence[str | Provider],
        emulate: Sequence[str],
        settings: Settings,
        signer: Signer,
        run: str,
        store: str | None,
        workers: int,
        worker_memory: int,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._settings = settings
        self._signer = signer
        self._run = run
        self.emulated: dict[str, Any] = {}
        self.providers: dict[str, Provider] = {}
        self.lanes: dict[str, Lane] = {}
        self.inventory = Inventory()
        if store is not None and "aws" in names:
            raise SettingsError(
                "functions on the emulated AWS get a credential for its own bucket only: leave out store=, or run on "
                "this machine"
            )
        try:
            for cloud in emulate:
                self._start(cloud)
            # Closed in the opposite order: whoever writes objects ends before these are deleted.
            self.store, self.store_card, self.worker_access = self._open_store(store)
            for name in names:
                self._add(name, workers, worker_memory)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End processes, delete the run's objects, stop what is emulated; harmless when called twice."""
        self._stack.close()

    def _start(self, name: str) -> None:
        if name not in EMULATED:
            raise SettingsError(f"{name!r} can't be emulated; these can: {', '.join(EMULATED)}")
        from cloudoffload.emulator.aws import EmulatedAws

        cloud = EmulatedAws(public_keys=self._signer.public_keys, memory_mb=self._settings.aws.memory_mb)
        self._stack.callback(cloud.stop)
        cloud.start()
        self.emulated[name] = cloud

    def _add(self, name: str | Provider, workers: int, worker_memory: int) -> None:
        provider, memory_mb = self._provider(name, workers, worker_memory)
        self._stack.callback(provider.close)
        kind = provider.name.partition(":")[0]
        self.providers[provider.name] = provider
        self.lanes[provider.name] = Lane(
            name=provider.name,
            card=provider.card,
            runs=provider.runs,
            memory_mb=memory_mb,
            slots=provider.card.concurrency,
            batch=self._settings.call.batch,
            target_seconds=LOCAL_TARGET_SECONDS if kind == "local" else self._settings.call.target_seconds,
            latency=_LATENCY.get(kind, 0.05),
            ahead=math.ceil(provider.card.concurrency * LOCAL_AHEAD) if name == "local" else 0,
        )

    def _provider(self, name: str | Provider, workers: int, worker_memory: int) -> tuple[Provider, int]:
        if not isinstance(name, str):
            return name, name.card.memory_mb[0]
        if name == "local":
            from cloudoffload.providers.local import Local

            card = dataclasses.replace(rates.load("local"), concurrency=workers)
            local = Local(
                workers=workers,
                memory=worker_memory,
                card=card,
                public_keys=self._signer.public_keys,
                store_memory=lambda: self.inventory.nbytes if self.store.lies_in_memory else 0,
            )
            return local, worker_memory >> 20
        if name == "aws":
            return self._aws(), self._settings.aws.memory_mb
        raise SettingsError(f"unknown provider {name!r}: use 'local', 'aws' or a Provider object")

    def _aws(self) -> Provider:
        from cloudoffload.providers.aws_lambda import AwsLambda

        cloud = self.emulated.get("aws")
        if cloud is None:
            raise SettingsError(
                "nothing is deployed on AWS; try it on this machine with Session(emulate=('aws',)), which bills nobody"
            )
        card = dataclasses.replace(rates.load("aws", cloud.region), concurrency=cloud.concurrency)
        return AwsLambda(
            cloud.function,
            card=card,
            region=cloud.region,
            memory_mb=cloud.memory_mb,
            session=cloud.boto3_session(),
            endpoint_url=cloud.lambda_url,
        )

    def _open_store(self, url: str | None) -> tuple[ObjectStore, RateCard, Callable[[], StoreAccess]]:
        """The store, its prices, and how workers open it; the user's own is cleaned of the run at the end."""
        prefix = prefix_of(self._run)
        if url is None and "aws" in self.emulated:
            cloud = self.emulated["aws"]  # its objects end with it
            store = open_store(StoreAccess(cloud.store_url, cloud.store_options))
            return store, rates.load("aws", cloud.region), self._limited(cloud, prefix)
        if url is None:
            folder = self._settings.local.folder / f"cloudoffload-{os.getuid()}" / self._run
            self._stack.enter_context(local_store_folder(folder))
            access, kind = StoreAccess(folder.as_uri()), "local"
        elif url.startswith(("file:", "/", ".")):
            access, kind = StoreAccess(Path(url.removeprefix("file://")).resolve().as_uri()), "local"
        else:
            if url.startswith("memory:"):
                raise SettingsError("a store in this process's memory is out of reach for workers: use file:///folder")
            access, kind = StoreAccess(url), "aws" if url.startswith("s3:") else "local"
            if kind == "local":
                logger.warning("what is done in %s is not on the bill: prices are known for S3 only", url)
        store = open_store(access)
        if url is not None:
            self._stack.callback(_delete_run, store, prefix)
        return store, rates.load(kind), lambda: access

    def _limited(self, cloud: Any, prefix: str) -> Callable[[], StoreAccess]:
        from cloudoffload.providers.aws_access import RunCredentials

        options: Mapping[str, str] = cloud.store_options
        credentials = RunCredentials(
            cloud.boto3_session().client("sts", endpoint_url=cloud.s3_url),
            role=_EMULATED_ROLE,
            bucket=cloud.bucket,
            prefix=prefix,
            run=self._run,
            options={name: options[name] for name in ("region", "endpoint", "allow_http")},
        )
        return lambda: StoreAccess(cloud.store_url, credentials.options())


def _delete_run(store: ObjectStore, prefix: str) -> None:
    try:
        store.delete_prefix(prefix)
    except StoreError as error:
        # What the session computed is no less true for that.
        logger.warning("objects below %s are left in %s, delete them yourself: %s", prefix, store.url, error)
