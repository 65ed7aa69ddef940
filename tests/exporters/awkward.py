"""Modules that cannot be exported as they are, each for one reason, and specs for them."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cuelight.exporters.spec import Axis, ExportSpec

__all__ = ["TIME", "spec_for"]

TIME = Axis("time", (3, 5, 8))


def spec_for(
    module: nn.Module,
    *,
    example: Callable[..., dict[str, Tensor]] | None = None,
    outputs: tuple[str, ...] = ("y",),
    **fields: object,
) -> ExportSpec:
    """Return a spec named `awkward` for a module that takes x (batch, time, 4), its time axis free."""
    settings: dict[str, object] = {
        "task": "test",
        "max_batch_size": 8,
        "parity_batches": (1, 2, 5),
        "golden_batches": (1,),
        "atol": 1e-5,
        "rtol": 1e-5,
        "source": "none",
        "license": "none",
        "axes": (TIME,),
    }

    def build(cache_dir: Path) -> nn.Module:
        return module.eval()

    return ExportSpec("awkward", "", build, example or noise, outputs, **(settings | fields))  # type: ignore[arg-type]


def noise(generator: torch.Generator, batch: int, time: int = 4) -> dict[str, Tensor]:
    return {"x": torch.randn((batch, time, 4), generator=generator)}


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x * 2
        return x


class TakesAValue(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        largest = float(x.max())
        return x / largest


class FixesTime(nn.Module):
    """Works for eight steps only: the size is written as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            flat: Tensor = self.layer(x.reshape(len(x), 8 * 4))
            return flat
        return self.layer(x[:, :1].repeat(1, 8, 1).reshape(len(x), 32))  # type: ignore[no-any-return]


class LoopsOverTime(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        steps = [x[:, step] * step for step in range(x.shape[1])]
        return torch.stack(steps, 1)


class Halves(nn.Module):
    """Takes an even number of steps."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1] // 2, 2, 4).sum(2)


class BranchesOnSize(nn.Module):
    """Another formula for short inputs: the trace knows that of the example alone."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > 6:
            return x * 2
        return x * 3


class Eigenvalues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = torch.linalg.eigvals(x.transpose(1, 2) @ x)
        return values.real


class BakesInside(nn.Module):
    """Its second part adds a number that is another one while it is traced."""

    class Offset(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            number = 1.0 if torch.compiler.is_compiling() else 2.0
            return x + number

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(4, 4)
        self.offset = self.Offset()

    def forward(self, x: Tensor) -> Tensor:
        shifted: Tensor = self.offset(self.scale(x))
        return shifted.relu()


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.total = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.total = self.total + x.sum()
        return x + self.total


class GivesTwo(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.sum(1)


class SumsTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(0)
