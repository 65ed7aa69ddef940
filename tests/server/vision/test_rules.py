"""The arithmetic of labels and explanations, against formulas."""

import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cuelight.server.vision.classification import normalized, probabilities_of, top_classes
from cuelight.server.vision.covering import mean_color, rounded_to
from cuelight.server.vision.occlusion import occlusion_grid
from cuelight.server.vision.overlay import Overlay, overlay_png, reduced
from cuelight.server.vision.preprocessing import Region, preprocessing_of
from cuelight.server.vision.rise import RiseMap, RiseMasks, masked
from tests.vision_models import PREPROCESSING, plain


def test_logits_become_probabilities_whatever_their_size() -> None:
    logits = np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]], np.float32)

    np.testing.assert_allclose(probabilities_of(logits, True), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(probabilities_of(np.array([[0.2, 0.8]]), False), [[0.2, 0.8]])


def test_equal_probabilities_keep_the_order_of_their_index() -> None:
    assert top_classes(np.array([0.1, 0.4, 0.1, 0.4]), 3) == [1, 3, 0]
    assert top_classes(np.array([0.1, 0.9]), 99) == [1, 0]


def test_a_normalized_vector_has_length_one_unless_it_has_none() -> None:
    assert normalized(np.array([3.0, 4.0])).tolist() == [0.6, 0.8]
    assert normalized(np.zeros(2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("height", "width", "along", "rows", "columns"),
    [(224, 224, 7, 7, 7), (100, 200, 5, 5, 10), (200, 100, 4, 8, 4), (8, 16, 32, 8, 16)],
)
def test_places_are_square_along_both_sides(height: int, width: int, along: int, rows: int, columns: int) -> None:
    grid = occlusion_grid(height, width, along, True)

    assert (grid.rows, grid.columns, len(grid)) == (rows, columns, rows * columns)


@pytest.mark.parametrize("first", [True, False])
def test_a_place_is_covered_two_places_wide_by_the_mean_color(first: bool) -> None:
    pixels = np.arange(3 * 8 * 8, dtype=np.float32).reshape((3, 8, 8))
    shown = pixels if first else pixels.transpose(1, 2, 0)
    grid = occlusion_grid(8, 8, 4, first)

    covered = grid.covered(shown, range(5, 7))

    expected = np.stack([pixels, pixels])
    for image, column in zip(expected, (1, 2), strict=True):
        middle = slice(column * 2 - 1, column * 2 + 3)
        image[:, 1:5, middle] = pixels.mean(axis=(1, 2))[:, None, None]
    np.testing.assert_allclose(covered, expected if first else expected.transpose(0, 2, 3, 1), rtol=1e-6)


def test_every_pixel_is_covered_by_some_place() -> None:
    pixels = np.zeros((1, 13, 29), np.float32)
    pixels[:, 0, 0] = 1
    grid = occlusion_grid(13, 29, 3, True)

    marks = np.stack([grid.covered(pixels + index, range(index, index + 1))[0] != pixels + index
                      for index in range(len(grid))])  # fmt: skip

    assert marks.any(axis=(0, 1)).all()


def test_what_is_lost_is_the_whole_less_the_covered() -> None:
    grid = occlusion_grid(4, 4, 2, True)

    np.testing.assert_allclose(grid.values(0.9, [0.9, 0.4, 1.0, 0.0]), [[0, 0.5], [-0.1, 0.9]], atol=1e-7)


def test_the_same_seed_draws_the_same_masks_however_they_are_cut() -> None:
    whole = RiseMasks(30, 50, 3).draw(10)
    cut = RiseMasks(30, 50, 3)
    parts = [cut.draw(4), cut.draw(6)]

    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.shape == (10, 30, 50)
    assert not np.array_equal(RiseMasks(30, 50, 4).draw(10), whole)


def test_half_of_a_mask_is_visible_on_average() -> None:
    masks = RiseMasks(28, 28, 0).draw(400)

    assert 0 <= masks.min() < 0.05 and 0.95 < masks.max() <= 1
    assert masks.mean() == pytest.approx(0.5, abs=0.02)


def test_the_map_is_the_mean_probability_where_a_place_is_visible() -> None:
    left, right = np.zeros((64, 128), np.float32), np.zeros((64, 128), np.float32)
    left[:, :64], right[:, 64:] = 1, 1
    found = RiseMap(64, 128)

    found.add(np.stack([left, right]), np.array([0.9, 0.2]))
    found.add(right[None], np.array([0.4]))

    np.testing.assert_allclose(found.values(), 8 * [8 * [0.9] + 8 * [0.3]], rtol=1e-6)


@pytest.mark.parametrize(("height", "width", "places"), [(8, 8, (7, 7)), (5, 32, (5, 7)), (224, 320, (28, 40))])
def test_a_small_image_has_a_map_of_more_than_a_place(height: int, width: int, places: tuple[int, int]) -> None:
    found = RiseMap(height, width)
    found.add(np.ones((1, height, width), np.float32), np.array([0.5]))

    np.testing.assert_allclose(found.values(), np.full(places, 0.5))


def test_what_a_mask_covers_takes_the_mean_color() -> None:
    pixels = np.array([[[1.0, 3.0]], [[0.0, 4.0]]], np.float32)
    mask = np.array([[[1.0, 0.5]]], np.float32)

    np.testing.assert_allclose(masked(pixels, mask, True), np.array([[[[1, 2.5]], [[0, 3]]]]))
    np.testing.assert_allclose(masked(pixels.transpose(1, 2, 0), mask, False)[0, 0, 1], [2.5, 3])


def test_what_covers_bytes_is_rounded_to_bytes() -> None:
    pixels = np.array([[[10, 0], [13, 255]]], np.uint8)  # means 11.5 and 127.5

    covered = occlusion_grid(1, 2, 1, False).covered(pixels, range(1))
    shown = masked(pixels, np.array([[[1.0, 0.25]]], np.float32), False)

    assert covered.dtype == shown.dtype == np.uint8
    assert covered.tolist() == [[[[12, 128], [12, 128]]]]
    assert shown.tolist() == [[[[10, 0], [12, 159]]]]
    assert rounded_to(pixels, np.array([-3.0, 255.4, 400.0])).tolist() == [0, 255, 255]


@pytest.mark.parametrize("datatype", [np.uint8, np.float32])
@pytest.mark.parametrize("first", [True, False])
def test_a_large_picture_of_one_color_is_its_own_mean(first: bool, datatype: type) -> None:
    size = 1024  # a sum of 127s in float32 is off from 363 x 363 on
    pixels: NDArray[Any] = np.full((1, size, size) if first else (size, size, 1), 127, datatype)

    mean = mean_color(pixels, first)
    shown = masked(pixels, np.full((1, size, size), 0.5, np.float32), first)

    assert mean.dtype == np.float32
    assert mean.tolist() == [[[127]]]
    np.testing.assert_array_equal(shown[0], pixels)


def drawn(values: NDArray[np.float32], picture: Image.Image, size: int = 640, zero: float = 0.0) -> NDArray[np.int64]:
    region = preprocessing_of(json.dumps(PREPROCESSING)).region(*picture.size)
    png = overlay_png(reduced(picture, size), Overlay(values, zero, region, picture.size))
    return np.asarray(Image.open(io.BytesIO(png))).astype(np.int64)


def test_the_strongest_place_glows_and_what_was_not_shown_is_dark() -> None:
    picture = Image.fromarray(plain("gray", 40, 80))
    values = np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)

    seen = drawn(values, picture)

    assert seen.shape == (40, 80, 3)
    assert seen[:, :20].max() < 60 and seen[:, 60:].max() < 60
    brightness = seen[:, 20:60].sum(axis=2)
    assert np.unravel_index(brightness.argmax(), brightness.shape) < (20, 20)
    np.testing.assert_allclose(seen[35, 55], [128, 128, 128], atol=2)


def test_where_nothing_speaks_for_the_class_nothing_glows() -> None:
    picture = Image.fromarray(plain("gray"))

    np.testing.assert_array_equal(drawn(np.full((2, 2), -1, np.float32), picture), plain("gray"))


def test_a_large_picture_is_drawn_smaller_and_a_small_one_is_not() -> None:
    assert drawn(np.ones((2, 2), np.float32), Image.new("RGB", (300, 100)), size=60).shape == (20, 60, 3)
    assert drawn(np.ones((2, 2), np.float32), Image.new("RGB", (3, 1)), size=60).shape == (1, 3, 3)


def test_a_region_beyond_the_edges_is_cut_to_the_picture() -> None:
    region = Region(-10, -5, 40, 30)

    png = overlay_png(Image.new("RGB", (20, 20)), Overlay(np.ones((2, 2), np.float32), 0.0, region, (20, 20)))

    assert Image.open(io.BytesIO(png)).size == (20, 20)
