"""The access log: one line a call, whatever its end, and the call itself unchanged."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from grpc_health.v1 import health_pb2 as pb

from cuelight.server.errors import NotFound
from cuelight.server.rpc.access_log import with_access_log
from cuelight.server.rpc.methods import Cardinality, Method, Service


class Context:
    def metadata(self) -> tuple[()]:
        return ()

    def deadline(self) -> None:
        return None

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50123"

    def set_trailing_metadata(self, metadata: object) -> None:
        pass


def logged(cardinality: Cardinality, handler: Callable[..., Any]) -> Callable[..., Any]:
    method = Method("Check", cardinality, pb.HealthCheckRequest, pb.HealthCheckResponse, handler)
    return with_access_log(Service("grpc.health.v1.Health", (method,))).methods[0].handler


async def unary(request: str, context: Context) -> str:
    return request.upper()


async def refused(request: str, context: Context) -> str:
    raise NotFound(f"no {request}")


async def broken(request: str, context: Context) -> str:
    raise ValueError(request)


async def stream(request: str, context: Context) -> AsyncIterator[str]:
    for letter in request:
        yield letter


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    caplog.set_level(logging.INFO, logger="cuelight.access")

    def read() -> list[dict[str, Any]]:
        keys = ("method", "code", "peer", "responses")
        return [{key: getattr(r, key) for key in keys if hasattr(r, key)} for r in caplog.records]

    return read


LINE = {"method": "/grpc.health.v1.Health/Check", "peer": "ipv4:127.0.0.1:50123"}


def test_an_answered_call(lines: Callable[[], list[dict[str, Any]]]) -> None:
    assert asyncio.run(logged(Cardinality.UNARY_UNARY, unary)("a", Context())) == "A"

    assert lines() == [{**LINE, "code": "OK"}]


@pytest.mark.parametrize(
    ("handler", "error", "code"), [(refused, NotFound, "NOT_FOUND"), (broken, ValueError, "INTERNAL")]
)
def test_a_failed_call(
    lines: Callable[[], list[dict[str, Any]]], handler: Callable[..., Any], error: type[Exception], code: str
) -> None:
    with pytest.raises(error):
        asyncio.run(logged(Cardinality.UNARY_UNARY, handler)("a", Context()))

    assert lines() == [{**LINE, "code": code}]


def test_a_stream_that_ends(lines: Callable[[], list[dict[str, Any]]]) -> None:
    async def scenario() -> list[str]:
        return [letter async for letter in logged(Cardinality.UNARY_STREAM, stream)("abc", Context())]

    assert asyncio.run(scenario()) == ["a", "b", "c"]
    assert lines() == [{**LINE, "code": "OK", "responses": 3}]


def test_a_stream_that_is_left_early_is_cancelled_and_its_handler_closed(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    async def scenario() -> list[str]:
        closed = []

        async def endless(request: str, context: Context) -> AsyncIterator[str]:
            try:
                while True:
                    yield request
            finally:
                closed.append("closed")

        responses = logged(Cardinality.UNARY_STREAM, endless)("a", Context())
        await anext(responses)
        await responses.aclose()
        return closed

    assert asyncio.run(scenario()) == ["closed"]
    assert lines() == [{**LINE, "code": "CANCELLED", "responses": 1}]


def test_a_cancelled_call(lines: Callable[[], list[dict[str, Any]]]) -> None:
    async def scenario() -> None:
        async def waits(request: str, context: Context) -> str:
            return await asyncio.Event().wait() and request

        call = asyncio.ensure_future(logged(Cardinality.UNARY_UNARY, waits)("a", Context()))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(scenario())
    assert lines() == [{**LINE, "code": "CANCELLED"}]
