"""Stateful model versions for tests, loaded as the server loads them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from cuelight.server.config import EngineConfig, SequenceConfig
from cuelight.server.inference.config_text import parse_pbtxt
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.sequence_batch import StepResult
from cuelight.server.inference.sequence_batcher import SequenceBatcher
from cuelight.server.inference.version_loader import PreparedVersion, VersionLoader
from tests.scale_models import write_version


def prepared(
    folder: Path,
    model: onnx.ModelProto,
    text: str = "",
    *,
    device: Any = "cpu",
    cores: int = 1,
    golden: Any = None,
    **limits: Any,
) -> PreparedVersion:
    """Load, warm up and prove a version; raises ModelLoadError."""
    write_version(folder, "m", 1, model, golden)
    loader = VersionLoader(EngineConfig(cores=cores, device=device), 4096, SequenceConfig(**limits))
    return loader.prepare("m", 1, folder / "m", parse_pbtxt(text, "config.pbtxt"))


@asynccontextmanager
async def serving(folder: Path, model: onnx.ModelProto, text: str = "", **limits: Any) -> AsyncIterator[ModelVersion]:
    """Yield a version that serves; on leaving, every slot must have been given back."""
    version = prepared(folder, model, text, **limits).serve()
    assert version.sequences is not None
    try:
        yield version
    finally:
        await version.stop()
        assert (version.sequences.live, version.sequences.slots_used) == (0, 0)


def run(
    folder: Path,
    model: onnx.ModelProto,
    scenario: Callable[[SequenceBatcher], Awaitable[None]],
    text: str = "",
    **limits: Any,
) -> None:
    """Run a scenario on a version's sequences."""

    async def main() -> None:
        async with serving(folder, model, text, **limits) as version:
            assert version.sequences is not None
            await scenario(version.sequences)

    asyncio.run(asyncio.wait_for(main(), 60))


def pair(value: float = 1.0, dtype: Any = np.float32, rows: bool = True) -> dict[str, NDArray[Any]]:
    """Return a step of `running_sum`."""
    return {"x": np.full((1, 2) if rows else (2,), value, dtype)}


def total(result: StepResult) -> float:
    """Return what a step of `running_sum` gave."""
    return float(result.outputs["total"].reshape(-1)[0])
