"""What something may be, seen by callers who change it and look at it at once: a history of changes, each with when it
began and when it was acknowledged. An answer is wrong only if it fits none of the values that the thing may have had
while the answer was made, so a check by this never raises a false alarm, and misses nothing that is surely wrong.

Source: Herlihy and Wing, Linearizability: a correctness condition for concurrent objects, 1990, for one register.
"""

import itertools
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Change", "Moments", "Register"]

Value = TypeVar("Value")

NEVER = float("inf")


class Moments:
    """A clock that only says what came before what."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def now(self) -> float:
        """Return a moment later than all before it."""
        return float(next(self._count))


@dataclass
class Change(Generic[Value]):
    """Somebody sets a value: begun when it was sent, ended when it was acknowledged."""

    value: Value
    began: float
    ended: float = NEVER


@dataclass
class Register(Generic[Value]):
    """Everything that was set, the first value included."""

    changes: list[Change[Value]] = field(default_factory=list)

    @classmethod
    def holding(cls, value: Value) -> "Register[Value]":
        """Return a register that has held a value from the beginning."""
        return cls([Change(value, 0.0, 0.0)])

    def set(self, value: Value, began: float) -> Change[Value]:
        """Begin a change; whoever made it sets its end."""
        change = Change(value, began)
        self.changes.append(change)
        return change

    def possible(self, began: float, ended: float) -> list[Value]:
        """Return the values that an answer made between two moments may have seen.

        A change counts unless it began too late, or another came surely after it and was over in time.
        """
        latest_over = max((change.began for change in self.changes if change.ended < began), default=0.0)
        return [c.value for c in self.changes if c.began <= ended and c.ended >= latest_over]
