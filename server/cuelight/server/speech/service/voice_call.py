"""One call of StreamingRecognize or Recognize: a reader that feeds the voice, and the responses that come of it.

    requests -> reader task: AudioFeed -> Voice -> VoiceOutbox -> responses

The reader takes a message when the voice has taken the one before: a caller that is faster than its model, or that does
not read its answers, is not read any further, and the transport's flow control holds it. Whatever ends the reader ends
the call: what was found out is still sent, then the status.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from cuelight.server.errors import InvalidRequest, ShuttingDown
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.rpc.idle import IdleTimer
from cuelight.server.speech.audio import AnySamples
from cuelight.server.speech.results import Update
from cuelight.server.speech.service.audio_feed import AudioFeed
from cuelight.server.speech.service.outbox import VoiceOutbox
from cuelight.server.speech.voice import Voice
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["VoiceCall"]

_GONE = "the server is shutting down; go on elsewhere from the last resume token"
_CHANGES = "config came twice: it is the first message, and only that"


class VoiceCall:
    """One call. Owned by the servicer, on the event loop."""

    def __init__(
        self,
        version: ModelVersion,
        voice: Voice,
        outbox: VoiceOutbox,
        feed: AudioFeed,
        max_idle_s: float,
        recognized: Callable[[int, float], None] | None = None,
    ) -> None:
        """`recognized` is told, for a live voice, how many samples were taken and how many seconds that took."""
        self.version = version
        self.feed = feed
        self.resumable = False
        self.stepped: ModelVersion | None = None
        """The version whose sequence the voice's states hold, from its beginning on."""
        self._voice = voice
        self._outbox = outbox
        self._max_idle_s = max_idle_s
        self._recognized = recognized
        self._reader: asyncio.Task[None] | None = None
        self._handing_over = False

    async def updates(self, requests: AsyncIterator[Any], first: bytes = b"") -> AsyncIterator[Update]:
        """Yield what is found out, to the end. Raises: whatever ended the reading."""
        if self._handing_over:
            raise ShuttingDown(_GONE)
        reader = self._reader = asyncio.create_task(self._read(requests, first))
        reader.add_done_callback(self._reading_over)
        async for update in self._outbox.updates():
            yield update
        try:
            await reader
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._handing_over or (task is not None and task.cancelling()):
                raise
            raise ShuttingDown(_GONE) from None

    def close(self) -> None:
        """Let everything go, however far the call came."""
        if self._reader is not None:
            self._reader.cancel()
        self._voice.close()

    def hand_over(self) -> None:
        """End the call, if its caller can go on elsewhere."""
        if not self.resumable:
            return
        self._handing_over = True
        if self._reader is not None:
            self._reader.cancel()

    def _reading_over(self, reader: "asyncio.Task[None]") -> None:
        """Nothing more is found out, whatever ended the reader; its error is looked at even where nobody waits."""
        self._outbox.end()
        if not reader.cancelled():
            reader.exception()

    async def _read(self, requests: AsyncIterator[Any], first: bytes) -> None:
        loop = asyncio.get_running_loop()
        idle = IdleTimer(loop, self._max_idle_s, self._reader)
        with idle.ending(self._idle_text, lambda: self._handing_over):
            await self._take(first)
            while True:
                idle.since_s = loop.time()
                request = await anext(requests, None)
                idle.since_s = None
                if request is None:
                    break
                await self._obey(request)
            await self._accept(self.feed.finish())
            await self._voice.finish()

    def _idle_text(self) -> str:
        return f"neither audio nor keep_alive came for {self._max_idle_s:g} s; begin the stream again"

    async def _obey(self, request: Any) -> None:
        if isinstance(request, pb.RecognizeRequest):
            if request.HasField("config"):
                raise InvalidRequest(_CHANGES)
            await self._take(request.audio)
            return
        kind = request.WhichOneof("request")
        if kind == "audio":
            await self._take(request.audio)
        elif kind == "control":
            await self._control(request.control)
        elif kind == "config":
            raise InvalidRequest(_CHANGES)
        else:
            raise InvalidRequest("a message without audio, control or config")

    async def _control(self, control: pb.Control) -> None:
        kind = control.WhichOneof("control")
        if kind == "finalize":
            await self._voice.finalize()
        elif kind == "keep_alive":
            self._voice.keep_alive()
        else:
            raise InvalidRequest("control: expected finalize or keep_alive")

    async def _take(self, data: bytes) -> None:
        for samples in self.feed.feed(data):
            await self._accept(samples)

    async def _accept(self, samples: AnySamples) -> None:
        if not len(samples):
            return
        started_s, held_s = time.monotonic(), self._outbox.held_s
        await self._voice.accept(samples)
        if self._recognized is not None:
            # What a caller's own slowness costs is not the server's.
            held_s = self._outbox.held_s - held_s
            self._recognized(len(samples), time.monotonic() - started_s - held_s)
