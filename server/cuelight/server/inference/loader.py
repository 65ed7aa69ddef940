"""From a model file to a version that serves: open, warm up, measure, prove. Runs off the event loop."""

import hashlib
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.inference.engine import OrtEngine, SessionConfig, open_session
from cuelight.server.inference.model_version import INLINE_STEP_S, StepTimes, measure_steps, one_row
from cuelight.server.inference.signature import ModelSignature

__all__ = ["InstanceConfig", "LoadedEngines", "ModelLoadError", "file_digest", "load_engines", "open_for_facts"]

Arrays = dict[str, NDArray[Any]]

_log = logging.getLogger("cuelight.model")


class ModelLoadError(Exception):
    """A version could not be loaded or proven; the message names the file and the cause."""


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    """How many engines a version gets, and where. `device_ids` are used in turn on CUDA."""

    device: Literal["cpu", "cuda"] = "cpu"
    count: int = 1
    device_ids: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class LoadedEngines:
    """Engines that are warm, and how long their step takes."""

    engines: list[OrtEngine]
    steps: StepTimes


def open_for_facts(model: Path, threads: int) -> ort.InferenceSession:
    """Open a model on the CPU to read its tensors and metadata; `load_engines` reuses the session.

    Raises: ModelLoadError naming the file and what ONNX Runtime found wrong with it.
    """
    return _open(model, SessionConfig(threads=threads))


def load_engines(
    model: Path,
    signature: ModelSignature,
    instances: InstanceConfig,
    cores: int,
    opened: ort.InferenceSession | None = None,
    example: Arrays | None = None,
) -> LoadedEngines:
    """Open one session per instance, the cores divided between them, and warm each up.

    A model so small that it will run on the event loop gets one thread: a second one could only disturb it.
    `example` is a request the model is known to take. Without one it is warmed up on zeros, and a model of free sizes
    that does not take those is served cold.

    Raises: ModelLoadError naming the file and the cause.
    """
    threads = max(1, cores // instances.count)
    engines: list[OrtEngine] = []
    for index in range(instances.count):
        config = SessionConfig(instances.device, instances.device_ids[index % len(instances.device_ids)], threads)
        reusable = opened if index == 0 and config.device == "cpu" and instances.count == 1 else None
        engines.append(_engine(model, signature, config, reusable))
    steps = _measured(model, engines[0], signature, example)
    if len(engines) == 1 and _may_be_tiny(engines[0], signature, steps, example):
        alone = _engine(model, signature, replace(engines[0].config, threads=1), None)
        alone_steps = _measured(model, alone, signature, example)
        if alone_steps.inline_rows:
            engines[0].close()
            engines, steps = [alone], alone_steps
        else:
            alone.close()
    for engine in engines[1:]:
        _measured(model, engine, signature, example)
    return LoadedEngines(engines, steps)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _may_be_tiny(engine: OrtEngine, signature: ModelSignature, steps: StepTimes, example: Arrays | None) -> bool:
    """Whether the model might run on the event loop, were it given one thread alone."""
    if engine.config.device != "cpu" or engine.config.threads == 1 or not signature.fixed:
        return False
    return bool(steps.inline_rows) or engine.caller_time_s(one_row(signature, example)) < INLINE_STEP_S


def _engine(
    model: Path, signature: ModelSignature, config: SessionConfig, opened: ort.InferenceSession | None
) -> OrtEngine:
    return OrtEngine(opened or _open(model, config), signature, config)


def _open(model: Path, config: SessionConfig) -> ort.InferenceSession:
    try:
        return open_session(model, config)
    except Exception as error:
        # ONNX Runtime raises a type of its own for every way a file can be broken; all mean the same here.
        raise ModelLoadError(f"{model}: ONNX Runtime cannot load it: {error}") from error


def _measured(model: Path, engine: OrtEngine, signature: ModelSignature, example: Arrays | None) -> StepTimes:
    try:
        return measure_steps(engine, signature, example)
    except Exception as error:
        if example is None and not signature.fixed:
            _log.warning("%s: not warmed up, it takes no zeros of size 16; golden.npz would give it an example", model)
            return StepTimes({1: math.inf})
        raise ModelLoadError(f"{model}: warming it up failed: {error}") from error
