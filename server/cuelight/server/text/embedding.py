"""Texts through a model: each a request of its own to the model's batcher, so that all callers' texts share batches.

    texts, the shortest first -> at most a few batches' worth in the queue -> outputs, in the texts' order

A caller of many texts holds no more than that of the queue, by number and by tokens, so that a caller of one gets in
between. Of long texts those are few: a core is busy with two of 256 tokens for 0.4 s, and gains nothing by more.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from cuelight.server.inference.engine import SessionConfig
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.text.encoder import EncoderCompanion
from cuelight.server.text.tokenizer import EncodedText

__all__ = ["outputs_of"]

Arrays = dict[str, NDArray[Any]]

_BATCHES_AHEAD = 2
"""What is in the queue or runs: two, so that an engine that becomes free finds a whole one."""
_TOKENS_A_THREAD, _LEAST_TOKENS = 256, 512
"""Of long texts fewer, by the threads of all engines on the CPU: where each core has its own, the wide one's, too."""
_TOKENS_A_GPU = 4096


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
    tokens = _tokens_ahead([engine.config for engine in version.engines])
    pending: deque[tuple[int, asyncio.Future[Arrays]]] = deque()
    done: dict[int, Arrays] = {}
    try:
        for index in sorted(texts, key=lambda index: len(texts[index].ids)):
            # The shortest come first, so this one is the longest of those ahead.
            most = min(window, max(1, tokens // len(texts[index].ids)))
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


def _tokens_ahead(engines: Sequence[SessionConfig]) -> int:
    """Return how many tokens of one call may be in the queue or run."""
    if any(engine.device == "cuda" for engine in engines):
        return _TOKENS_A_GPU * len(engines)
    return max(_LEAST_TOKENS, _TOKENS_A_THREAD * sum(engine.threads for engine in engines))


async def _take(
    pending: "deque[tuple[int, asyncio.Future[Arrays]]]", done: dict[int, Arrays], keep: Callable[[Arrays], Arrays]
) -> None:
    index, future = pending[0]
    outputs = await future
    pending.popleft()
    done[index] = keep({name: array[0] for name, array in outputs.items()})
