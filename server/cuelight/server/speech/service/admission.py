"""Who may still begin to speak: as many voices as can be served in real time, by what they are measured to cost.

A voice costs CPU seconds a second. Until voices have been measured, the model's own step time at warm-up and a share
for everything around it stand in. Measured is what the process really used since the last look, divided by the audio
that was recognized meanwhile; the event loop, which one core has to carry, is measured by itself. One more voice is let
in while both budgets would hold it and those inside do not wait for the server most of the time.
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
_LONG_S = 10.0
"""Between two looks: beyond it nobody spoke for most of the time."""
_MOST = 4.0
"""A voice is not taken to cost more than this many times what is expected of it."""
_ROUNDING = 1e-9
_MAX_WAIT_SHARE = 0.8
"""Voices that wait for the server for this share of the audio's own time are about to fall behind."""


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
        self.measured: Load | None = None
        """What a voice was measured to cost, once some have spoken."""
        self._looked = (self._clocks.wall_s(), self._clocks.process_s(), self._clocks.loop_s())
        self._audio_s = self._waited_s = 0.0
        self._used = Load(0.0, 0.0)
        """What the whole process used a second, between the last two looks."""
        self._fresh = 0
        """Voices let in since the last look."""
        self.wait_share = 0.0
        """How long voices lately waited for the server, as a share of their audio's own time; from 1 on they fall
        behind."""
        self.live = 0
        """Voices that speak now."""
        self.refused = 0
        self.audio_s_total = 0.0
        """Seconds of audio of live voices that were recognized."""

    def enter(self, model: str, expected: float, chunk_s: float, elastic: bool = False) -> None:
        """Let a voice in; `expected` is what the model itself should cost, in CPU seconds a second, and `chunk_s` how
        much audio one of its steps takes. Of an `elastic` model it is what a voice costs where many speak: what few
        voices were measured to take is more than they need.

        Raises: Overloaded when it could not be served in real time.
        """
        self._look()
        if not self.live:
            # Whoever spoke before is gone, and with them what they used and waited for.
            self._used, self.wait_share = Load(0.0, 0.0), 0.0
        cost, fresh, live = self.cost(expected, chunk_s), self._fresh + 1, self.live + 1
        measured = max(cost.process * live, self._used.process + cost.process * fresh)
        process = expected * live if elastic else measured
        loop = max(cost.loop * live, self._used.loop + cost.loop * fresh)
        budget = self._cores * self._max_load
        full = process > budget + _ROUNDING or loop > self._max_load + _ROUNDING or self.wait_share > _MAX_WAIT_SHARE
        # The first is always let in: what is wrong about the figures is only unlearned from voices.
        if live > self._max_voices or (full and self.live):
            self.refused += 1
            why = (
                f"they wait for {self.wait_share:.0%} of their audio's own time"
                if self.wait_share > _MAX_WAIT_SHARE
                else f"one more would take {process:.2f} of {budget:.2f} cores and {loop:.0%} of the event loop"
            )
            raise Overloaded(f'model "{model}": {self.live} voices speak; {why}', _LOOK_EVERY_S)
        self.live, self._fresh = live, fresh

    def leave(self) -> None:
        """Let a voice go."""
        self.live -= 1

    def recognized(self, audio_s: float, waited_s: float) -> None:
        """Note that so much audio of a live voice was recognized, and how long the voice waited for that."""
        self._audio_s += audio_s
        self._waited_s += waited_s
        self.audio_s_total += audio_s
        self._look()

    def cost(self, expected: float, chunk_s: float) -> Load:
        """Return what a voice costs by what is known now.

        What was measured holds the server's other work too, so it counts up to a few times what is expected.
        """
        around = _AROUND_A_STEP_S / chunk_s
        process, loop = expected + around, around
        if self.measured is None:
            return Load(process, loop)
        return Load(min(self.measured.process, _MOST * process), min(self.measured.loop, _MOST * loop))

    def _look(self) -> None:
        """Measure anew, once a second."""
        wall_s = self._clocks.wall_s()
        if wall_s - self._looked[0] < _LOOK_EVERY_S:
            return
        now = (wall_s, self._clocks.process_s(), self._clocks.loop_s())
        wall_s, process_s, loop_s = (new - old for new, old in zip(now, self._looked, strict=True))
        audio_s, waited_s = self._audio_s, self._waited_s
        self._looked, self._audio_s, self._waited_s, self._fresh = now, 0.0, 0.0, 0
        self._used = Load(process_s / wall_s, loop_s / wall_s)
        self.wait_share = waited_s / audio_s if audio_s else 0.0
        # A voice's cost is seen where many speak, and not in what is left of a long pause.
        if audio_s >= _ENOUGH_AUDIO_S and wall_s < _LONG_S:
            found = Load(process_s / audio_s, loop_s / audio_s)
            old = self.measured or found
            self.measured = Load(_mixed(old.process, found.process), _mixed(old.loop, found.loop))


def _mixed(old: float, new: float) -> float:
    return old + (new - old) * _SMOOTHING if math.isfinite(new) else old
