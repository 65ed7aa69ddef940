"""The yardstick: a bare `grpc.aio` server that sends every message back. `python echo_server.py PORT`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc


async def echo(message: bytes, context: Any) -> bytes:
    """Return the message."""
    return message


async def echo_stream(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """Yield each message."""
    async for message in messages:
        yield message


async def main(port: int) -> None:
    """Serve the two methods under the names that the load generator calls."""
    server = grpc.aio.server()
    handlers: dict[str, Any] = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(echo),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(echo_stream),
    }
    generic = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)
    server.add_generic_rpc_handlers((generic,))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(f"gRPC        127.0.0.1:{bound}\nREADY", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
