"""What a caller's own requests raise comes back as it is, not as a failure of the server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from cuelight.client import AsyncChannel, Channel
from cuelight.vision.v1 import vision_pb2 as pb

PATH = "/cuelight.vision.v1.VisionService/ClassifyFrames"


def silent(requests: Iterator[pb.ClassifyFramesRequest], _: object) -> Iterator[pb.ClassifyFramesResponse]:
    """Take everything in and say nothing."""
    for _request in requests:
        yield from ()


@pytest.fixture
def target() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.stream_stream_rpc_method_handler(
        silent, pb.ClassifyFramesRequest.FromString, pb.ClassifyFramesResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("cuelight.vision.v1.VisionService", {"ClassifyFrames": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_of_a_blocking_call(target: str) -> None:
    def requests() -> Iterator[pb.ClassifyFramesRequest]:
        yield pb.ClassifyFramesRequest()
        raise LookupError("the camera is gone")

    with Channel(target) as channel, pytest.raises(LookupError, match="the camera is gone"):
        list(channel.stream(PATH, requests(), pb.ClassifyFramesResponse))


def test_of_a_call_on_asyncio(target: str) -> None:
    async def requests() -> AsyncIterator[pb.ClassifyFramesRequest]:
        yield pb.ClassifyFramesRequest()
        raise LookupError("the camera is gone")

    async def run() -> None:
        async with AsyncChannel(target) as channel:
            with pytest.raises(LookupError, match="the camera is gone"):
                async for _ in channel.stream(PATH, requests(), pb.ClassifyFramesResponse):
                    pass

    asyncio.run(run())
