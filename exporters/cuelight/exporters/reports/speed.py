"""ONNX Runtime against PyTorch eager: the same inputs, one thread each, in turns within one run."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from cuelight.exporters.sizes import example_of, trace_sizes
from cuelight.exporters.spec import ExportSpec
from cuelight.exporters.threads import open_on_one_thread

__all__ = ["Speed", "SpeedRow", "in_turns", "measure_speed"]

_BATCHES = (1, 4, 16)
_ROUNDS = 5
_ROUNDS_OF_SLOW_ONES = 3
_SIDE_S = 0.15
"""How long each side runs for one batch size, about: enough to tell them apart, short enough for every export."""
_TOO_LONG_S = 0.3
"""A call this long is not followed by one of a larger batch."""


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """Time of a call of each side, in seconds: that of the fastest round."""

    batch: int
    onnxruntime_s: float
    torch_s: float

    @property
    def ratio(self) -> float:
        """How many times as fast ONNX Runtime is."""
        return self.torch_s / self.onnxruntime_s


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured, and on what: one thread each. `axes` are the sizes beside the batch."""

    rows: tuple[SpeedRow, ...]
    machine: str
    axes: dict[str, int]


def measure_speed(spec: ExportSpec, module: nn.Module, model: Path, seed: int) -> Speed:
    """Time both sides at a few batch sizes; call it with PyTorch on one thread."""
    session = open_on_one_thread(model)
    taken = {node.name for node in session.get_inputs()}
    rows: list[SpeedRow] = []
    for batch in (size for size in _BATCHES if size <= max(1, spec.max_batch_size)):
        tensors = example_of(spec, torch.Generator().manual_seed(seed), trace_sizes(spec, batch))
        feeds = {name: tensor.numpy() for name, tensor in tensors.items() if name in taken}
        arguments = tuple(tensors.values())
        with torch.inference_mode():
            theirs, ours = in_turns(lambda a=arguments: module(*a), lambda f=feeds: session.run(None, f))  # type: ignore[misc]
        rows.append(SpeedRow(batch, ours, theirs))
        if max(ours, theirs) > _TOO_LONG_S:
            break
    axes = {axis.name: axis.trace_size for axis in spec.axes}
    return Speed(tuple(rows), f"{_processor()}, PyTorch {torch.__version__}", axes)


def in_turns(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Return the time of a call of each in its fastest round; they take turns, so that a busy machine disturbs both."""
    for run in (first, second):
        run()  # what is slow the first time alone
    calls = [max(1, int(_SIDE_S / _ROUNDS / max(_time(run, 1), 1e-7))) for run in (first, second)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS if max(calls) > 1 else _ROUNDS_OF_SLOW_ONES):
        for run, count, kept in zip((first, second), calls, times, strict=True):
            kept.append(_time(run, count))
    return min(times[0]), min(times[1])


def _time(run: Callable[[], object], count: int) -> float:
    """Return the time of a call, of so many."""
    started_s = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - started_s) / count


def _processor() -> str:
    """Return the processor's name where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
