"""A model repository that runs, for tests: its start and stop, and short ways to look at it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from cuelight.server.config import EngineConfig, RepositoryConfig
from cuelight.server.inference.repository import ModelRepository
from cuelight.server.inference.version_loader import VersionLoader
from cuelight.server.rpc.changes import Changes
from cuelight.server.rpc.lifecycle import BackgroundTasks
from tests.scale_models import ones

Mode = Literal["none", "explicit", "poll"]


async def never() -> AsyncIterator[None]:
    """Tick never: these tests poll when they say so."""
    await asyncio.Event().wait()
    yield


def one_core_loader(kind: type[VersionLoader] = VersionLoader) -> VersionLoader:
    return kind(EngineConfig(cores=1, device="cpu"), 4096)


@asynccontextmanager
async def running(*paths: Path, mode: Mode = "none", **options: Any) -> AsyncIterator[ModelRepository]:
    """Run a repository; every test also proves that no background task died."""
    ticks = options.pop("ticks", None) or never()
    changed = options.pop("changed", lambda: None)
    tasks = BackgroundTasks()
    await tasks.start()
    loader = options.pop("loader", None) or one_core_loader()
    config = RepositoryConfig(paths, control_mode=mode, **options)
    repository = ModelRepository(config, loader, tasks.create, changed, ticks)
    failure = asyncio.ensure_future(tasks.failure())
    try:
        await repository.start()
        yield repository
    finally:
        await repository.stop()
        await asyncio.sleep(0)
        died = failure.done() and failure.result()
        failure.cancel()
        await tasks.stop()
    assert not died


async def answer(repository: ModelRepository, name: str = "m", version: str = "") -> float:
    outputs = await repository.get(name, version).infer(ones())
    return float(outputs["y"][0, 0])


async def settled(repository: ModelRepository, changes: Changes) -> dict[str, tuple[str, str]]:
    """Return the index once nothing is being unloaded any more."""
    while True:
        changed = changes.next()
        lines = await index(repository)
        if not any(state == "UNLOADING" for state, _ in lines.values()):
            return lines
        await changed.wait()


async def index(repository: ModelRepository) -> dict[str, tuple[str, str]]:
    return {f"{entry.name}/{entry.version}": (entry.state.value, entry.reason) for entry in await repository.index()}


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))
