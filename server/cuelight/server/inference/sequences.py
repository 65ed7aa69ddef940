"""Live sequences: who they are, whose they are, and when one ends. Plain state, without clock, thread or task.

    start -> LIVE -> (an END step, a new START, its stream ended, idle too long) -> CLOSING -> GONE

A CLOSING sequence can no longer be found by its id; the steps it has accepted are still answered. It is GONE when no
step of it waits or runs: only then its place and its row are free. That happens once, in `SequenceTable.forget`.

A sequence started on a stream belongs to that stream: it ends with it, and no one else steps it. One started by a unary
call belongs to nobody, and anyone who knows its id may step it.
"""

from collections import OrderedDict, deque
from typing import Any

from cuelight.server.errors import Overloaded, SequenceNotActive

__all__ = ["Owner", "Sequence", "SequenceId", "SequenceTable"]

SequenceId = int | str

_RETRY_AFTER_S = 1.0


class Owner:
    """A stream, as far as sequences are concerned: those it has started, in the order of their start."""

    __slots__ = ("sequences",)

    def __init__(self) -> None:
        self.sequences: dict[Sequence, None] = {}


class Sequence:
    """One sequence. `slot` is its row in the slabs, None before its first step; `steps` counts those that succeeded."""

    __slots__ = ("closing", "home", "id", "idle_since_s", "lane", "owner", "queued", "resumable", "running", "slot",
                 "steps", "waiting")  # fmt: skip

    def __init__(self, sequence_id: SequenceId, home: Any, owner: Owner | None, lane: int) -> None:
        self.id = sequence_id
        self.home = home
        """The batcher it lives in."""
        self.owner = owner
        self.lane = lane
        self.resumable = False
        """Whether its caller takes tokens, and so can go on elsewhere."""
        self.slot: int | None = None
        self.steps = 0
        self.waiting: deque[Any] = deque()
        """Its steps that wait, in order."""
        self.queued = False
        """Whether it stands in the line of those with a step to run."""
        self.running = False
        self.closing = False
        self.idle_since_s = 0.0

    @property
    def idle(self) -> bool:
        """Whether no step of it waits or runs."""
        return not self.waiting and not self.running


class SequenceTable:
    """Every sequence of a model version, over all its lanes. Owned by the sequence batcher, on the event loop."""

    def __init__(self, model: str, home: Any, lanes: int, capacity: int) -> None:
        self._model = model
        self._home = home
        self._capacity = capacity
        self._by_id: dict[SequenceId, Sequence] = {}
        self._idle: OrderedDict[Sequence, None] = OrderedDict()
        self.counts = [0] * lanes
        """Sequences that are not gone, by lane."""
        self._live = [0] * lanes

    @property
    def live(self) -> int:
        """How many sequences can be stepped."""
        return len(self._by_id)

    def live_on(self, lane: int) -> int:
        """Return how many sequences of a lane can be stepped."""
        return self._live[lane]

    @property
    def capacity(self) -> int:
        """How many sequences may live at once."""
        return self._capacity * len(self.counts)

    def __contains__(self, sequence_id: object) -> bool:
        return sequence_id in self._by_id

    def start(self, sequence_id: SequenceId, owner: Owner | None) -> Sequence:
        """Add a sequence, on the lane that has the fewest.

        Raises: Overloaded when as many as fit are alive.
        """
        lane = min(range(len(self.counts)), key=self.counts.__getitem__)
        if self.counts[lane] >= self._capacity:
            raise Overloaded(
                f'model "{self._model}": {sum(self.counts)} sequences are alive, which is as many as it holds; '
                f"sequence {sequence_id!r} was not started",
                _RETRY_AFTER_S,
            )
        sequence = self._by_id[sequence_id] = Sequence(sequence_id, self._home, owner, lane)
        self.counts[lane] += 1
        self._live[lane] += 1
        if owner is not None:
            owner.sequences[sequence] = None
        return sequence

    def get(self, sequence_id: SequenceId) -> Sequence | None:
        """Return the live sequence of that id, whosever it is."""
        return self._by_id.get(sequence_id)

    def find(self, sequence_id: SequenceId, owner: Owner | None) -> Sequence:
        """Return a live sequence that `owner` may step.

        Raises: SequenceNotActive when there is none of that id, or it belongs to another stream.
        """
        sequence = self._by_id.get(sequence_id)
        if sequence is None:
            raise SequenceNotActive(
                f'model "{self._model}": sequence {sequence_id!r} is not active: it was never started, has ended, '
                "or was idle too long; send sequence_start with its first step"
            )
        if sequence.owner is not None and sequence.owner is not owner:
            raise SequenceNotActive(
                f'model "{self._model}": sequence {sequence_id!r} belongs to another stream; only that one can step it'
            )
        return sequence

    def close(self, sequence: Sequence) -> None:
        """Let no further step reach the sequence."""
        if sequence.closing:
            return
        sequence.closing = True
        self._live[sequence.lane] -= 1
        del self._by_id[sequence.id]
        self._idle.pop(sequence, None)
        if sequence.owner is not None:
            sequence.owner.sequences.pop(sequence, None)

    def forget(self, sequence: Sequence) -> None:
        """Free the place of a sequence that is closing and idle."""
        assert sequence.closing and sequence.idle
        self.counts[sequence.lane] -= 1

    def busy(self, sequence: Sequence) -> None:
        """Note that a step of the sequence waits."""
        self._idle.pop(sequence, None)

    def rest(self, sequence: Sequence, now_s: float) -> None:
        """Note that no step of the sequence waits or runs any more."""
        sequence.idle_since_s = now_s
        self._idle[sequence] = None
        self._idle.move_to_end(sequence)

    def idlest(self) -> Sequence | None:
        """Return the sequence that has been idle the longest."""
        return next(iter(self._idle), None)

    def all(self) -> list[Sequence]:
        """Return every live sequence."""
        return list(self._by_id.values())
