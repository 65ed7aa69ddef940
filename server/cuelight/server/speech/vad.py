"""A voice detector as a stream uses it: steps of audio in, probabilities out, a state that another server takes."""

import asyncio
import itertools
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.sequence_batch import SequenceState, StepResult
from cuelight.server.inference.sequences import Owner
from cuelight.server.speech.voice import Samples

__all__ = ["CHUNK_SAMPLES", "ServedVad", "Vad"]

CHUNK_SAMPLES = 512
"""One step of Silero VAD at 16 kHz."""
_AHEAD_STEPS = 32
"""Steps of one voice that may wait at once: a long recording fills no queue that live voices stand in."""

_numbers = itertools.count(1)


class Vad(Protocol):
    """One stream's voice detector."""

    async def probabilities(self, chunks: Samples) -> list[float]:
        """Take chunks (steps, chunk) float32 and return the probability of speech in each."""
        ...

    async def state(self) -> SequenceState | None:
        """Return the state behind the last step; None before the first, or where there is none."""
        ...

    def keep_alive(self) -> None:
        """Stay, though no audio comes."""
        ...

    def close(self) -> None:
        """Let go of what is held. May be called twice."""
        ...


class ServedVad:
    """A sequence of a voice detector that is served. It begins with the first step, from `state` if there is one."""

    def __init__(self, version: ModelVersion, state: SequenceState | None = None) -> None:
        assert version.sequences is not None
        parameters = version.config.parameters
        self.rate_hz = int(parameters["cuelight.sample_rate_hz"].string_value)
        self.chunk_samples = int(parameters["cuelight.chunk_samples"].string_value)
        self._input = next(iter(version.signature.inputs))
        self._output = next(iter(version.signature.outputs))
        self._sequences = version.sequences
        self._owner = Owner()
        # Callers of ModelInfer name their sequences themselves; a NUL is not in any name that comes by the wire.
        self._id = f"\0activity {next(_numbers)}"
        self._restored = state
        self._begun = False

    async def probabilities(self, chunks: Samples) -> list[float]:
        """As `Vad`. Raises: Overloaded, SequenceNotActive, ShuttingDown."""
        found: list[float] = []
        for first in range(0, len(chunks), _AHEAD_STEPS):
            futures: list[asyncio.Future[StepResult]] = []
            try:
                for chunk in chunks[first : first + _AHEAD_STEPS]:
                    futures.append(self._submit(chunk))
                for future in futures:
                    found.append(float((await future).outputs[self._output].item()))
            finally:
                _withdraw(futures)
        return found

    async def state(self) -> SequenceState | None:
        """As `Vad`. Raises: SequenceNotActive."""
        if not self._begun:
            return self._restored
        return (await self._sequences.export(self._id, self._owner)).state

    def keep_alive(self) -> None:
        """As `Vad`."""
        self._sequences.touch(self._id)

    def close(self) -> None:
        """End the sequence."""
        for sequence in list(self._owner.sequences):
            self._sequences.release(sequence)

    def _submit(self, chunk: Samples) -> "asyncio.Future[StepResult]":
        start, state = not self._begun and self._restored is None, self._restored if not self._begun else None
        future = self._sequences.submit(
            self._id, {self._input: chunk[np.newaxis]}, start=start, owner=self._owner, state=state
        )
        self._begun = True
        return future


def _withdraw(futures: Iterable["asyncio.Future[StepResult]"]) -> None:
    """Leave steps whose answers nobody awaits any more: they have not happened, or their errors are no news."""
    for future in futures:
        if not future.cancel() and not future.cancelled():
            future.exception()
