"""A service that the tests of both fronts call, built from well-known messages."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.methods import Cardinality, Method, Service


class Probe:
    async def Echo(self, request: BytesValue, context: RpcContext) -> BytesValue:
        return request

    async def Chat(self, requests: AsyncIterator[BytesValue], context: RpcContext) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request


class ProbeApplication:
    def __init__(self) -> None:
        probe = Probe()
        self.ledger = CallLedger(1000)
        self.services = (
            Service(
                "probe.Probe",
                (
                    Method("Echo", Cardinality.UNARY_UNARY, BytesValue, BytesValue, probe.Echo),
                    Method("Chat", Cardinality.STREAM_STREAM, BytesValue, BytesValue, probe.Chat),
                ),
            ),
        )

    async def start(self) -> None:
        pass

    async def failure(self) -> BaseException:
        return await asyncio.get_running_loop().create_future()

    async def drain(self) -> None:
        await self.ledger.drain()

    async def stop(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"probe": 1}


def build(config_json: str) -> ProbeApplication:
    return ProbeApplication()
