"""Which engine runs the next batch, and how many requests it takes: one run on all cores, or a run a core.

A run on all cores answers a lone request soonest. But threads that share a run wait for each other at every operator:
when many wait, a run a core computes more, in batches that need be no larger than what makes a row cheaper.

    waiting and running   <= speed_up of the wide engine: one run on all cores at a time
                          >  speed_up: a run on each core
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from numpy.typing import NDArray

__all__ = ["Engine", "EnginePlan", "EnginePool", "Share"]

Arrays = dict[str, NDArray[Any]]

_CHEAP_SPEED_UP = 2.0
"""Below it a run on one core beside a run on all of them ends before the next run on all of them would."""


class Engine(Protocol):
    """What runs a batch: `run` is called on `executor`, one call at a time."""

    @property
    def executor(self) -> Executor:
        """The engine's one thread."""
        ...

    @property
    def run(self) -> Callable[[Arrays], Sequence[NDArray[Any]]]:
        """Map input arrays to the outputs, in the signature's order."""
        ...


EngineT = TypeVar("EngineT", bound=Engine)


@dataclass(frozen=True, slots=True)
class EnginePlan(Generic[EngineT]):
    """A version's engines and what was measured of them.

    `wide`, where there is one, runs on all cores beside `engines`, which run on one core each; `speed_up` is how many
    times as fast it is on one row. `paying_rows` is the batch beyond which a row of `engines` gets no cheaper.
    """

    engines: tuple[EngineT, ...]
    wide: EngineT | None = None
    speed_up: float = 1.0
    paying_rows: int | None = None

    @property
    def all(self) -> tuple[EngineT, ...]:
        """Every engine; what answers a lone request comes first."""
        return self.engines if self.wide is None else (self.wide, *self.engines)


class Share(NamedTuple):
    """What an engine takes from the queue: so many requests, of so many rows together (None: the model's own limit)."""

    engine: Any
    requests: int
    rows: int | None


class EnginePool:
    """The engines that may take a batch, and who is next. Owned by the batcher.

    While more waits than they run, engines of one core get the next batch before they have ended one: they go on
    without waiting for the event loop, which hands out answers meanwhile.
    """

    def __init__(self, plan: EnginePlan[Any]) -> None:
        self._plan = plan
        self._free = list(plan.engines)
        self._one_in_hand: list[Any] = []
        self._wide_free = plan.wide is not None
        self.running = 0

    @property
    def may_take(self) -> bool:
        """Whether any engine may take a batch, were there enough that wait."""
        return bool(self._free) or self._wide_free or bool(self._one_in_hand and self._plan.paying_rows)

    def next_share(self, waiting: int) -> Share | None:
        """Return which engine should take a batch now and its share of the requests that wait; None while none should.

        `running` counts the batches that engines have in hand.
        """
        plan = self._plan
        if plan.wide is None:
            return self._narrow_share(waiting)
        if self.running + waiting <= plan.speed_up:
            return None if self.running else Share(plan.wide, waiting, None)
        if not self._wide_free and plan.speed_up >= _CHEAP_SPEED_UP:
            return None
        return self._narrow_share(waiting)

    def take(self, engine: Engine) -> None:
        """Count a batch as in the engine's hands."""
        self.running += 1
        if engine is self._plan.wide:
            self._wide_free = False
        elif engine in self._free:
            self._free.remove(engine)
            self._one_in_hand.append(engine)
        else:
            self._one_in_hand.remove(engine)

    def give_back(self, engine: Engine) -> None:
        """Count a batch as done."""
        self.running -= 1
        if engine is self._plan.wide:
            self._wide_free = True
        elif engine in self._one_in_hand:
            self._one_in_hand.remove(engine)
            self._free.append(engine)
        else:
            self._one_in_hand.append(engine)

    def _narrow_share(self, waiting: int) -> Share | None:
        paying = self._plan.paying_rows
        if self._free:
            requests = waiting if paying is None else -(-waiting // len(self._free))
            return Share(self._free[-1], requests, paying)
        if paying is not None and self._one_in_hand and waiting >= paying * len(self._plan.engines):
            return Share(self._one_in_hand[0], paying, paying)
        return None
