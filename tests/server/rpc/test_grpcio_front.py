"""What the grpcio front lets go of at the end of a call, without the garbage collector."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from cuelight.server.errors import InvalidRequest
from cuelight.server.rpc.front_config import FrontConfig
from cuelight.server.rpc.grpcio_front import GrpcioFront
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.methods import Cardinality, Method, Service


class Request:
    """A message that can be referred to weakly, as protobuf's own cannot."""

    DESCRIPTOR = StringValue.DESCRIPTOR

    @classmethod
    def FromString(cls, body: bytes) -> "Request":
        return cls()


class Refusing:
    """Handlers that fail in the ways there are, with references to what they were given."""

    def __init__(self) -> None:
        self.given: list[weakref.ref[Request]] = []

    async def one(self, request: Request, context: Any) -> StringValue:
        self.given.append(weakref.ref(request))
        raise InvalidRequest("no")

    async def down(self, request: Request, context: Any) -> AsyncIterator[StringValue]:
        self.given.append(weakref.ref(request))
        yield StringValue()
        raise InvalidRequest("no")

    async def up(self, requests: AsyncIterator[Request], context: Any) -> StringValue:
        return await self.one(await anext(requests), context)

    async def both(self, requests: AsyncIterator[Request], context: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            async for answer in self.down(request, context):
                yield answer


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Leave circles of references alone, as the collector does for as long as few objects are made."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("cardinality", list(Cardinality))
def test_a_call_that_failed_holds_no_message(cardinality: Cardinality) -> None:
    handlers = Refusing()
    four: tuple[Any, ...] = (handlers.one, handlers.down, handlers.up, handlers.both)
    handler = dict(zip(Cardinality, four, strict=True))[cardinality]
    request_type: Any = Request
    method = Method("Refuse", cardinality, request_type, StringValue, handler)

    async def scenario() -> None:
        front = GrpcioFront(FrontConfig("127.0.0.1", 0, 1 << 20), [Service("t.T", (method,))], CallLedger(10))
        await front.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
                for _ in range(3):
                    with pytest.raises(grpc.aio.AioRpcError, match="no"):
                        await ended(channel)
        finally:
            await front.stop(0)

    async def ended(channel: grpc.aio.Channel) -> None:
        body = StringValue(value="x" * 100).SerializeToString()
        call: Any = getattr(channel, cardinality.name.lower())("/t.T/Refuse")
        begun = call([body] if cardinality.client_streams else body)
        if not cardinality.server_streams:
            await begun
            return
        async for _ in begun:
            pass

    asyncio.run(asyncio.wait_for(scenario(), 30))

    assert len(handlers.given) == 3
    assert [given() for given in handlers.given] == [None] * 3
