"""A model that takes pixels as they are: what its network gets, and that the file computes it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.export import export_model
from cuelight.exporters.pixel_input import PixelInput
from tests.exporters.tiny import DOUBLER

MEANS, STDS = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)


def build(cache_dir: Path) -> nn.Module:
    return PixelInput(nn.Sequential(nn.Identity()), MEANS, STDS).eval()


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    return {"image": torch.randint(0, 256, (batch, 4, 5, 3), generator=generator, dtype=torch.uint8)}


SPEC = replace(DOUBLER, name="pixels", build=build, example=example, outputs=("normal",))


def test_the_file_takes_bytes_and_normalizes_each_channel(tmp_path: Path) -> None:
    export = export_model(SPEC, tmp_path, tmp_path / "cache")

    session = ort.InferenceSession(str(export.path / "model.onnx"))
    pixels = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)
    (normal,) = session.run(None, {"image": pixels})

    assert export.report.passed
    assert (session.get_inputs()[0].type, session.get_inputs()[0].shape) == ("tensor(uint8)", ["batch", 4, 5, 3])
    expected = ((pixels.astype(np.float64) - MEANS) / STDS).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(normal, expected, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_number_is_for_every_channel(channels: int) -> None:
    image = torch.full((1, 2, 2, channels), 255, dtype=torch.uint8)

    normal = PixelInput(nn.Identity(), 127.0, 128.0)(image)

    assert isinstance(normal, Tensor)
    assert normal.tolist() == [[[[1.0, 1.0], [1.0, 1.0]]] * channels]


def test_no_checkpoint_has_its_constants() -> None:
    assert list(PixelInput(nn.Linear(2, 2), 0.0, 1.0).state_dict()) == ["network.weight", "network.bias"]


def test_numbers_from_0_to_1_are_refused() -> None:
    with pytest.raises(ExportError, match=r"1 or more, got 0\.225; MEAN and STD times 255 are 127\.5,51 57\.38"):
        PixelInput(nn.Identity(), (0.5, 0.2), 0.225)
