"""The decoder and the joiner of a transducer: one thread, on which the frames of many voices are searched together.

A voice's encoder frames wait in a queue; when the thread is free it takes all that wait. Voices of one batch have the
same number of frames, since they come from the same model.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.errors import InferenceFailed, ShuttingDown
from cuelight.server.inference.engine import SessionConfig, open_session
from cuelight.server.inference.loader import ModelLoadError

__all__ = ["Searching", "TransducerEngine"]

Frames = NDArray[np.float32]

_UNLOADED = "the speech model is being unloaded"

_log = logging.getLogger("cuelight.speech")


class Searching:
    """A voice's frames that wait, the state they advance, and the future of when they have."""

    __slots__ = ("frames", "future", "search", "state")

    def __init__(self, state: Any, frames: Frames, search: Callable[..., None], future: "asyncio.Future[None]") -> None:
        self.state = state
        self.frames = frames
        self.search = search
        """Advances many states: (states, encoder_out, joiner, decoder)."""
        self.future = future


class TransducerEngine:
    """Owns the sessions; the queue belongs to the event loop."""

    def __init__(self, directory: Path, context_size: int, threads: int = 1) -> None:
        """Open `decoder.onnx` and `joiner.onnx` of a version's folder. Raises: ModelLoadError naming the file."""
        self.context_size = context_size
        self._decoder = _opened(directory / "decoder.onnx", threads)
        self._joiner = _opened(directory / "joiner.onnx", threads)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cuelight-transducer")
        self._waiting: list[Searching] = []
        self._running = False
        self._closed = False

    async def advance(self, state: Any, frames: Frames, search: Callable[..., None]) -> None:
        """Advance the state by encoder frames (frames, size). Raises: InferenceFailed, ShuttingDown."""
        if self._closed:
            raise ShuttingDown(_UNLOADED)
        loop = asyncio.get_running_loop()
        entry = Searching(state, frames, search, loop.create_future())
        self._waiting.append(entry)
        if not self._running:
            self._running = True
            loop.call_soon(self._dispatch, loop)
        await entry.future

    def joiner(self, encoder_out: Frames, decoder_out: Frames) -> Frames:
        """Return logits (rows, vocabulary)."""
        return _first(self._joiner, encoder_out, decoder_out)

    def decoder(self, context: NDArray[np.int64]) -> Frames:
        """Return the decoder's output (rows, size) for (rows, context_size) tokens."""
        return _first(self._decoder, context).reshape(len(context), -1)

    def close(self) -> None:
        """End the thread, once the batch it is in has ended; whatever waits is told."""
        self._closed = True
        for entry in self._waiting:
            if not entry.future.done():
                entry.future.set_exception(ShuttingDown(_UNLOADED))
        self._waiting = []
        self._executor.shutdown(wait=False)

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = [entry for entry in self._waiting if not entry.future.done()]
        self._waiting = []
        if not batch:
            self._running = False
            return
        self._executor.submit(lambda: loop.call_soon_threadsafe(self._done, loop, batch, self._failed(batch)))

    def _done(self, loop: asyncio.AbstractEventLoop, batch: Sequence[Searching], failed: set[int]) -> None:
        for place, entry in enumerate(batch):
            if entry.future.done():
                continue
            if place in failed:
                entry.future.set_exception(InferenceFailed("the transducer's decoder or joiner failed on this step"))
            else:
                entry.future.set_result(None)
        self._dispatch(loop)

    def _failed(self, batch: Sequence[Searching]) -> set[int]:
        """Run the batch, each kind of search by itself, and return the places of those that failed."""
        failed: set[int] = set()
        for search in {entry.search for entry in batch}:
            mine = [place for place, entry in enumerate(batch) if entry.search is search]
            frames = np.stack([batch[place].frames for place in mine])
            try:
                search([batch[place].state for place in mine], frames, self.joiner, self.decoder)
            except Exception:
                # The batch boundary, as in `SequenceLane`.
                _log.exception("a transducer's search failed")
                failed.update(mine)
        return failed


def _opened(path: Path, threads: int) -> ort.InferenceSession:
    try:
        return open_session(path, SessionConfig("cpu", 0, threads))
    except Exception as error:
        # ONNX Runtime raises types of its own for every way a file can be odd.
        raise ModelLoadError(f"{path}: cannot be opened: {error}") from error


def _first(session: ort.InferenceSession, *inputs: NDArray[Any]) -> Frames:
    feeds = {node.name: array for node, array in zip(session.get_inputs(), inputs, strict=True)}
    output: Frames = session.run([session.get_outputs()[0].name], feeds)[0]
    return output
