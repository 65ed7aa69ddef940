"""ALS is fitted beside the calls: at the start, when enough is new, and at once when somebody was forgotten.

Under feedback that does not end it is fitted a tenth of the time at most.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.model_set import ModelSettings, fit_als
from cuelight.server.recommender.models.als import ImplicitAls
from cuelight.server.recommender.rest import Rest

__all__ = ["AlsFits"]

_REST_TIMES = 9.0

Fit = Callable[[Callable[[], ImplicitAls]], Awaitable[ImplicitAls]]
Ask = Callable[[Callable[[LiveModels], Any]], Awaitable[Any]]


class AlsFits:
    """The event loop owns it."""

    def __init__(self, fit: Fit, ask: Ask, settings: ModelSettings) -> None:
        """`ask` asks the models, `fit` runs a fit on a thread for long work."""
        self._fit = fit
        self._ask = ask
        self._settings = settings
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
            table, forgets = await self._ask(LiveModels.table_for_als)
            model = await self._fit(partial(fit_als, table, self._settings))
            await self._ask(partial(LiveModels.adopt_als, model=model, forgets=forgets))
            await self._rest.after(time.monotonic() - started_s)
