"""One execution environment: AWS's own runtime client in a process, and the Runtime API that it speaks to.

The Runtime API is the contract between Lambda and the code it runs (AWS Lambda developer guide, "Using the Lambda
runtime API"). Each environment has its own, on its own port, so that a function can't take another one's events.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from cloudoffload.emulator.function import INIT_SECONDS, RESPONSE_BYTES, FunctionSettings
from cloudoffload.emulator.lifecycle import bind_loopback
from cloudoffload.emulator.process import dies_with_parent, exit_message
from cloudoffload.emulator.report import TAIL_BYTES, Metering, log_tail
from cloudoffload.providers.process_memory import held

WATCH_SECONDS = 0.02
API = "/2018-06-01/runtime"
READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    """What one invocation ends with."""

    payload: bytes
    failed: bool = False  # the function did not return: Lambda answers 200 with X-Amz-Function-Error
    status: str = ""  # as in the REPORT line
    error_type: str = ""  # as in the REPORT line
    log: bytes = b""


class Environment:
    """Runs one invocation at a time; stays warm until it fails or is closed.

    Parameters
    ----------
    settings : FunctionSettings
        The function that it runs.
    number : int
        Names it in logs.
    scratch : Path
        Where its working folder is made.
    """

    def __init__(self, settings: FunctionSettings, number: int, scratch: Path) -> None:
        self._settings = settings
        self._log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{number:032x}"
        self._scratch = scratch / f"environment-{number}"
        self._events: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._log_pipe = -1
        self._printed = bytearray()
        self._request_id = ""
        self._answer: asyncio.Future[Answer]
        self._ready: asyncio.Future[None]
        self._spawned = 0.0
        self._peak_mb = 0.0
        self._over_memory = False
        self._spent = False  # it must not serve again, although its process may still be ending

    @property
    def warm(self) -> bool:
        """Its process runs, and may serve another invocation."""
        return self._process is not None and self._process.returncode is None and not self._spent

    async def run(self, request_id: str, body: bytes) -> Answer:
        """Start the process if there is none, hand it the event, and wait until it answers, ends or is ended."""
        loop = asyncio.get_running_loop()
        self._request_id = request_id
        self._answer = loop.create_future()
        self._ready = loop.create_future()
        self._printed.clear()
        cold = self._process is None
        if cold:
            await self._start()
        watch = loop.create_task(self._watch_memory())
        try:
            init_seconds = await self._wait_for_init() if cold else None
            began = loop.time()
            self._events.put_nowait((request_id, body))
            answered, _ = await asyncio.wait([self._answer], timeout=self._settings.timeout)
            seconds = loop.time() - began if answered else self._settings.timeout
        finally:
            watch.cancel()
        self._measure()
        answer = self._answer.result() if answered else self._time_out()
        metering = Metering(
            seconds, self._settings.memory_mb, self._peak_mb, init_seconds, answer.status, answer.error_type
        )
        self._read_log()
        log = log_tail(request_id, bytes(self._printed), metering)
        return Answer(answer.payload, answer.failed, answer.status, answer.error_type, log)

    async def close(self) -> None:
        """End the process and everything that it started, and delete its folder."""
        self._end()
        if self._watcher is not None:
            await self._watcher
        if self._runner is not None:
            await self._runner.cleanup()
        if self._log_pipe >= 0:
            asyncio.get_running_loop().remove_reader(self._log_pipe)
            os.close(self._log_pipe)
            self._log_pipe = -1
        shutil.rmtree(self._scratch, ignore_errors=True)

    # -- the process

    async def _start(self) -> None:
        self._scratch.mkdir(mode=0o700)
        listener = bind_loopback()
        self._runner = web.AppRunner(self._runtime_api(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        self._log_pipe, write_end = os.pipe()
        os.set_blocking(self._log_pipe, False)
        asyncio.get_running_loop().add_reader(self._log_pipe, self._read_log)
        self._spawned = asyncio.get_running_loop().time()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "awslambdaric",
            self._settings.handler,
            env=self._settings.variables(f"127.0.0.1:{listener.getsockname()[1]}", self._log_stream, self._scratch),
            cwd=self._scratch,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            start_new_session=True,  # what the function starts ends with it, by its process group
            preexec_fn=dies_with_parent(),
        )
        os.close(write_end)
        self._watcher = asyncio.create_task(self._watch_process(self._process))

    async def _wait_for_init(self) -> float:
        """Seconds of the start; one that takes longer than Lambda allows goes on as part of the invocation."""
        either: list[asyncio.Future[Any]] = [self._ready, self._answer]
        await asyncio.wait(either, timeout=INIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return asyncio.get_running_loop().time() - self._spawned

    async def _watch_process(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        error_type = "Runtime.OutOfMemory" if self._over_memory else "Runtime.ExitError"
        message = f"RequestId: {self._request_id} Error: {exit_message(code)}"
        self._fail("Runtime.ExitError", message, error_type)

    async def _watch_memory(self) -> None:
        while not self._spent:
            self._measure()
            await asyncio.sleep(WATCH_SECONDS)

    def _measure(self) -> None:
        if not self.warm:
            return
        assert self._process is not None
        self._peak_mb = max(self._peak_mb, held(self._process.pid, family=True) / 2**20)
        if self._peak_mb > self._settings.memory_mb:
            self._over_memory = True
            self._end()

    def _end(self) -> None:
        self._spent = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _read_log(self) -> None:
        """Keep the end of what the function prints, and pass it on to whoever diagnoses the emulator."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._log_pipe, READ_BYTES):
                os.write(sys.stderr.fileno(), chunk)
                self._printed += chunk
                del self._printed[:-TAIL_BYTES]
                if len(chunk) < READ_BYTES:
                    return
            asyncio.get_running_loop().remove_reader(self._log_pipe)  # its other end is closed

    # -- how an invocation ends

    def _settle(self, answer: Answer) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, error_type: str, message: str, reported: str) -> None:
        payload = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
        self._settle(Answer(payload, failed=True, status="error", error_type=reported))

    def _time_out(self) -> Answer:
        self._end()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        message = f"{now}Z {self._request_id} Task timed out after {self._settings.timeout:.2f} seconds"
        payload = json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": message}).encode()
        return Answer(payload, failed=True, status="timeout")

    # -- the Runtime API

    def _runtime_api(self) -> web.Application:
        api = web.Application(client_max_size=RESPONSE_BYTES)
        api.router.add_get(f"{API}/invocation/next", self._next)
        api.router.add_post(f"{API}/invocation/{{id}}/response", self._response)
        api.router.add_post(f"{API}/invocation/{{id}}/error", self._error)
        api.router.add_post(f"{API}/init/error", self._init_error)
        return api

    async def _next(self, request: web.Request) -> web.Response:
        if not self._ready.done():
            self._ready.set_result(None)
        request_id, body = await self._events.get()
        deadline = time.time() + self._settings.timeout
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._settings.arn,
            "Content-Type": "application/json",
        }
        return web.Response(body=body, headers=headers)

    def _is_stale(self, request: web.Request) -> bool:
        return request.match_info.get("id", self._request_id) != self._request_id

    async def _response(self, request: web.Request) -> web.Response:
        if self._is_stale(request):
            return web.json_response({"errorType": "InvalidRequestID"}, status=400)
        try:
            payload = await request.read()
        except web.HTTPRequestEntityTooLarge:
            message = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
            self._fail("Function.ResponseSizeTooLarge", message, "Function.ResponseSizeTooLarge")
            self._spent = True  # the runtime client ends itself when an answer is refused
            return web.json_response({"errorType": "RequestEntityTooLarge", "errorMessage": message}, status=413)
        self._settle(Answer(payload))
        return web.json_response({"status": "OK"}, status=202)

    async def _error(self, request: web.Request) -> web.Response:
        if self._is_stale(request):
            return web.json_response({"errorType": "InvalidRequestID"}, status=400)
        self._settle(Answer(await request.read(), failed=True))
        return web.json_response({"status": "OK"}, status=202)

    async def _init_error(self, request: web.Request) -> web.Response:
        self._spent = True  # the runtime client ends itself after this
        return await self._error(request)
