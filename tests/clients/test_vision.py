"""Photos: prepared as the model's own description says, and named by the real server."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cuelight.client import Channel, Frame, InferenceClient, InvalidRequest, VisionClient, classify
from cuelight.client.vision import prepare_image
from cuelight.client.vision_calls import frame_request
from cuelight.exporters.samples import PHOTO
from tests.serve_process import FRONTS, environment, running_server
from tests.vision_models import WEIGHT, metadata, photo, write_colors

HOW: dict[str, Any] = {
    "resize": {"short_side": 8, "interpolation": "bicubic"},
    "crop": [4, 6],
    "scale": 1 / 255,
    "mean": [0.5, 0.25, 0.0],
    "std": [0.5, 1.0, 2.0],
}


def plain(red: int, green: int, blue: int, height: int = 16, width: int = 24) -> NDArray[np.uint8]:
    return np.full((height, width, 3), (red, green, blue), np.uint8)


def test_pixels_are_scaled_and_normalized_per_channel() -> None:
    prepared = prepare_image(plain(255, 0, 51), HOW)

    assert prepared.shape == (1, 3, 4, 6)
    assert prepared.dtype == np.float32
    for channel, expected in enumerate(((1 - 0.5) / 0.5, (0 - 0.25) / 1.0, (0.2 - 0.0) / 2.0)):
        np.testing.assert_allclose(prepared[0, channel], expected, atol=1e-6)


def test_bytes_are_given_as_they_are_where_the_model_takes_them() -> None:
    how = {"resize": HOW["resize"], "crop": HOW["crop"], "datatype": "UINT8", "layout": "NHWC"}

    prepared = prepare_image(plain(255, 0, 51), how)

    assert prepared.shape == (1, 4, 6, 3) and prepared.dtype == np.uint8
    assert prepared[0, 0, 0].tolist() == [255, 0, 51]


def test_the_middle_is_cut_out() -> None:
    pixels = plain(0, 0, 0, 8, 12)
    pixels[2:6, 3:9] = 255  # exactly the crop of an image that needs no resizing

    prepared = prepare_image(pixels, {**HOW, "mean": [0, 0, 0], "std": [1, 1, 1]})

    np.testing.assert_allclose(prepared, 1.0, atol=1e-6)


def test_a_photo_is_turned_upright_and_laid_on_white_as_the_server_does_it() -> None:
    sideways, clear = io.BytesIO(), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = plain(0, 0, 0, 16, 16)
    pixels[:8] = 255
    Image.fromarray(np.rot90(pixels).copy()).save(sideways, "PNG", exif=exif)
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(clear, "PNG")

    np.testing.assert_array_equal(prepare_image(sideways.getvalue(), HOW), prepare_image(pixels, HOW))
    np.testing.assert_array_equal(
        prepare_image(clear.getvalue(), HOW), prepare_image(plain(255, 255, 255, 16, 16), HOW)
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_encoded_images_are_decoded(kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(plain(10, 20, 30)).save(file, kind)

    np.testing.assert_allclose(prepare_image(file.getvalue(), HOW), prepare_image(plain(10, 20, 30), HOW), atol=0.02)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"this is no image", "cannot decode the image"),
        (np.zeros((4, 4), np.uint8), r"expected pixels \(height, width, 3\) uint8, got \(4, 4\) uint8"),
        (np.zeros((4, 4, 3), np.float32), r"got \(4, 4, 3\) float32"),
    ],
)
def test_what_is_no_image_is_named(image: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        prepare_image(image, HOW)


def test_without_pillow_the_error_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['PIL'] = None\n"
        "from cuelight.client.vision import prepare_image\n"
        "try: prepare_image(b'', {})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)

    assert done.stdout == "InvalidRequest decoding images needs Pillow: pip install cuelight[vision]\n"


def test_a_description_that_is_not_understood_is_refused() -> None:
    with pytest.raises(InvalidRequest, match='key "gamma" is not known; known are kind, datatype'):
        prepare_image(plain(1, 2, 3), {**HOW, "gamma": 2.2})


def test_scores_become_probabilities_as_the_model_describes_them(tmp_path: Path) -> None:
    write_colors(tmp_path / "models", "colors")
    write_colors(tmp_path / "models", "bytes", takes_bytes=True)
    write_colors(tmp_path / "models", "certain", tail="softmax", said=metadata(scores="probabilities"))
    powers = np.exp(WEIGHT * np.array([1.0, 0.0, 0.0]) + np.arange(3))  # of plain red

    with running_server(tmp_path / "models", tmp_path / "log") as server, Channel(server.target) as channel:
        named = [classify(InferenceClient(channel), photo("red"), model=m) for m in ("colors", "bytes", "certain")]

    for best in named:
        assert [guess.label for guess in best] == ["red", "blue", "green"]
        np.testing.assert_allclose([guess.probability for guess in best], (powers / powers.sum())[[0, 2, 1]], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_espresso_is_named_by_the_real_server(
    front: str, tmp_path: Path, cache_dir: Path, repository_of: Callable[..., Path]
) -> None:
    models = repository_of("efficientnet_lite0")

    with (
        running_server(models, tmp_path / "log", front=front) as server,
        Channel(server.target) as channel,
    ):
        photo, client = PHOTO.fetch(cache_dir), VisionClient(channel)
        best = classify(InferenceClient(channel), photo, top_k=3)
        named = client.classify(photo, top_k=3)
        why = client.explain(photo)
        alike = client.embed_many([photo, photo], normalize=True)

    assert best[0].label == "espresso"
    assert best[0].probability > 0.9
    assert [guess.label for guess in named.labels] == [guess.label for guess in best]
    np.testing.assert_allclose(
        [guess.probability for guess in named.labels], [guess.probability for guess in best], atol=1e-5
    )
    assert why.method == "class_activation" and why.label.label == "espresso"
    row, column = np.unravel_index(why.values.argmax(), why.values.shape)
    x = why.region.left + (column + 0.5) * why.region.width / why.values.shape[1]
    y = why.region.top + (row + 0.5) * why.region.height / why.values.shape[0]
    assert 200 < x < 380 and 60 < y < 210, "the coffee in the cup"
    assert alike[0].vector.shape == (1280,)
    assert float(alike[0].vector @ alike[1].vector) == pytest.approx(1.0, abs=1e-4)


def test_an_image_alone_is_a_frame_without_id_and_time() -> None:
    assert frame_request(b"pixels") == frame_request(Frame(b"pixels"))
    assert frame_request(Frame(b"pixels", 3)) != frame_request(Frame(b"pixels"))
