"""From a model file to a version that serves: open, warm up, measure, prove. Runs off the event loop."""

import hashlib
import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.inference.engine import OrtEngine, SessionConfig, open_session
from cuelight.server.inference.engine_pool import EnginePlan
from cuelight.server.inference.example_requests import at_usual_size, one_row
from cuelight.server.inference.model_version import INLINE_STEP_S, StepTimes, measure_steps, paying_rows
from cuelight.server.inference.signature import ModelSignature

__all__ = ["InstanceConfig", "LoadedEngines", "ModelLoadError", "file_digest", "load_engines", "open_for_facts"]

Arrays = dict[str, NDArray[Any]]

_SHORT_RUN_S = 0.001
"""A run below this is over before a second engine would have been handed its batch."""
_WORTH_ALL_CORES = 1.1
"""All cores must make a short run so many times as fast as one core does, or it has one."""
_EVEN_SHARE = 0.9
"""A run that uses all cores so well leaves nothing to gain by a run a core."""
_HARMFUL = 0.8
"""All cores are not used at all for what they make so much slower than one core does."""
_TURNS = 8
_COMPARE_S = 0.5
_LARGEST_TWICE_BYTES = 512 << 20
"""A model whose files are larger is in memory once."""

_ORT_LOG_FATAL = 4

_log = logging.getLogger("cuelight.model")


class ModelLoadError(Exception):
    """A version could not be loaded or proven; the message names the file and the cause."""


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    """How many engines a version gets, and where. `device_ids` are used in turn on CUDA."""

    device: Literal["cpu", "cuda"] = "cpu"
    count: int = 1
    device_ids: tuple[int, ...] = (0,)
    stated: bool = False
    """Whether the model's configuration says so."""


@dataclass(frozen=True, slots=True)
class LoadedEngines:
    """Engines that are warm, and how long their step takes."""

    plan: EnginePlan[OrtEngine]
    steps: StepTimes

    @property
    def engines(self) -> tuple[OrtEngine, ...]:
        """Every engine, the one that answers a lone request first."""
        return self.plan.all


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
    *,
    measured: bool = False,
) -> LoadedEngines:
    """Open one session per instance, the cores divided between them, and warm each up.

    `example` is a request the model is known to take. Without one it is warmed up on zeros, and a model of free sizes
    that does not take those is served cold.

    `measured` lets measurements on the CPU decide whether a run has all cores, one, or now this and now that. In any
    case a model so small that it will run on the event loop gets one thread: a second one could only disturb it.

    Raises: ModelLoadError naming the file and the cause.
    """
    threads = max(1, cores // instances.count)
    engines: list[OrtEngine] = []
    for index in range(instances.count):
        config = SessionConfig(instances.device, instances.device_ids[index % len(instances.device_ids)], threads)
        reusable = opened if index == 0 and config.device == "cpu" and instances.count == 1 else None
        engines.append(_engine(model, signature, config, reusable))
    steps = _measured(model, engines[0], signature, example)
    whole = LoadedEngines(EnginePlan(tuple(engines)), steps)
    if len(engines) == 1 and instances.device == "cpu" and threads > 1 and math.isfinite(steps.by_rows[1]):
        request = one_row(signature, example)
        measured = measured and _folder_bytes(model.parent) <= _LARGEST_TWICE_BYTES
        if measured or (signature.fixed and _may_be_tiny(engines[0], steps, request)):
            return _divided(model, whole, signature, request, measured=measured)
    for engine in engines[1:]:
        _measured(model, engine, signature, example)
    return whole


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _divided(
    model: Path, whole: LoadedEngines, signature: ModelSignature, request: Arrays, *, measured: bool
) -> LoadedEngines:
    """Return the engines that make the best of the cores: the one that has all, engines of one each, or both.

    Unless it is `measured`, the one that has all is replaced only where the model turns out to be tiny.
    """
    [wide] = whole.engines
    narrow = _engine(model, signature, replace(wide.config, threads=1), None)
    steps = _measured(model, narrow, signature, request)
    speed_up = narrow_s = math.inf
    if measured:
        request = _usual(narrow, signature, request)
        speed_up, narrow_s = _compared(wide, narrow, request)
    if (signature.fixed and steps.inline_rows) or (narrow_s < _SHORT_RUN_S and speed_up < _WORTH_ALL_CORES):
        wide.close()
        return LoadedEngines(EnginePlan((narrow,)), steps)
    if not measured or narrow_s < _SHORT_RUN_S or speed_up > _EVEN_SHARE * wide.config.threads:
        narrow.close()
        return whole
    others = [OrtEngine(narrow.session, signature, narrow.config) for _ in range(wide.config.threads - 1)]
    plan = EnginePlan((narrow, *others), paying_rows=paying_rows(narrow, signature, request, narrow_s))
    if speed_up < _HARMFUL:
        wide.close()
        return LoadedEngines(plan, steps)
    return LoadedEngines(replace(plan, wide=wide, speed_up=max(speed_up, 1.0)), whole.steps)


def _usual(engine: OrtEngine, signature: ModelSignature, request: Arrays) -> Arrays:
    """Return the request at a size as in practice where the model takes that, else as it is."""
    usual = at_usual_size(signature, request)
    quiet = ort.RunOptions()
    quiet.log_severity_level = _ORT_LOG_FATAL
    try:
        engine.session.run(None, usual, quiet)
    except Exception:
        # ONNX Runtime raises a type of its own for every way a run can fail; here, a size that the model does not take.
        return request
    return usual


def _compared(wide: OrtEngine, narrow: OrtEngine, request: Arrays) -> tuple[float, float]:
    """Return how many times as fast all cores run a request as one does, and how long one takes, in seconds.

    They take turns, and the fastest runs count: other work on the machine slows both alike.
    """
    wide_s = narrow_s = math.inf
    ends_s = time.perf_counter() + _COMPARE_S
    for _ in range(_TURNS):
        wide_s = min(wide_s, wide.run_time_s(request))
        narrow_s = min(narrow_s, narrow.run_time_s(request))
        if time.perf_counter() > ends_s:
            break
    return narrow_s / wide_s, narrow_s


def _folder_bytes(folder: Path) -> int:
    """Return how much a version's files hold: the weights may lie beside the model."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _may_be_tiny(engine: OrtEngine, steps: StepTimes, request: Arrays) -> bool:
    """Whether the model might run on the event loop, were it given one thread alone."""
    return bool(steps.inline_rows) or engine.caller_time_s(request) < INLINE_STEP_S


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
