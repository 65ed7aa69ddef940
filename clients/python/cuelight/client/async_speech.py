"""Live speech for asyncio: the same stream, its waiting done by a thread of its own.

    caller's async chunks -> a task -> queue -> SpeechStream (threads) -> updates -> the caller's loop

The queue is bounded, so that a source that is faster than real time is slowed down. Leaving the iteration cancels the
stream and ends its thread.
"""

import asyncio
import queue
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from cuelight.client.audio_log import Control
from cuelight.client.recognition import SpeechClient
from cuelight.client.speech_options import RecognitionOptions
from cuelight.client.transcripts import SpeechUpdate

__all__ = ["stream_speech"]

_MAX_WAITING_CHUNKS = 64


async def stream_speech(
    client: SpeechClient,
    chunks: AsyncIterable[bytes | Control],
    *,
    model: str = "",
    options: RecognitionOptions | None = None,
    interim: bool = True,
    events: bool = False,
) -> AsyncGenerator[SpeechUpdate, None]:
    """Recognize a voice as it speaks, as `SpeechClient.stream` does; close the iterator (`aclosing`) to leave early.

    Raises: as `SpeechClient.stream`; what `chunks` raises.
    """
    passage = _Passage()
    stream = client.stream(passage.chunks(), model=model, options=options, interim=interim, events=events)
    loop = asyncio.get_running_loop()
    feeding = loop.create_task(passage.feed(chunks))
    with ThreadPoolExecutor(1, "cuelight-speech") as thread:
        try:
            while (update := await loop.run_in_executor(thread, next, stream, None)) is not None:
                yield update
        finally:
            feeding.cancel()
            stream.cancel()
            await asyncio.wait({feeding})
            passage.end()
            thread.submit(stream.close)


class _Passage:
    """Chunks on their way from the loop to the thread that reads them; None is the end, an exception is raised."""

    def __init__(self) -> None:
        self._chunks: queue.SimpleQueue[bytes | Control | BaseException | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_MAX_WAITING_CHUNKS)
        self._loop = asyncio.get_running_loop()

    async def feed(self, chunks: AsyncIterable[bytes | Control]) -> None:
        """Pass on the caller's chunks until they end."""
        try:
            async for chunk in chunks:
                await self._room.acquire()
                self._chunks.put(chunk)
        except Exception as error:
            # Whatever the caller's iterable raises is the caller's to see, in the caller's loop.
            self._chunks.put(error)
        self._chunks.put(None)

    def chunks(self) -> Iterator[bytes | Control]:
        """Yield what was passed on; for the thread."""
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            # A loop that has been closed meanwhile waits for no room any more.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._room.release)
            yield chunk

    def end(self) -> None:
        """Let the thread go."""
        self._chunks.put(None)
