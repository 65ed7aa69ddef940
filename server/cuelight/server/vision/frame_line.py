"""Which frames of a live stream wait, and which are dropped: a rule without clock, thread or task.

A line of at most `max_waiting`; one more drops the oldest. What is dropped is counted with the next frame taken.
"""

from collections import deque

from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["FrameLine"]


class FrameLine:
    """The frames that wait, oldest first. Owned by one call."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._waiting: deque[pb.Frame] = deque()
        self._dropped = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        """How many frames wait."""
        return len(self._waiting)

    def put(self, frame: pb.Frame) -> bool:
        """Add the newest frame; return whether the oldest was dropped for it."""
        full = len(self._waiting) >= self._max_waiting
        if full:
            self._waiting.popleft()
            self._dropped += 1
            self.dropped_total += 1
        self._waiting.append(frame)
        return full

    def take(self) -> tuple[pb.Frame, int]:
        """Remove the oldest frame; return it with how many were dropped since the one taken before."""
        dropped, self._dropped = self._dropped, 0
        return self._waiting.popleft(), dropped
