"""The application inside Envoy: what `pyvoy` imports and calls.

pyvoy starts the ASGI lifespan on its event loop before Envoy opens the port. The worker then waits for the launcher's
`start`, builds the application and starts it; only when that has succeeded does the lifespan complete and the port
open. `drain` comes over the same line, because SIGTERM would make Envoy cut its streams at once.

States: waiting for `start` -> starting -> serving -> draining -> drained. Of a failure to start the launcher is told,
which says it and ends the process; of a part that dies while serving too, and it drains then.
"""

import asyncio
import os
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.application import Application, build_application
from cuelight.server.rpc.asgi_front import AsgiFront
from cuelight.server.rpc.asgi_response import Send
from cuelight.server.rpc.control import CONTROL_FD_VARIABLE, WorkerLine
from cuelight.server.rpc.lifecycle import STOP_S

__all__ = ["EnvoyWorker", "app"]

_Receive = Callable[[], Awaitable[dict[str, Any]]]


class EnvoyWorker:
    """The ASGI application of one Envoy process. Owned by pyvoy's event loop."""

    _asgi_single_callable = True

    def __init__(self) -> None:
        self._front: AsgiFront | None = None
        self._application: Application | None = None
        self._line: WorkerLine | None = None
        self._draining: asyncio.Task[None] | None = None
        self._telling: list[asyncio.Task[None]] = []

    def __call__(self, scope: dict[str, Any], receive: _Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Serve one HTTP request, or the lifespan before there is a front."""
        if self._front is None:
            return self._lifespan(receive, send)
        return self._front(scope, receive, send)

    async def _lifespan(self, receive: _Receive, send: Send) -> None:
        await receive()
        loop = asyncio.get_running_loop()
        start: asyncio.Future[dict[str, Any]] = loop.create_future()

        def on_command(command: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._obey, command, start)

        line = self._line = WorkerLine(int(os.environ[CONTROL_FD_VARIABLE]), on_command)
        try:
            await self._start(await start)
        except Exception as error:
            configuration = isinstance(error, ConfigError)
            message = str(error) if configuration else traceback.format_exc()
            line.send({"event": "failed", "configuration": configuration, "message": message})
            # Until the launcher ends this process. pyvoy and Envoy, told of it, would say it again in their own words.
            await asyncio.Event().wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def _obey(self, command: dict[str, Any], start: "asyncio.Future[dict[str, Any]]") -> None:
        if command["command"] == "start":
            start.set_result(command)
        elif command["command"] == "drain" and self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain(command["grace_s"]))

    async def _start(self, command: dict[str, Any]) -> None:
        application = build_application(command["factory"], command["config_json"])
        await application.start()
        self._application = application
        self._front = AsgiFront(application.services, application.ledger, command["max_message_bytes"])
        assert self._line is not None
        self._line.send({"event": "ready", "description": application.describe()})
        loop = asyncio.get_running_loop()
        self._telling = [
            loop.create_task(self._tell_loaded(application, self._line)),
            loop.create_task(self._tell_death(application, self._line)),
        ]

    async def _tell_loaded(self, application: Application, line: WorkerLine) -> None:
        await application.loaded()
        line.send({"event": "loaded", "description": application.describe()})

    async def _tell_death(self, application: Application, line: WorkerLine) -> None:
        error = await application.failure()
        configuration = isinstance(error, ConfigError)
        message = str(error) if configuration else "".join(traceback.format_exception(error))
        line.send({"event": "died", "configuration": configuration, "message": message})

    async def _drain(self, grace_s: float) -> None:
        assert self._application is not None and self._line is not None
        try:
            async with asyncio.timeout(grace_s):
                await self._application.drain()
        except TimeoutError:
            pass
        in_flight = self._application.ledger.in_flight
        for task in self._telling:
            task.cancel()
        with suppress(TimeoutError):  # a model that computes on and on is left to the end of the process
            async with asyncio.timeout(STOP_S):
                await self._application.stop()
        self._line.send({"event": "drained", "in_flight": in_flight})


app = EnvoyWorker()
