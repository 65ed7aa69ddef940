"""Who may still begin to speak: as many voices as can be served in real time, by what they are measured to cost.

A voice costs CPU seconds a second. Until voices have been measured, the model's own step time at warm-up and a share
for everything around it stand in. Measured is what the process really used since the last look, divided by the audio
that was recognized meanwhile; the event loop, which one core has to carry, is measured by itself. One more voice is let
in while both budgets would hold it and those inside are not behind.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from cuelight.server.errors import Overloaded

__all__ = ["Admission", "Clocks", "Load"]

_LOOK_EVERY_S = 1.0
_AROUND_A_STEP_S = 0.0004
"""CPU time of one step beside the model: the message, its features, the search, the answer. Replaced by what is
measured as soon as voices have spoken for a while."""
_ENOUGH_AUDIO_S = 5.0
"""Seconds of audio between two looks, below which the figures say nothing of a voice's cost."""
_SMOOTHING = 0.5
_BEHIND_CHUNKS = 2.0
"""Steps that come back this many chunks late on average mean that the server is behind."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds: of the wall, of the whole process's CPU time, of the loop's thread."""

    wall_s: Callable[[], float] = time.monotonic
    process_s: Callable[[], float] = time.process_time
    loop_s: Callable[[], float] = time.thread_time


@dataclass(frozen=True, slots=True)
class Load:
    """What voices cost: CPU seconds a second of audio, in the process and on its loop."""

    process: float
    loop: float


class Admission:
    """Counts live voices and measures what they cost. Owned by the event loop."""

    def __init__(self, cores: int, max_load: float, max_voices: int, clocks: Clocks | None = None) -> None:
        """`max_load` is the share of the cores, and of the loop's one, that voices may take, 0 to 1."""
        self._cores = cores
        self._max_load = max_load
        self._max_voices = max_voices
        self._clocks = clocks or Clocks()
        self._measured: Load | None = None
        self._looked = (self._clocks.wall_s(), self._clocks.process_s(), self._clocks.loop_s())
        self._audio_s = 0.0
        self._behind = 0.0
        self.live = 0
        """Voices that speak now."""
        self.refused = 0

    def enter(self, model: str, step_s: float, chunk_s: float) -> None:
        """Let a voice in; `step_s` is what one of its steps takes of the model, `chunk_s` how much audio that is.

        Raises: Overloaded when it could not be served in real time.
        """
        self._look()
        cost = self.cost(step_s, chunk_s)
        live = self.live + 1
        process, loop = cost.process * live, cost.loop * live
        budget = self._cores * self._max_load
        if live > self._max_voices or process > budget or loop > self._max_load or self._behind > _BEHIND_CHUNKS:
            self.refused += 1
            why = (
                f"voices are {self._behind:.1f} chunks behind"
                if self._behind > _BEHIND_CHUNKS
                else f"one more would take {process:.2f} of {budget:.2f} cores and {loop:.0%} of the event loop"
            )
            raise Overloaded(f'model "{model}": {self.live} voices speak; {why}', _LOOK_EVERY_S)
        self.live = live

    def leave(self) -> None:
        """Let a voice go."""
        self.live -= 1

    def recognized(self, audio_s: float, late_s: float, chunk_s: float) -> None:
        """Note that so much audio of a live voice was recognized, and how long that took since it came."""
        self._audio_s += audio_s
        self._behind += (late_s / chunk_s - self._behind) * min(1.0, 1.0 / max(self.live, 1))

    def cost(self, step_s: float, chunk_s: float) -> Load:
        """Return what a voice costs by what is known now."""
        if self._measured is not None:
            return self._measured
        around = _AROUND_A_STEP_S / chunk_s
        return Load(step_s / chunk_s + around, around)

    def _look(self) -> None:
        now = (self._clocks.wall_s(), self._clocks.process_s(), self._clocks.loop_s())
        wall_s, process_s, loop_s = (new - old for new, old in zip(now, self._looked, strict=True))
        if wall_s < _LOOK_EVERY_S:
            return
        if not self.live:
            self._behind = 0.0
        if self._audio_s >= _ENOUGH_AUDIO_S:
            # Of a machine that is full, voices take less audio than they bring: their cost stays what it is.
            found = Load(process_s / self._audio_s, loop_s / self._audio_s)
            old = self._measured or found
            self._measured = Load(_mixed(old.process, found.process), _mixed(old.loop, found.loop))
        self._looked, self._audio_s = now, 0.0


def _mixed(old: float, new: float) -> float:
    return old + (new - old) * _SMOOTHING if math.isfinite(new) else old
