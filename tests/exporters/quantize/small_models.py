"""A small CNN and a small LSTM with specs, made from a seed, for tests of quantization."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cuelight.exporters.spec import Accuracy, Arrays, ExportSpec, Run, StatePair


class Steps(nn.Module):
    """One step of an LSTM whose state goes in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(16, 32)
        self.outer = nn.Linear(32, 4)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h_next, c_next = self.cell(x, (h, c))
        return self.outer(h_next), h_next, c_next


def cnn_inputs(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    return {"image": torch.rand((batch, 3, 16, 16), generator=generator)}


def calibration(cache_dir: Path) -> list[Arrays]:
    generator = torch.Generator().manual_seed(5)
    return [{name: tensor.numpy() for name, tensor in cnn_inputs(generator, 1).items()} for _ in range(12)]


def as_before(run: Run, cache_dir: Path) -> float:
    """Return the share of images whose best class is that of the module itself."""
    image = cnn_inputs(torch.Generator().manual_seed(6), 200)["image"]
    with torch.inference_mode():
        want = cnn(cache_dir)(image).argmax(1).numpy()
    return float((run({"image": image.numpy()})["scores"].argmax(1) == want).mean())


def cnn(cache_dir: Path) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(32 * 9, 10)).eval()


def steps(cache_dir: Path) -> nn.Module:
    torch.manual_seed(0)
    return Steps().eval()


def step_inputs(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    return {
        "x": torch.randn((batch, 16), generator=generator),
        "h": torch.zeros((batch, 32)),
        "c": torch.zeros((batch, 32)),
    }


CNN = ExportSpec(
    name="small_cnn",
    summary="images to scores",
    build=cnn,
    example=cnn_inputs,
    outputs=("scores",),
    task="test",
    max_batch_size=8,
    parity_batches=(1, 2, 5),
    golden_batches=(1, 2),
    atol=1e-5,
    rtol=1e-5,
    source="none",
    license="none",
    accuracy=Accuracy("share as before", as_before, 0.1),
    calibration=calibration,
)
STEPS = replace(
    CNN,
    name="small_steps",
    build=steps,
    example=step_inputs,
    outputs=("y", "h_next", "c_next"),
    state=(StatePair("h", "h_next"), StatePair("c", "c_next")),
    parity_steps=6,
    accuracy=None,
    calibration=None,
)
