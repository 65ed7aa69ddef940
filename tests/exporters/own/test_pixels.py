"""`cuelight export package.module:factory --pixels MEAN STD` as it is typed: the file it writes and what it refuses."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from cuelight.exporters.cli import main

FILE = """
from torch import nn


class Channels(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, image):
        return self.head(image.mean((2, 3)))
"""
PIXELS = ("own_pictures:Channels", "--name", "n", "--task", "image_classification", "--repository", "models")
HOW = {"kind": "image", "layout": "NHWC", "color": "RGB", "datatype": "UINT8", "resize": {"size": [8, 8]}}


@pytest.fixture
def folder(working_folder: Path) -> Path:
    """The working directory, with a file of a model in it."""
    (working_folder / "own_pictures.py").write_text(FILE)
    return working_folder


def test_a_network_behind_pixels_takes_them_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    weights = {"head.weight": torch.randn(2, 3), "head.bias": torch.randn(2)}
    torch.save(weights, "weights.pt")
    words = f"--checkpoint weights.pt --pixels 10,20,30 2,4,8 --metadata cuelight.preprocessing={json.dumps(HOW)}"
    (folder / "labels.txt").write_text("no\nyes\n")

    arguments = [*words.split(" ", 6), "--input", "image=UINT8[batch,8,8,3]", "--labels", "labels.txt"]
    assert main([*PIXELS, *arguments]) == 0

    session = ort.InferenceSession("models/n/1/model.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    (scores,) = session.run(None, {"image": pixels})
    means = ((pixels.astype(np.float64) - [10, 20, 30]) / [2, 4, 8]).mean((1, 2))
    expected = means @ weights["head.weight"].numpy().T + weights["head.bias"].numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    told = capsys.readouterr().out
    assert "Channels of own_pictures:Channels" in told
    assert "no images" not in told


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({**HOW, "datatype": "FP32"}, 'makes FP32, but image is UINT8 [2,8,8,3] (its "datatype" is FP32 or UINT8)'),
        ({**HOW, "layout": "NCHW"}, "makes NCHW in RGB, but image is UINT8 [2,8,8,3]"),
        ({**HOW, "color": "GRAY"}, "makes NHWC in GRAY, but image is UINT8 [2,8,8,3]"),
        ({**HOW, "std": [1, 1, 1]}, 'has "std", which does not go with UINT8'),
        (["image"], 'is ["image"], expected a JSON object'),
        (None, "is null, expected a JSON object"),
    ],
)
def test_what_of_a_description_does_not_go_with_pixels_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], how: object, expected: str
) -> None:
    words = ["--pixels", "127", "128", "--input", "image=UINT8[batch,8,8,3]"]

    assert main([*PIXELS, *words, "--metadata", f"cuelight.preprocessing={json.dumps(how)}"]) == 0

    assert f"note: serves tensors, but no images: cuelight.preprocessing {expected}" in capsys.readouterr().out


@pytest.mark.parametrize(("scale", "noted"), [({}, True), ({"scale": 1 / 255}, False)])
def test_numbers_from_0_to_1_for_pixels_to_255_are_noted(
    folder: Path, capsys: pytest.CaptureFixture[str], scale: dict[str, float], noted: bool
) -> None:
    plain = {key: value for key, value in HOW.items() if key not in ("datatype", "layout")}
    how = json.dumps({**plain, "layout": "NCHW", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], **scale})
    (folder / "labels.txt").write_text("no\nyes\n")
    words = ["--input", "image=FP32[batch,3,8,8]", "--labels", "labels.txt"]

    assert main([*PIXELS, *words, "--metadata", f"cuelight.preprocessing={how}"]) == 0

    assert ('"scale": 0.0039215686 (1/255)?' in capsys.readouterr().out) is noted


@pytest.mark.parametrize(
    ("pixels", "input_", "expected"),
    [
        (("a", "1"), "UINT8[batch,8,8,3]", "--pixels a: expected MEAN and STD in pixel values"),
        (("1,2", "1,2,3"), "UINT8[batch,8,8,3]", "--pixels 1,2 1,2,3: expected MEAN and STD"),
        (("1", "0"), "UINT8[batch,8,8,3]", "no STD of 0"),
        (("1", "1e-50"), "UINT8[batch,8,8,3]", "no STD of 0"),
        (("1,nan,1", "1"), "UINT8[batch,8,8,3]", "--pixels 1,nan,1: expected MEAN and STD in pixel values"),
        (("1", "inf"), "UINT8[batch,8,8,3]", "--pixels inf: expected MEAN and STD in pixel values"),
        (("1e39", "1"), "UINT8[batch,8,8,3]", "--pixels 1e39: expected MEAN and STD in pixel values"),
        (("1,,2", "1"), "UINT8[batch,8,8,3]", "--pixels 1,,2: expected MEAN and STD in pixel values"),
        (("", "1"), "UINT8[batch,8,8,3]", "--pixels : expected MEAN and STD in pixel values"),
        (
            ("0.485,0.456,0.406", "0.229,0.224,0.225"),
            "UINT8[batch,8,8,3]",
            "are 123.7,116.3,103.5 58.4,57.12,57.38",
        ),
        (("1,2", "1"), "UINT8[batch,8,8,3]", "--pixels 1,2: 2 numbers for 3 channels"),
        (
            ("1", "1"),
            "UINT8[batch,3,8,8]",
            "1 1: 8 channels: image is UINT8 [2,3,8,8], and channels come last",
        ),
        (("1", "1"), "FP32[batch,3,8,8]", "--pixels: expected one input of pixels, such as --input image=UINT8"),
        (("1", "1"), "UINT8[batch,3]", "got image UINT8 [2,3]"),
    ],
)
def test_pixels_that_cannot_be_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str], pixels: tuple[str, str], input_: str, expected: str
) -> None:
    assert main([*PIXELS, "--pixels", *pixels, "--input", f"image={input_}"]) == 1

    assert expected in capsys.readouterr().err
    assert not Path("models").exists()
