"""Tiny modules with specs, for tests of the export itself."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cuelight.exporters.spec import ExportSpec, StatePair


class Doubler(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class BatchBaked(nn.Module):
    """Depends on the batch size it was traced with: right for two rows, wrong for every other number."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.full((1,), float(len(x.numpy()) if not torch.compiler.is_compiling() else 2))


class Accumulator(nn.Module):
    def forward(self, x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        total_next = total + x
        return total_next * 10, total_next


def _doubler_inputs(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    return {"x": torch.randn((batch, 3), generator=generator)}


def _accumulator_inputs(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    return {"x": torch.randn((batch, 3), generator=generator), "total": torch.zeros((batch, 3))}


def _doubler(cache_dir: Path) -> nn.Module:
    return Doubler().eval()


def _baked(cache_dir: Path) -> nn.Module:
    return BatchBaked().eval()


def _accumulator(cache_dir: Path) -> nn.Module:
    return Accumulator().eval()


DOUBLER = ExportSpec(
    name="doubler",
    summary="twice the input",
    build=_doubler,
    example=_doubler_inputs,
    outputs=("y",),
    task="test",
    max_batch_size=8,
    parity_batches=(1, 2, 5),
    golden_batches=(1, 2),
    atol=1e-6,
    rtol=1e-6,
    source="none",
    license="none",
)
BAKED = replace(DOUBLER, name="baked", build=_baked)
ACCUMULATOR = replace(
    DOUBLER,
    name="accumulator",
    build=_accumulator,
    example=_accumulator_inputs,
    outputs=("y", "total_next"),
    state=(StatePair("total", "total_next"),),
    parity_steps=3,
)
