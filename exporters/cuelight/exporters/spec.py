"""What an exporter says of its model: everything the export, the proof and the server need to know."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from cuelight.exporters.weights import WheelFile

__all__ = ["Accuracy", "Arrays", "Axis", "Check", "ExportSpec", "Run", "StatePair"]

Arrays = dict[str, NDArray[Any]]
"""Tensors by name."""
Run = Callable[[Arrays], Arrays]
"""A model, whatever file it is in: inputs by name to outputs by name."""


def _no_metadata(cache_dir: Path) -> dict[str, str]:
    return {}


def _no_assets(cache_dir: Path) -> dict[str, bytes]:
    return {}


@dataclass(frozen=True, slots=True)
class StatePair:
    """A state tensor: the output that a step gives and the input that the next step takes it as. Starts as zeros."""

    input: str
    output: str
    batch_axis: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of free size beside the batch, such as time, and the sizes that parity is checked for.

    `max_size` is the largest that the module's code takes, where there is one; untold, it costs a trace that fails.

    Raises: ValueError when there are not two different sizes from 1 on, for which axis of which tensor it is, is found
    by trying two; or when one is above `max_size`.
    """

    name: str
    sizes: tuple[int, ...]
    max_size: int | None = None

    def __post_init__(self) -> None:
        if self.max_size is not None and max(self.sizes, default=0) > self.max_size:
            raise ValueError(f'axis "{self.name}": expected sizes up to {self.max_size}, got {self.sizes}')
        if len(set(self.sizes)) < 2 or min(self.sizes) < 1:
            raise ValueError(f'axis "{self.name}": expected at least two different sizes from 1 on, got {self.sizes}')

    @property
    def trace_size(self) -> int:
        """The size of the traced example: the largest, because 0 and 1 would be burnt into the graph."""
        return max(self.sizes)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a model is good for, as a number that is larger the better it is.

    `measure(run, cache_dir)` returns it for any file of the model; `may_lose` is how much less of it a quantized one
    may have; `name` says what it is, with its data.
    """

    name: str
    measure: Callable[[Run, Path], float]
    may_lose: float
    files: tuple[WheelFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """What a model that is shipped was held to beside its parity, in a few words, and the test that does it.

    `test` is written as pytest takes it: `tests/exporters/test_beatnet.py::test_name`.
    """

    says: str
    test: str


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """One model to export.

    `build(cache_dir)` returns the module in inference mode. `example(generator, batch)` returns inputs by name, in the
    order of the module's arguments, batch axis first; state inputs included, their batch on the axis of their pair. A
    model with `axes` gets their sizes by name as well: `example(generator, batch, time=50)`. Parity is checked for
    every size of `parity_batches` and of each axis, over `parity_steps` steps (more than one for a model with state)
    and `parity_seeds` seeds; the golden vectors hold the sizes of `golden_batches`. An output agrees when
    |got - want| <= atol + rtol * |want|. `assets(cache_dir)` returns further files of a version by name, such as a
    vocabulary. `further` are graphs that belong to the model, such as the decoder of an encoder: each is proven like
    the first, and written beside it as `<name>.onnx` with `<name>.golden.npz`.
    Two things are for quantized files alone: `accuracy`, and `calibration(cache_dir)`, which returns inputs
    like those of practice, a batch each, for the ranges of int8.
    Three are for the table of what there is (`cuelight export table`): `architecture`, `check`, and `int8_method`, the
    way of `--quantize` that suits the model, empty where none does.
    """

    name: str
    summary: str
    build: Callable[[Path], nn.Module]
    example: Callable[..., dict[str, Tensor]]
    outputs: tuple[str, ...]
    task: str
    max_batch_size: int
    parity_batches: tuple[int, ...]
    golden_batches: tuple[int, ...]
    atol: float
    rtol: float
    source: str
    license: str
    state: tuple[StatePair, ...] = ()
    parity_steps: int = 1
    metadata: Callable[[Path], dict[str, str]] = _no_metadata
    assets: Callable[[Path], dict[str, bytes]] = _no_assets
    files: tuple[WheelFile, ...] = ()
    opset: int = 18
    axes: tuple[Axis, ...] = ()
    parity_seeds: int = 1
    further: tuple["ExportSpec", ...] = ()
    accuracy: Accuracy | None = None
    calibration: Callable[[Path], list[Arrays]] | None = None
    architecture: str = ""
    check: Check | None = None
    int8_method: str = ""

    def __post_init__(self) -> None:
        if self.atol < 0 or self.rtol < 0:
            raise ValueError(f"{self.name}: atol and rtol must be 0 or more, got {self.atol} and {self.rtol}")
