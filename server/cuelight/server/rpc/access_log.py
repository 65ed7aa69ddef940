"""One log line for every call that ends. Wraps a method table where it is asked for; nobody else pays for it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Method, Service
from cuelight.server.rpc.status import StatusCode, status_of

__all__ = ["with_access_log"]

_log = logging.getLogger("cuelight.access")


def with_access_log(service: Service) -> Service:
    """Return the service with each handler followed by a line: method, code, peer, milliseconds."""
    methods = []
    for path, method in service.paths():
        wrap = _logged_stream if method.cardinality.server_streams else _logged
        # A shortcut would pass the handler by, and the line with it.
        methods.append(replace(method, handler=wrap(path, method), shortcut=None, stream_shortcut=None))
    return Service(service.name, tuple(methods))


def _logged(path: str, method: Method) -> Callable[..., Any]:
    async def call(request: Any, context: RpcContext) -> Any:
        line = _Line(path, context)
        try:
            return await method.handler(request, context)
        except BaseException as error:
            line.failed(error)
            raise
        finally:
            line.write()

    return call


def _logged_stream(path: str, method: Method) -> Callable[..., Any]:
    async def call(request: Any, context: RpcContext) -> AsyncGenerator[Any, None]:
        line = _Line(path, context)
        responses = method.handler(request, context)
        try:
            async for response in responses:
                line.responses += 1
                yield response
        except GeneratorExit:
            line.failed(asyncio.CancelledError())
            raise
        except BaseException as error:
            line.failed(error)
            raise
        finally:
            await responses.aclose()
            line.write()

    return call


class _Line:
    """What is known of a call until its line is written."""

    __slots__ = ("_code", "_context", "_path", "_started_s", "responses")

    def __init__(self, path: str, context: RpcContext) -> None:
        self._path = path
        self._context = context
        self._code = StatusCode.OK
        self._started_s = perf_counter()
        self.responses = 0

    def failed(self, error: BaseException) -> None:
        self._code = status_of(error).code

    def write(self) -> None:
        fields = {
            "method": self._path,
            "code": self._code.name,
            "peer": self._context.peer(),
            "ms": round((perf_counter() - self._started_s) * 1000, 3),
        }
        if self.responses:
            fields["responses"] = self.responses
        _log.info("call ended", extra=fields)
