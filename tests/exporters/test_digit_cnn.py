"""The digit CNN: what it gets right of digits it never saw, and that its training can be repeated."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from PIL import Image

from cuelight.exporters.digit_cnn import train
from cuelight.exporters.digit_cnn.spec import SPEC
from cuelight.exporters.export import Export
from cuelight.exporters.image_alterations import altered
from cuelight.exporters.optdigits import Digits, read_digits

RIGHT_LIMIT = 345
"""Of 360; 349 were measured."""


@pytest.mark.slow
def test_digits_held_out_are_recognised(export_of: Callable[[str], Export], cache_dir: Path) -> None:
    _, held_out = read_digits(cache_dir)
    session = ort.InferenceSession(str(export_of(SPEC.name).path / "model.onnx"))

    logits, probabilities = session.run(None, {"image": train.enlarged(held_out.images)})

    assert int((probabilities.argmax(1) == held_out.labels).sum()) >= RIGHT_LIMIT
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)


def test_the_preprocessing_described_is_the_one_trained_on(cache_dir: Path) -> None:
    how = json.loads(SPEC.metadata(cache_dir)["cuelight.preprocessing"])
    image = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)

    picture = Image.fromarray(image).convert({"GRAY": "L"}[how["color"]])
    side = how["resize"]["short_side"]
    large = picture.resize((side, side), Image.Resampling[how["resize"]["interpolation"].upper()])
    prepared = (np.asarray(large, np.float32) * how["scale"] - how["mean"][0]) / how["std"][0]

    assert [side, side] == how["crop"]
    np.testing.assert_allclose(train.enlarged(image[np.newaxis])[0, 0], prepared, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_they_have_learned(cache_dir: Path) -> None:
    digits, _ = read_digits(cache_dir)
    few = Digits(digits.images[:100], digits.labels[:100])

    one, same, other = train.train(few, 80, 0), train.train(few, 80, 0), train.train(few, 80, 1)

    assert torch.equal(one.dense.weight, same.dense.weight)
    assert not torch.equal(one.dense.weight, other.dense.weight)
    assert train.right_of(one, few) > 80


def test_alterations_move_ink_and_make_none() -> None:
    torch.manual_seed(0)
    square = torch.zeros((8, 1, 28, 28))
    square[:, :, 10:18, 10:18] = 1

    changed = altered(square)

    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-6
    assert all(not torch.equal(one, square[0]) for one in changed)
    # Stretched by e^0.2 either way at most, on both axes.
    assert torch.all((changed.sum((1, 2, 3)) > 64 * 0.65) & (changed.sum((1, 2, 3)) < 64 * 1.55))
