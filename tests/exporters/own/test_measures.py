"""What `--quantize` is told of a user's own model: calibration inputs, and what is measured."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from cuelight.exporters.cli import main

FILE = """
import numpy as np
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(16 * 16, 5))


def images(count):
    return np.random.default_rng(1).random((count, 3, 8, 8), np.float32)


def batches():
    yield {"image": images(4)}
    yield {"image": torch.from_numpy(images(9)[4:])}


def labelled():
    return [(images(1), 3)]


def single():
    return {"image": images(2).astype(np.float64)}


def fails():
    raise FileNotFoundError("photos/")


def as_before(run):
    image = images(100)
    with torch.inference_mode():
        want = build().eval()(torch.from_numpy(image)).argmax(1).numpy()
    return (run({"image": image})["scores"].argmax(1) == want).mean()


def in_words(run):
    return "good"
"""
WORDS = ("own_cnn.py:build", "--name", "own", "--input", "image=FP32[batch,3,8,8]", "--output", "scores")


@pytest.fixture
def folder(working_folder: Path) -> Path:
    """The working directory, with a file of a model in it."""
    (working_folder / "own_cnn.py").write_text(FILE)
    return working_folder


def quantized_operations() -> set[str]:
    """Return which operations of the file take a weight that is widened from 8 bits."""
    graph = onnx.load("models/own_int8/1/model.onnx").graph
    widened = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return {node.op_type for node in graph.node if len(node.input) > 1 and node.input[1] in widened}


@pytest.mark.parametrize("source", ["photos.npz", "own_cnn.py:batches"])
def test_convolutions_of_ones_own_become_int8(folder: Path, source: str) -> None:
    np.savez("photos.npz", image=np.random.default_rng(2).random((20, 3, 8, 8), np.float32))

    assert main([*WORDS, "--quantize", "int8-static", "--calibration", source]) == 0

    assert "Conv" in quantized_operations()
    made = json.loads(Path("models/own_int8/1/report.json").read_text())["quantization"]
    assert made["accuracy"] == "closeness to the FP32 file on calibration inputs"


def test_an_accuracy_of_ones_own_is_what_is_held(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--quantize", "int8-static", "--calibration", "own_cnn.py:batches"]

    assert main([*words, "--accuracy", "own_cnn.py:as_before", "--may-lose", "0.2"]) == 0

    assert "int8-static: as_before 1.0000 -> " in capsys.readouterr().out
    made = json.loads(Path("models/own_int8/1/report.json").read_text())["quantization"]
    assert (made["before"], made["may_lose"]) == (1.0, 0.2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--calibration", "photos.npz"), "--calibration: goes with --quantize"),
        (("--quantize", "int8-static"), "int8-static needs calibration data: --calibration"),
        (("--quantize", "bf16", "--may-lose", "0.1"), "--may-lose goes with --accuracy"),
        (("--quantize", "bf16", "--accuracy", "own_cnn.py:in_words"), "in_words returned str, expected a number"),
        (("--quantize", "bf16", "--accuracy", "own_cnn.py:nowhere"), 'own_cnn.py has no "nowhere"'),
    ],
)
def test_what_does_not_go_together_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str
) -> None:
    assert main([*WORDS, *words]) == 1

    assert expected in capsys.readouterr().err
    assert not Path("models/own_int8").exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nowhere.npz", "--calibration nowhere.npz: [Errno 2] No such file"),
        ("broken.npz", "--calibration broken.npz: "),
        ("names.npz", "names.npz has x, expected the inputs image"),
        ("doubles.npz", '"image" is float64 [2, 3, 8, 8], expected float32 like FP32 [2,3,8,8]'),
        ("sizes.npz", "the module failed on example inputs (image FP32 [1,3,9,9])"),
        ("none.npz", '"image" is float32 [0, 3, 8, 8]'),
        ("own_cnn.py:labelled", "labelled returned tuple, expected batches: inputs by name"),
        ("own_cnn.py:single", 'single: batch 0: "image" is float64'),
        ("own_cnn.py:fails", "own_cnn.py:fails failed: FileNotFoundError: photos/\n  at "),
    ],
)
def test_calibration_inputs_that_are_none_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str, expected: str
) -> None:
    Path("broken.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez("names.npz", x=np.zeros((2, 3, 8, 8), np.float32))
    np.savez("doubles.npz", image=np.zeros((2, 3, 8, 8)))
    np.savez("sizes.npz", image=np.zeros((2, 3, 9, 9), np.float32))
    np.savez("none.npz", image=torch.zeros((0, 3, 8, 8)).numpy())

    assert main([*WORDS, "--quantize", "int8-static", "--calibration", source]) == 1

    assert expected in capsys.readouterr().err
    assert not Path("models").exists()
