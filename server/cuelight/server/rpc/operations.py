"""The operations port: plain HTTP for Prometheus and for kubelets, beside gRPC and never in its way.

    GET /metrics        Prometheus text
    GET /health/live    200 while the process serves its event loop
    GET /health/ready   200 while calls are taken, 503 while models load, after a failure and while draining

One request a connection, nothing but GET and HEAD, a few KB at most: it is not a web server. Metrics are collected on
the event loop, whose state they are, and turned into text on a thread.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from cuelight.server.errors import ConfigError

__all__ = ["OperationsPort"]

_MAX_REQUEST_BYTES = 16 * 1024
_REQUEST_TIMEOUT_S = 10.0
_PLAIN = "text/plain; charset=utf-8"


class OperationsPort:
    """Serves the collectors' metrics and two health pages. Owned by the event loop."""

    def __init__(self, host: str, port: int, collectors: Iterable[Collector], is_ready: Callable[[], bool]) -> None:
        self._host = host
        self._collectors = tuple(collectors)
        self._is_ready = is_ready
        self._server: asyncio.Server | None = None
        self.port = port

    async def start(self) -> None:
        """Listen; `port` is then the one taken. Raises: ConfigError when the address cannot be bound."""
        try:
            self._server = await asyncio.start_server(
                self._answer, self._host, self.port, limit=_MAX_REQUEST_BYTES, reuse_address=True
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self._host}:{self.port} for metrics: {error.strerror or error}"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever sends no whole request in time or leaves early only loses its own answer.
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                status, content_type, body = await self._response(head)
                method = head.split(b" ", 1)[0]
                writer.write(_head(status, content_type, len(body)) + (b"" if method == b"HEAD" else body))
                await writer.drain()
        writer.close()

    async def _response(self, head: bytes) -> tuple[HTTPStatus, str, bytes]:
        method, _, rest = head.decode("latin-1").partition(" ")
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN, b"only GET and HEAD\n"
        path = rest.split(" ", 1)[0].split("?", 1)[0]
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, await self._metrics()
        if path == "/health/live":
            return HTTPStatus.OK, _PLAIN, b"live\n"
        if path == "/health/ready":
            ready = self._is_ready()
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            return status, _PLAIN, b"ready\n" if ready else b"not ready\n"
        return HTTPStatus.NOT_FOUND, _PLAIN, b"/metrics, /health/live and /health/ready are here\n"

    async def _metrics(self) -> bytes:
        collected = _Collected([metric for collector in self._collectors for metric in collector.collect()])
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collected)
        return await asyncio.to_thread(generate_latest, registry)


class _Collected(Collector):
    """Metrics that were read on the event loop, to be written on a thread."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics

    def describe(self) -> list[Metric]:
        return []


def _head(status: HTTPStatus, content_type: str, length: int) -> bytes:
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")
