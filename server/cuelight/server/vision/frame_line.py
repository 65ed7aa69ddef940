"""Which frames of a live stream wait, and which are dropped: a rule without clock, thread or task.

A line of at most `max_waiting`; one more drops the oldest. Where the frames of all lines that may hold more than one
have too many bytes, a line that grows drops its own until the newest alone is left: so many streams of large pictures
cannot take all memory, and each goes on. What is dropped is counted with the next frame taken.
"""

from collections import deque

from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["FrameLine", "FrameRoom"]


class FrameRoom:
    """What frames take that wait on all streams of more than one. Owned by the servicer; each line counts its own."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.waiting_bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether they take more than they may."""
        return self.waiting_bytes > self._max_bytes


class FrameLine:
    """The frames that wait, oldest first. Owned by one call, which clears it in the end."""

    def __init__(self, max_waiting: int, room: FrameRoom) -> None:
        self._max_waiting = max_waiting
        self._room = room
        self._waiting: deque[tuple[pb.Frame, int]] = deque()
        """Each with its bytes."""
        self._dropped = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        """How many frames wait."""
        return len(self._waiting)

    def put(self, frame: pb.Frame) -> int:
        """Add the newest frame; return how many of the oldest were dropped for it."""
        # One that waits alone is dropped for none, so nothing is spent on it: to measure a message is to write it.
        size_bytes = frame.ByteSize() if self._max_waiting > 1 else 0
        self._waiting.append((frame, size_bytes))
        self._room.waiting_bytes += size_bytes
        dropped = 0
        while len(self) > self._max_waiting or (len(self) > 1 and self._room.is_over):
            self._take()
            dropped += 1
        self._dropped += dropped
        self.dropped_total += dropped
        return dropped

    def take(self) -> tuple[pb.Frame, int]:
        """Remove the oldest frame; return it with how many were dropped since the one taken before."""
        dropped, self._dropped = self._dropped, 0
        return self._take(), dropped

    def clear(self) -> None:
        """Let go of all frames: the call is over."""
        while self._waiting:
            self._take()

    def _take(self) -> pb.Frame:
        frame, size_bytes = self._waiting.popleft()
        self._room.waiting_bytes -= size_bytes
        return frame
