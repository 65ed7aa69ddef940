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
from cuelight.exporters.image_alterations import altered, redrawn
from cuelight.exporters.mnist import read_mnist
from cuelight.exporters.optdigits import Digits, read_digits
from cuelight.exporters.weights import WeightsError

RIGHT_LIMIT = 351
"""Of 360; 354 were measured."""
SMALLER_LIMIT, CORNER_LIMIT = 352, 332
"""Of 360; in the middle 356 were measured, in the corners 336 to 342."""
MNIST_LIMIT = 13
"""Of 20; 14 were measured."""


@pytest.mark.slow
def test_digits_held_out_are_recognised(export_of: Callable[[str], Export], cache_dir: Path) -> None:
    _, held_out = read_digits(cache_dir)
    session = ort.InferenceSession(str(export_of(SPEC.name).path / "model.onnx"))

    logits, probabilities = session.run(None, {"image": train.enlarged(held_out.images)})

    assert int((probabilities.argmax(1) == held_out.labels).sum()) >= RIGHT_LIMIT
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("right", "down"), [(0, 0), (-4, -4), (4, -4), (-4, 4), (4, 4)])
def test_digits_held_out_are_recognised_when_drawn_smaller(
    export_of: Callable[[str], Export], cache_dir: Path, right: int, down: int
) -> None:
    _, held_out = read_digits(cache_dir)
    session = ort.InferenceSession(str(export_of(SPEC.name).path / "model.onnx"))

    logits = session.run(["logits"], {"image": train.with_margin(held_out.images, right, down)})[0]

    count = int((logits.argmax(1) == held_out.labels).sum())
    print(f"moved {right} to the right and {down} down: {count} of {len(held_out.labels)}")
    assert count >= (SMALLER_LIMIT if (right, down) == (0, 0) else CORNER_LIMIT)


@pytest.mark.slow
def test_digits_of_mnist_are_recognised(export_of: Callable[[str], Export], cache_dir: Path) -> None:
    try:
        images, labels = read_mnist(cache_dir)
    except WeightsError as error:
        pytest.skip(f"the digits of MNIST cannot be had: {error}")
    session = ort.InferenceSession(str(export_of(SPEC.name).path / "model.onnx"))

    logits = session.run(["logits"], {"image": images})[0]

    assert int((logits.argmax(1) == labels).sum()) >= MNIST_LIMIT


def test_a_digit_with_a_margin_is_the_same_digit_smaller() -> None:
    image = np.zeros((1, 8, 8), np.uint8)
    image[0, 0, 0] = 255

    middle, corner = train.with_margin(image)[0, 0], train.with_margin(image, 4, -4)[0, 0]

    assert middle.shape == corner.shape == (28, 28)
    np.testing.assert_array_equal(middle[4:24, 4:24], train.enlarged(image, 20)[0, 0])
    np.testing.assert_array_equal(corner[:20, 8:], middle[4:24, 4:24])
    assert middle.sum() == pytest.approx(middle[4:24, 4:24].sum())


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


def test_what_is_made_smaller_stays_whole_within_its_frame() -> None:
    torch.manual_seed(1)
    square = torch.zeros((400, 1, 28, 28))
    square[:, :, 7:21, 7:21] = 1

    ink = altered(square, 0.5).sum((1, 2, 3))

    # 14 x 14 points; by half as high and wide, and as much again by stretching, at the least.
    assert ink.min() >= 196 / 4 * 0.6
    assert ink.min() < 196 / 3
    assert 0.3 < float((ink < 196 * 0.65).float().mean()) < 0.6


def test_another_pen_draws_wider_thinner_and_fuller_lines() -> None:
    torch.manual_seed(2)
    line = torch.zeros((300, 1, 28, 28))
    line[:, :, 4:24, 12:16] = 0.8

    drawn = redrawn(line)

    assert drawn.min() >= 0
    assert drawn.max() <= 1
    widths = (drawn[:, 0, 14] > 0.3).sum(1)
    assert set(widths.tolist()) == {2, 4, 6}
    assert 0.2 < float((widths == 6).float().mean()) < 0.4
    assert float((drawn.amax((1, 2, 3)) == 1).float().mean()) > 0.2
