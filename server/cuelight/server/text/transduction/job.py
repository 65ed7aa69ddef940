"""One request of the engine: what it came with, and what has been made of it so far."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from cuelight.server.text.transduction.search import Hypothesis, Search, Token

__all__ = ["Job", "News"]


@dataclass(frozen=True, slots=True)
class News:
    """What a step has done for a job: tokens that are settled now; at the end what was found, or why nothing was."""

    tokens: tuple[Token, ...] = ()
    found: tuple[Hypothesis, ...] = ()
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class Job:
    """`encoded` are the encoder's outputs (1, ...) of a source of `length` symbols.

    The search and `sent` belong to the engine's turns from admission on, everything else to the event loop; turns read
    `left`, which the loop sets.
    """

    encoded: Mapping[str, NDArray[Any]]
    length: int
    search: Search
    attention: bool
    deadline_s: float | None
    sent: int = 0
    """Tokens told of."""
    admitted: bool = False
    """Whether it waits no longer."""
    left: bool = False
    """Whether the caller is gone."""
    news: list[News] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def late(self) -> bool:
        """Whether the caller's deadline has passed."""
        return self.deadline_s is not None and time.monotonic() > self.deadline_s

    def tell(self, news: News) -> None:
        """Hand on what is new; on the event loop."""
        self.news.append(news)
        self.arrived.set()

    async def updates(self) -> AsyncIterator[News]:
        """Yield what is new, joined where several steps were made meanwhile, until the search is done.

        Raises: the job's error.
        """
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            news, self.news = self.news, []
            for one in news:
                if one.error is not None:
                    raise one.error
            found = next((one.found for one in news if one.found), ())
            yield News(tuple(token for one in news for token in one.tokens), found)
            if found:
                return
