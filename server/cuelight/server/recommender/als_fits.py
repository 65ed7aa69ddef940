"""ALS is fitted beside the calls: at the start, when enough is new, and at once when somebody was forgotten.

Under feedback that does not end it is fitted a tenth of the time at most.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.models.als import ImplicitAls
from cuelight.server.recommender.rest import Rest

__all__ = ["AlsFits"]

_REST_TIMES = 9.0

TakeTable = Callable[[], Awaitable[tuple[InteractionTable, int]]]
Fit = Callable[[Callable[[], ImplicitAls]], Awaitable[ImplicitAls]]
Adopt = Callable[[Callable[[LiveModels], None]], Awaitable[None]]


class AlsFits:
    """The event loop owns it."""

    def __init__(self, take_table: TakeTable, fit: Fit, adopt: Adopt) -> None:
        """`take_table` and `adopt` ask the models, `fit` runs a fit on a thread for long work."""
        self._take_table = take_table
        self._fit = fit
        self._adopt = adopt
        self._outdated = asyncio.Event()
        self._forgets = False
        self._rest = Rest(_REST_TIMES, 0.0, lambda: self._forgets)

    def outdated(self) -> None:
        """Let a fit come."""
        self._outdated.set()

    def forgotten(self) -> None:
        """Let a fit come at once: the one there was knew somebody who was forgotten, and serves no longer."""
        self._forgets = True
        self._outdated.set()
        self._rest.hurry()

    async def keep(self) -> None:
        """Fit whenever it is due, until cancelled."""
        while True:
            await self._outdated.wait()
            self._outdated.clear()
            self._forgets = False
            started_s = time.monotonic()
            table, forgets = await self._take_table()
            model = await self._fit(partial(ImplicitAls.fit, table))
            await self._adopt(partial(LiveModels.adopt_als, model=model, forgets=forgets))
            await self._rest.after(time.monotonic() - started_s)
