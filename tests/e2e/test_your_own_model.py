"""A model that the exporters have never seen goes from its checkpoint to a served stream, with one command each."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cuelight.client import Channel, InferenceClient, Sequence
from tests.serve_process import FRONTS, environment, running_server

EXPORT_TIMEOUT_S = 300.0

MODEL = '''
"""A small temporal CNN with state: each block remembers the last samples that its kernel reaches back to."""

import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        window = torch.cat([past, x], -1)
        return x + torch.relu(self.conv(window)), window[..., -past.shape[-1] :]


class TemporalCnn(nn.Module):
    def __init__(self, channels: int, classes: int = 4) -> None:
        super().__init__()
        self.inner = nn.Conv1d(8, channels, 1)
        self.first, self.second = Block(channels, 3), Block(channels, 5)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor, past3: Tensor, past5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.inner(x.transpose(1, 2))
        hidden, next3 = self.first(hidden, past3)
        hidden, next5 = self.second(hidden, past5)
        return self.head(hidden.transpose(1, 2)).softmax(-1), next3, next5


def build(channels: int) -> TemporalCnn:
    return TemporalCnn(channels)
'''

COMMAND = """
export tcn.py:build --factory-arg channels=16 --checkpoint tcn.pt --repository models --name tcn
--input x=FP32[batch,time,8] past3=FP32[batch,16,2] past5=FP32[batch,16,4] --axis time=1,5,20
--output scores next3 next5 --state past3=next3 past5=next5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model's file, its checkpoint as a training script leaves it, and the export of the two."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "tcn.py").write_text(MODEL, encoding="utf-8")
    torch.manual_seed(7)
    weights = imported(folder).build(16).state_dict()
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, folder / "tcn.pt")
    exported = subprocess.run(
        [sys.executable, "-m", "cuelight.server", *COMMAND.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=EXPORT_TIMEOUT_S,
        env={**environment(), "PYTHONWARNINGS": "default"},
        check=False,
    )
    assert exported.returncode == 0, exported.stderr
    assert "comparisons with PyTorch agree" in exported.stdout
    assert '"module." taken off the front of the names' in exported.stdout
    return folder


def imported(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tcn", folder / "tcn.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_from_a_checkpoint_to_a_served_stream(folder: Path, tmp_path: Path, front: str) -> None:
    generator = torch.Generator().manual_seed(1)
    steps = [torch.randn((1, time, 8), generator=generator) for time in (1, 5, 20, 3, 64, 1, 2, 5) * 4]

    with running_server(folder / "models", tmp_path / "log", front=front) as server, Channel(server.target) as channel:
        inputs = ({"x": step.numpy()} for step in steps)
        streamed = [outputs["scores"] for outputs in Sequence([InferenceClient(channel)], "tcn").run(inputs)]

    assert len(streamed) == len(steps)
    for got, want in zip(streamed, stepped_in_pytorch(folder, steps), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


def stepped_in_pytorch(folder: Path, steps: list[torch.Tensor]) -> list[NDArray[np.float32]]:
    module = imported(folder).build(16)
    saved = torch.load(folder / "tcn.pt", weights_only=True)["state_dict"]
    module.load_state_dict({name.removeprefix("module."): weight for name, weight in saved.items()})
    state = [torch.zeros((1, 16, 2)), torch.zeros((1, 16, 4))]
    scores = []
    with torch.inference_mode():
        for step in steps:
            given, *state = module.eval()(step, *state)
            scores.append(given.numpy())
    return scores
