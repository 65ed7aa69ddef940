"""What was shown and is not stored yet: noted while a shelf is answered, stored in groups beside it.

    note        a shelf of a variant went to a user; repeated ones add up in one entry
    due         set a second after the first note since it was last looked at by `parts`
    take        so much of it as is stored in one go, oldest first; `put_back` what could not be
    forgetting  while users are forgotten nothing of them is noted, and nothing noted before is left

Bounded: beyond a number of entries further ones are dropped and counted. A crash loses what is not stored, a second of
it or so; the counters agree with what is stored all the same.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from cuelight.server.recommender.store.exposures import Exposed, VariantKey

__all__ = ["ExposureLog", "Watched"]

_DELAY_S = 1.0
_MAX_NOTED = 50_000
"""Users and items."""
_TAKEN_AT_ONCE = 5000
"""Users and items that the store's thread stores in one go, so that writes of others come in between."""


@dataclass(slots=True, eq=False)
class Watched:
    """A watch of a user, who may be forgotten while it lasts: then its shelves are no longer noted."""

    user: str
    forgotten: bool = False


class ExposureLog:
    """Entries by variant and user. The event loop owns it."""

    def __init__(self, max_noted: int = _MAX_NOTED, delay_s: float = _DELAY_S) -> None:
        self._max_noted = max_noted
        self._delay_s = delay_s
        self._noted: dict[tuple[VariantKey, str], Exposed] = {}
        self._count = 0
        self._forgetting: set[str] = set()
        self._watches: dict[str, set[Watched]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.due = asyncio.Event()
        self.dropped = 0
        """Shelves that were not noted because too much waits to be stored."""

    def note(self, key: VariantKey, user: str, items: Iterable[str], now_s: float) -> None:
        """Note that a user got a shelf of a variant at a time (Unix)."""
        self._add(Exposed(key, user, now_s, 1, dict.fromkeys(items, now_s)))

    def parts(self) -> int:
        """Return how many times `take` has to be called for all that is noted now; what comes later is due later."""
        self.due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return -(-self._count // _TAKEN_AT_ONCE)

    def take(self, most: int = _TAKEN_AT_ONCE) -> list[Exposed]:
        """Return what was noted first, up to so many users and items and one entry more, and note it no longer."""
        taken: list[Exposed] = []
        size = 0
        while self._noted and size < most:
            one = self._noted.pop(next(iter(self._noted)))
            size += 1 + len(one.items)
            taken.append(one)
        self._count -= size
        return taken

    def put_back(self, exposed: Sequence[Exposed]) -> None:
        """Note again what could not be stored."""
        for one in exposed:
            self._add(one)

    @contextmanager
    def watching(self, user: str | None) -> Iterator[Watched]:
        """Keep in touch with a watch: if its user is forgotten while it lasts, it is told."""
        watch = Watched(user or "")
        self._watches.setdefault(watch.user, set()).add(watch)
        try:
            yield watch
        finally:
            self._watches[watch.user].discard(watch)
            if not self._watches[watch.user]:
                del self._watches[watch.user]

    @contextmanager
    def watching_all(self, users: Iterable[str | None]) -> Iterator[list[Watched]]:
        """Keep in touch with the users of one call, as `watching` does with one."""
        with ExitStack() as watches:
            yield [watches.enter_context(self.watching(user)) for user in users]

    @contextmanager
    def forgetting(self, users: Collection[str]) -> Iterator[None]:
        """Drop what is noted of users, and note nothing of them until this is left."""
        self._forgetting.update(users)
        for key in [key for key in self._noted if key[1] in users] if users else ():
            self._count -= 1 + len(self._noted.pop(key).items)
        for user in users:
            for watch in self._watches.get(user, ()):
                watch.forgotten = True
        try:
            yield
        finally:
            self._forgetting.difference_update(users)

    def _add(self, exposed: Exposed) -> None:
        if exposed.user in self._forgetting:
            return
        there = self._noted.get((exposed.key, exposed.user))
        new = len(exposed.items.keys() - there.items.keys()) if there else 1 + len(exposed.items)
        if self._count + new > self._max_noted:
            self.dropped += exposed.shelves
            return
        self._count += new
        if there is None:
            self._noted[exposed.key, exposed.user] = exposed
        else:
            there.first_s = min(there.first_s, exposed.first_s)
            there.shelves += exposed.shelves
            for item, first_s in exposed.items.items():
                there.items[item] = min(first_s, there.items.get(item, first_s))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay_s, self.due.set)
