"""How often a growing window is decoded again: the busier the engine's thread, the less often. Pure."""

__all__ = ["BUSY_SHARE", "LONGEST_S", "SHORTEST_S", "Pace"]

SHORTEST_S, LONGEST_S = 0.5, 1.5
"""Seconds of new audio between two interim results of a voice."""
BUSY_SHARE = 0.6
"""Of its time an engine should work; the rest is room for final results and for voices that start to speak together."""
_LOOK_EVERY_S = 1.0
_STRONGEST = 1.25
"""By how much the interval changes at once, at the most."""


class Pace:
    """Holds an engine's thread to its share of work by widening the interval, and narrows it again."""

    def __init__(self, now_s: float) -> None:
        self.interval_s = SHORTEST_S
        self._looked_s = now_s
        self._worked_s = 0.0

    def worked(self, seconds: float, now_s: float) -> None:
        """Note that the thread has just worked for so long. What it does goes with one over the interval."""
        self._worked_s += seconds
        passed_s = now_s - self._looked_s
        if passed_s < _LOOK_EVERY_S:
            return
        factor = self._worked_s / passed_s / BUSY_SHARE
        factor = min(_STRONGEST, max(1 / _STRONGEST, factor))
        self.interval_s = min(LONGEST_S, max(SHORTEST_S, self.interval_s * factor))
        self._looked_s, self._worked_s = now_s, 0.0
