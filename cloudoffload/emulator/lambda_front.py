"""Lambda on this machine: the Invoke API in front of a pool of execution environments."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from cloudoffload.emulator.child import listener, remove_scratch, say_ready, settings_from_parent, when_parent_ends
from cloudoffload.emulator.environment import Answer, Environment
from cloudoffload.emulator.function import REQUEST_BYTES, FunctionSettings
from cloudoffload.emulator.signature import Verifier

KEEP_ALIVE_SECONDS = 3600.0


class Pool:
    """Execution environments of one function; those that wait are kept warm and used again, the latest first."""

    def __init__(self, settings: FunctionSettings, scratch: Path) -> None:
        self._settings = settings
        self._scratch = scratch
        self._idle: list[Environment] = []
        self._all: set[Environment] = set()
        self._started = 0
        self._busy = 0

    def admit(self) -> bool:
        """Take a place for one invocation; False when every environment that the function may have is at work.

        Taken at once, not when :meth:`run` starts: other requests are looked at before that.
        """
        if self._busy >= self._settings.concurrency:
            return False
        self._busy += 1
        return True

    async def run(self, request_id: str, body: bytes) -> Answer:
        """Run one invocation that was admitted, and give its place back."""
        try:
            environment = await self._take()
            answer = await environment.run(request_id, body)
            if environment.warm:
                self._idle.append(environment)
            else:
                await self._drop(environment)
            return answer
        finally:
            self._busy -= 1

    async def close(self) -> None:
        """End every environment."""
        await asyncio.gather(*(self._drop(environment) for environment in list(self._all)))

    async def _take(self) -> Environment:
        while self._idle:
            environment = self._idle.pop()
            if environment.warm:
                return environment
            await self._drop(environment)
        self._started += 1
        environment = Environment(self._settings, self._started, self._scratch)
        self._all.add(environment)
        return environment

    async def _drop(self, environment: Environment) -> None:
        self._all.discard(environment)
        await environment.close()


class Front:
    """The Invoke API (AWS Lambda API reference, Invoke) of one function."""

    def __init__(self, settings: FunctionSettings, pool: Pool, verifier: Verifier) -> None:
        self._settings = settings
        self._pool = pool
        self._verifier = verifier
        self._invocations: set[asyncio.Task[Answer]] = set()

    def application(self) -> web.Application:
        """What answers over HTTP."""
        application = web.Application(client_max_size=REQUEST_BYTES)
        application.router.add_post("/2015-03-31/functions/{name}/invocations", self.invoke)
        return application

    async def invoke(self, request: web.Request) -> web.Response:
        """Answer one Invoke request, after the checks that Lambda makes, in its order."""
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            message = f"Request must be smaller than {REQUEST_BYTES} bytes for the InvokeFunction operation"
            return _refused(413, "RequestTooLargeException", message)
        refusal = self._verifier.refusal(request.method, str(request.url), request.headers, body)
        if refusal is not None:
            return _refused(403, refusal.code, refusal.message)
        if request.match_info["name"] not in (self._settings.name, self._settings.arn):
            message = f"Function not found: {self._settings.arn.rpartition(':')[0]}:{request.match_info['name']}"
            return _refused(404, "ResourceNotFoundException", message)
        if request.headers.get("X-Amz-Invocation-Type", "RequestResponse") != "RequestResponse":
            return _refused(400, "InvalidParameterValueException", "only synchronous invocations are emulated")
        if not self._pool.admit():
            reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
            return _refused(429, "TooManyRequestsException", "Rate Exceeded.", {"Reason": reason})
        return await self._run(body or b"{}", tail=request.headers.get("X-Amz-Log-Type") == "Tail")

    async def _run(self, body: bytes, *, tail: bool) -> web.Response:
        request_id = str(uuid.uuid4())
        invocation = asyncio.create_task(self._pool.run(request_id, body))
        self._invocations.add(invocation)
        invocation.add_done_callback(self._invocations.discard)
        answer = await asyncio.shield(invocation)  # a caller that hangs up does not stop the function
        headers = {"X-Amz-Executed-Version": "$LATEST", "x-amzn-RequestId": request_id}
        if answer.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        if tail:
            headers["X-Amz-Log-Result"] = base64.b64encode(answer.log).decode()
        return web.Response(body=answer.payload, headers=headers, content_type="application/json")


def _refused(status: int, code: str, message: str, extra: Mapping[str, str] | None = None) -> web.Response:
    body = {"Type": "User", "message": message, **(extra or {})}
    return web.json_response(body, status=status, headers={"X-Amzn-ErrorType": code})


async def serve() -> None:
    """Serve one function until the parent ends."""
    given = settings_from_parent()
    scratch = Path(given["scratch"])
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    when_parent_ends(lambda: loop.call_soon_threadsafe(ended.set))
    settings = FunctionSettings(**given["function"])
    pool = Pool(settings, scratch)
    front = Front(settings, pool, Verifier(given["access_key"], given["secret_key"]))
    runner = web.AppRunner(
        front.application(), access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS, shutdown_timeout=0.1
    )
    await runner.setup()
    await web.SockSite(runner, listener(given), backlog=1024).start()
    say_ready()
    await ended.wait()
    await pool.close()
    await runner.cleanup()
    remove_scratch(scratch)


if __name__ == "__main__":
    asyncio.run(serve())
