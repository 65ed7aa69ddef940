"""A voice detector that needs no model: loud is speech. And an outbox that keeps what it is sent."""

import asyncio

import numpy as np

from cuelight.server.inference.sequence_batch import SequenceState
from cuelight.server.speech.results import Result, SpeechEvent, Update, VoiceState
from cuelight.server.speech.voice import Samples

_LOUD = 0.01
_HOLD_STEPS = 5


class LoudnessVad:
    """Says 0.9 for a loud chunk and for the few behind it, else 0. Its state is how long it still holds."""

    def __init__(self, state: SequenceState | None = None) -> None:
        self.hold = int(state.rows[0][0]) if state is not None else 0
        self.steps = state.steps if state is not None else 0
        self.closed = False

    async def probabilities(self, chunks: Samples) -> list[float]:
        await asyncio.sleep(0)
        found = []
        for chunk in chunks:
            loud = float(np.sqrt(np.mean(chunk**2))) > _LOUD
            self.hold = _HOLD_STEPS if loud else max(0, self.hold - 1)
            self.steps += 1
            found.append(0.9 if self.hold else 0.0)
        return found

    async def state(self) -> SequenceState | None:
        return SequenceState((np.array([self.hold]),), self.steps)

    def keep_alive(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        self.closed = True


class Letters:
    """An outbox whose reader is always there."""

    def __init__(self) -> None:
        self.updates: list[Update] = []

    async def put(self, update: Update) -> None:
        self.updates.append(update)

    @property
    def results(self) -> list[Result]:
        return [result for update in self.updates for result in update.results]

    @property
    def finals(self) -> list[str]:
        return [result.hypotheses[0].text for result in self.results if result.is_final]

    @property
    def text(self) -> str:
        return " ".join(self.finals)

    @property
    def events(self) -> list[SpeechEvent]:
        return [event for update in self.updates for event in update.events]

    @property
    def states(self) -> list[VoiceState]:
        return [update.state for update in self.updates if update.state is not None]
