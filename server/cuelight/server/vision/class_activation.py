"""Class activation maps: a second session over the model's own weights, whose graph ends in the map of a class.

Opened for the first explanation that asks for it, off the event loop, with an engine and a queue of its own, so that
explanations share batches as classifications do. It proves itself before it answers: on noise, the mean of the map plus
the bias must be the logit.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.inference.batch_queue import BatchingConfig
from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.dynamic_batcher import DynamicBatcher
from cuelight.server.inference.engine import OrtEngine, SessionConfig, open_session
from cuelight.server.inference.engine_pool import EnginePlan
from cuelight.server.inference.signature import WILDCARD, ModelSignature, TensorSpec
from cuelight.server.inference.statistics import VersionStatistics
from cuelight.server.vision.image_facts import ImageFacts
from cuelight.server.vision.preprocessing import Pixels

__all__ = ["BIAS", "CLASS", "MAP", "ActivationMap", "ClassActivation", "NoActivation", "Opened", "open_activation"]

CLASS, MAP, BIAS = "cuelight_class", "cuelight_map", "cuelight_bias"
"""The tensors that the rewritten graph adds."""

_TOLERANCE = 1e-3
"""Of the proof, beside the largest logit: the two sums are made in another order."""
_MAX_WAITING = 64

Arrays = dict[str, NDArray[Any]]


class NoActivation(Exception):
    """The model's graph gives no class activation map; the message says why."""


@dataclass(frozen=True, slots=True)
class ActivationMap:
    """What each place, (rows, columns) float32, adds to the logit; the logit is their mean plus the bias."""

    values: NDArray[np.float32]
    bias: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that is proven and belongs to nobody yet."""

    engine: OrtEngine
    signature: ModelSignature


class ClassActivation:
    """Owns the engine and its queue. Made and owned on the event loop."""

    def __init__(self, name: str, opened: Opened, facts: ImageFacts) -> None:
        self._engine = opened.engine
        self._facts = facts
        self._ending: asyncio.Task[None] | None = None
        batching = BatchingConfig(max(1, opened.signature.max_batch_size), max_queue_size=_MAX_WAITING)
        self._batcher = DynamicBatcher(
            name, opened.signature, batching, EnginePlan((opened.engine,)), VersionStatistics()
        )

    async def map_of(self, pixels: Pixels, class_index: int, deadline_s: float | None) -> ActivationMap:
        """Return the map of a class on one prepared image.

        Raises: Overloaded, DeadlineExceeded, ShuttingDown, InferenceFailed.
        """
        outputs = await self._batcher.submit(_inputs(self._facts, pixels[None], class_index), 1, deadline_s=deadline_s)
        bias = float(outputs[BIAS][0]) if BIAS in outputs else 0.0
        return ActivationMap(outputs[MAP][0], bias)

    def close(self) -> None:
        """Refuse new calls, answer what waits, then free the session."""
        self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        await self._batcher.stop()
        self._engine.close()


def open_activation(
    model: Path, facts: ImageFacts, signature: ModelSignature, config: SessionConfig, rewrite: Callable[..., bytes]
) -> Opened:
    """Rewrite the model (`rewrite(model, scores)`), open it and prove it; slow, off the event loop.

    Raises: NoActivation saying why this model cannot be explained so.
    """
    graph = rewrite(model, facts.scores)
    session = open_session(graph, config, model.parent)
    outputs = {value.name: TensorSpec(value.name, DATATYPES["FP32"], _sizes(value)) for value in session.get_outputs()}
    sizes = signature.inputs[facts.input].shape
    inputs = {
        facts.input: signature.inputs[facts.input],
        CLASS: TensorSpec(CLASS, DATATYPES["INT64"], (sizes[0],)),
    }
    extended = replace(signature, inputs=inputs, outputs=outputs, padding=(), labels={})
    engine = OrtEngine(session, extended, config)
    try:
        _prove(engine, extended, facts)
    except BaseException:
        engine.close()
        raise
    return Opened(engine, extended)


def _prove(engine: OrtEngine, signature: ModelSignature, facts: ImageFacts) -> None:
    if not facts.scores_are_logits:
        return  # of probabilities, the logits are only known up to a constant
    noise = facts.preprocessing.noise(np.random.default_rng(0))[None]
    for class_index in (0, len(facts.labels) // 2, len(facts.labels) - 1):
        outputs = dict(zip(signature.outputs, engine.run(_inputs(facts, noise, class_index)), strict=True))
        logits = outputs[facts.scores][0]
        bias = float(outputs[BIAS][0]) if BIAS in outputs else 0.0
        got, want = float(outputs[MAP][0].mean()) + bias, float(logits[class_index])
        if abs(got - want) > _TOLERANCE * max(1.0, float(np.abs(logits).max())):
            raise NoActivation(f"the mean of its map is {got:.4g} where the logit is {want:.4g}")


def _inputs(facts: ImageFacts, pixels: Pixels, class_index: int) -> Arrays:
    return {facts.input: pixels, CLASS: np.array([class_index], np.int64)}


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else WILDCARD for size in value.shape)
