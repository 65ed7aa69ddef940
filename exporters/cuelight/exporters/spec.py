"""What an exporter says of its model: everything the export, the proof and the server need to know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from cuelight.exporters.weights import WheelFile

__all__ = ["ExportSpec", "StatePair"]


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
class ExportSpec:
    """One model to export.

    `build(cache_dir)` returns the module in inference mode. `example(generator, batch)` returns inputs by name, in the
    order of the module's arguments, batch axis first; state inputs included. Parity is checked for every size of
    `parity_batches` over `parity_steps` steps (more than one for a model with state); the golden vectors hold the sizes
    of `golden_batches`. An output agrees when |got - want| <= atol + rtol * |want|. `assets(cache_dir)` returns further
    files of a version by name, such as a vocabulary. `axes` names the axes that vary beside the batch, by tensor.
    """

    name: str
    summary: str
    build: Callable[[Path], nn.Module]
    example: Callable[[torch.Generator, int], dict[str, Tensor]]
    outputs: tuple[str, ...]
    task: str
    max_batch_size: int
    parity_batches: tuple[int, ...]
    golden_batches: tuple[int, ...]
    atol: float
    rtol: float
    source: str
    license: str
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    state: tuple[StatePair, ...] = ()
    parity_steps: int = 1
    metadata: Callable[[Path], dict[str, str]] = _no_metadata
    assets: Callable[[Path], dict[str, bytes]] = _no_assets
    files: tuple[WheelFile, ...] = ()
    opset: int = 18

    def __post_init__(self) -> None:
        if self.atol < 0 or self.rtol < 0:
            raise ValueError(f"{self.name}: atol and rtol must be 0 or more, got {self.atol} and {self.rtol}")
