"""Texts through a model: each a request of its own to the model's batcher, so that all callers' texts share batches.

    texts, the shortest first -> at most a few batches' worth in the queue -> outputs, in the texts' order

A caller of many texts holds no more than that of the queue, by number and by tokens, so that a caller of one gets in
between: of long texts a batch takes a second.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.text.encoder import EncoderCompanion
from cuelight.server.text.tokenizer import EncodedText

__all__ = ["outputs_of"]

Arrays = dict[str, NDArray[Any]]

_BATCHES_AHEAD = 2
"""What is in the queue or runs: two, so that an engine that becomes free finds a whole one."""
_TOKENS_AHEAD = 4096
"""Of long texts fewer: as many as 16 of 256 tokens, which batch as well as more of them do."""


async def outputs_of(
    version: ModelVersion,
    encoder: EncoderCompanion,
    texts: Mapping[int, EncodedText],
    deadline_s: float | None,
    keep: Callable[[Arrays], Arrays],
) -> dict[int, Arrays]:
    """Return what `keep` keeps of the model's outputs for each text, by its index; each array without the batch axis.

    Raises: Overloaded, DeadlineExceeded, ShuttingDown, InferenceFailed; nothing is left in the queue then, nor where
    the caller leaves.
    """
    window = max(1, version.signature.max_batch_size) * _BATCHES_AHEAD
    pending: deque[tuple[int, asyncio.Future[Arrays]]] = deque()
    done: dict[int, Arrays] = {}
    try:
        for index in sorted(texts, key=lambda index: len(texts[index].ids)):
            # The shortest come first, so this one is the longest of those ahead.
            most = min(window, max(1, _TOKENS_AHEAD // len(texts[index].ids)))
            while len(pending) >= most:
                await _take(pending, done, keep)
            future = version.submit(encoder.inputs(texts[index].ids), 1, deadline_s=deadline_s)
            pending.append((index, future))
        while pending:
            await _take(pending, done, keep)
    finally:
        for _, future in pending:
            future.cancel()
    return done


async def _take(
    pending: "deque[tuple[int, asyncio.Future[Arrays]]]", done: dict[int, Arrays], keep: Callable[[Arrays], Arrays]
) -> None:
    index, future = pending[0]
    outputs = await future
    pending.popleft()
    done[index] = keep({name: array[0] for name, array in outputs.items()})
