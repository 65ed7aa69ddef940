"""One call of ClassifyFrames: a reader that takes frames as fast as they come, and one frame at a time worked on.

    requests -> reader task -> FrameLine (drops the oldest) -> decoded and run, one after the other -> responses

A stream has one frame in the server's batches at a time, so streams share them fairly; one whose frames take longer
than they come falls behind by dropping. Whatever ends the reader ends the call: what waits is still answered, then the
status. A server that shuts down ends the reader: the caller goes on elsewhere, a stream of frames has no state. So does
a caller that sends nothing for too long.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from cuelight.server.errors import InvalidRequest, ShuttingDown
from cuelight.server.rpc.idle import IdleTimer
from cuelight.server.vision.frame_line import FrameLine, FrameRoom
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["FrameCall"]

_GONE = "the server is shutting down; go on elsewhere"


class FrameCall:
    """One call. Owned by the servicer, on the event loop."""

    def __init__(self, max_waiting: int, room: FrameRoom, max_idle_s: float, dropped: Callable[[int], None]) -> None:
        """`dropped` is told how many frames are dropped."""
        self._line = FrameLine(max_waiting, room)
        self._max_idle_s = max_idle_s
        self._dropped = dropped
        self._came = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._handing_over = False

    async def answers(
        self,
        requests: AsyncIterator[pb.ClassifyFramesRequest],
        answer: Callable[[pb.Frame], Awaitable[pb.ClassifyFramesResponse]],
    ) -> AsyncGenerator[pb.ClassifyFramesResponse, None]:
        """Yield an answer for each frame that is not dropped. Raises: what ended the reading; what `answer` raises."""
        if self._handing_over:
            raise ShuttingDown(_GONE)
        reader = self._reader = asyncio.create_task(self._read(requests))
        reader.add_done_callback(self._reading_over)
        try:
            while len(self._line) or not reader.done():
                if not len(self._line):
                    self._came.clear()
                    await self._came.wait()
                    continue
                frame, dropped = self._line.take()
                total = self._line.dropped_total
                response = await answer(frame)
                response.frame_id, response.time_ms = frame.id, frame.time_ms
                response.dropped, response.dropped_total = dropped, total
                yield response
            if self._handing_over:
                raise ShuttingDown(_GONE)
            await reader
        finally:
            reader.cancel()
            self._line.clear()

    def hand_over(self) -> None:
        """Take no more frames: the server shuts down."""
        self._handing_over = True
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self, requests: AsyncIterator[pb.ClassifyFramesRequest]) -> None:
        loop = asyncio.get_running_loop()
        idle = IdleTimer(loop, self._max_idle_s, self._reader)
        with idle.ending(self._idle_text, lambda: self._handing_over):
            idle.since_s = loop.time()
            async for request in requests:
                idle.since_s = None
                self._put(request)
                idle.since_s = loop.time()

    def _idle_text(self) -> str:
        return f"no frame came for {self._max_idle_s:g} s; begin the stream again when there is one"

    def _put(self, request: pb.ClassifyFramesRequest) -> None:
        kind = request.WhichOneof("request")
        if kind == "config":
            raise InvalidRequest("config came twice: it is the first message, and only that")
        if kind is None:
            raise InvalidRequest("a message without frame or config")
        self._dropped(self._line.put(request.frame))
        self._came.set()

    def _reading_over(self, reader: "asyncio.Task[None]") -> None:
        """Nothing more comes, whatever ended the reader; its error is looked at even where nobody waits."""
        self._came.set()
        if not reader.cancelled():
            reader.exception()
