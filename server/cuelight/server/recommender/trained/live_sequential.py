"""The sequential model while a server serves: taken up when it is trained, let go when somebody it knows is forgotten.

    every 2 s    versions that know somebody who is forgotten are deleted; the newest of the others is opened, if it is
                 not the one that is served, and handed to the model thread
    forgetting   the same, but for the opening, before the write is acknowledged

What the store says of a version's stamp decides, so a start after a crash, and a training that ended after somebody was
forgotten, come to the same. A forgetting that comes while a version is opened is noticed before it is handed over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cuelight.server.errors import Unavailable
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.trained.manifest import (
    UNKNOWN_STAMP,
    Kept,
    Stamp,
    delete_version,
    kept_in,
    models_folder,
)
from cuelight.server.recommender.trained.sequential_files import open_sequential, sequential_folder

__all__ = ["LiveSequential"]

_LOG = logging.getLogger(__name__)
_PERIOD_S = 2.0
"""Looking costs the reading of a folder; a training takes minutes."""
_KNEW_SOMEBODY = "it knew somebody who was forgotten and was deleted; cuelight recommender train makes one without"
_FOREIGN = "trained on more events than this data folder has; cuelight recommender train makes one of its own"

Result = TypeVar("Result")


class LiveSequential:
    """Owns which version is served, and the thread that reads and deletes files; lives on the event loop."""

    def __init__(
        self,
        data: Path,
        ask_store: Callable[[Callable[[Store], Any]], Awaitable[Any]],
        ask_models: Callable[[Callable[[LiveModels], Any]], Awaitable[Any]],
        changed: Callable[[], None],
    ) -> None:
        self._folder = sequential_folder(models_folder(data))
        self._ask_store = ask_store
        self._ask_models = ask_models
        self._changed = changed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recommender sequential")
        self._served: Kept | None = None
        self._refused: Kept | None = None
        self._forgettings = 0

    async def keep(self) -> None:
        """Take up every version that comes, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            await self.look_or_warn()

    async def look_or_warn(self) -> None:
        """Look; files that cannot be read or deleted keep nobody from being served."""
        try:
            await self.look()
        except (Unavailable, OSError) as error:
            _LOG.warning("%s", error)

    async def look(self) -> None:
        """Delete versions that know somebody who is forgotten, and take up the newest of the others if it is new."""
        forgettings = self._forgettings
        versions = await self._cleared()
        if not versions or versions[0] in (self._served, self._refused):
            return
        newest = versions[0]
        if newest.stamp != UNKNOWN_STAMP and await self._ask_store(partial(_is_foreign, stamp=newest.stamp)):
            await self._refuse(newest, _FOREIGN)
            return
        try:
            opened = await self._on_thread(partial(open_sequential, newest.path))
        except Exception as error:  # ONNX Runtime raises many types; whichever it is, what serves goes on
            if newest.path.exists():
                await self._refuse(newest, str(error))
            return
        if forgettings == self._forgettings:
            self._served = newest
            await self._ask_models(partial(LiveModels.adopt_sequential, opened=opened))
            _LOG.info("%s: served as model sequential", newest.path)
            self._changed()

    async def forgotten(self) -> None:
        """Let go of what knows somebody who was forgotten: on return it is in no answer, and its files are gone.

        Raises: Unavailable when files cannot be deleted; they are in no answer all the same.
        """
        self._forgettings += 1
        await self._cleared()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _cleared(self) -> list[Kept]:
        """Let go of and delete what knows somebody who is forgotten; return the other versions, newest first."""
        kept = await self._on_thread(partial(kept_in, self._folder))
        stamps = {one.stamp for one in kept} | ({self._served.stamp} if self._served else set())
        know = await self._ask_store(partial(_that_know_somebody, stamps=tuple(stamps))) if stamps else frozenset()
        if self._served is not None and self._served.stamp in know:
            self._served = None
            await self._ask_models(partial(LiveModels.withhold_sequential, why=_KNEW_SOMEBODY))
            self._changed()
        gone = [one.path for one in kept if one.stamp in know]
        if gone:
            try:
                await self._on_thread(partial(_delete_all, gone))
            except OSError as error:
                raise Unavailable(f"a model that knew somebody who was forgotten cannot be deleted: {error}") from error
            _LOG.info("deleted, for it knew somebody who was forgotten: %s", ", ".join(map(str, gone)))
        return [one for one in kept if one.is_version and one.path not in gone]

    async def _refuse(self, version: Kept, why: str) -> None:
        """Say once why a version is not taken up; what serves goes on."""
        self._refused = version
        _LOG.warning("%s: not taken up: %s", version.path, why)
        if self._served is None:
            await self._ask_models(partial(LiveModels.withhold_sequential, why=why))

    async def _on_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _that_know_somebody(store: Store, stamps: Sequence[Stamp]) -> frozenset[Stamp]:
    """Return those of models that know somebody who was forgotten since."""
    return frozenset(stamp for stamp in stamps if store.forgotten_since(stamp.forgettings, stamp.last_event))


def _is_foreign(store: Store, stamp: Stamp) -> bool:
    """Return whether a model was trained on what this store never held: on another, or before a backup was restored."""
    return stamp.last_event > store.last_sequence() or stamp.forgettings > store.forgettings()


def _delete_all(paths: Sequence[Path]) -> None:
    for path in paths:
        delete_version(path)
