"""`cuelight models --model-repository DIR`: load and prove every model, without serving any."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuelight.server.announcement import describe_models
from cuelight.server.companions import accompanied
from cuelight.server.config import EngineConfig, LimitsConfig, LogConfig, RepositoryConfig
from cuelight.server.description import describe_repository
from cuelight.server.inference.repository import ModelRepository
from cuelight.server.inference.version_loader import Extensions, VersionLoader
from cuelight.server.rpc.lifecycle import BackgroundTasks
from cuelight.server.rpc.log_format import LogOutput
from cuelight.server.speech.families import adapted

__all__ = ["check_offline"]


def check_offline(folders: Sequence[Path]) -> int:
    """Print what would be served and return the exit code: 0, or 1 if a model failed to load or to prove itself.

    Raises: ConfigError when a folder does not exist.
    """
    LogOutput(LogConfig(level="error")).install()
    description = asyncio.run(_load(RepositoryConfig(paths=tuple(folders))))
    print(describe_models(description["models"]))
    for failure in description["failures"]:
        print(f"FAILED  {failure}")
    return 1 if description["failures"] else 0


async def _load(config: RepositoryConfig) -> dict[str, Any]:
    tasks = BackgroundTasks()
    await tasks.start()
    extensions = Extensions(adapted, accompanied)
    loader = VersionLoader(EngineConfig(), LimitsConfig().max_queue_size, extensions=extensions)
    repository = ModelRepository(config, loader, tasks.create)
    try:
        await repository.start()
        return describe_repository(repository)
    finally:
        await repository.stop()
        await tasks.stop()
