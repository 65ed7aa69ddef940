"""Images are prepared exactly as a model's metadata says, and metadata that does not say it is refused by its key."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cuelight.client.vision import prepare_image
from cuelight.exporters.efficientnet_lite0 import PREPROCESSING
from cuelight.exporters.samples import PHOTO
from cuelight.server.vision.preprocessing import MetadataUnusable, Preprocessing, Region, preprocessing_of

HOW: dict[str, Any] = {
    "kind": "image",
    "layout": "NCHW",
    "color": "RGB",
    "resize": {"short_side": 8, "interpolation": "bicubic"},
    "crop": [4, 6],
    "scale": 1 / 255,
    "mean": [0.5, 0.25, 0.0],
    "std": [0.5, 1.0, 2.0],
}


def reading(**changes: Any) -> Preprocessing:
    said = {key: value for key, value in {**HOW, **changes}.items() if value is not ...}
    return preprocessing_of(json.dumps(said))


def plain(red: int, green: int, blue: int, height: int = 16, width: int = 24) -> Image.Image:
    return Image.fromarray(np.full((height, width, 3), (red, green, blue), np.uint8))


@pytest.mark.parametrize(
    "how",
    [
        PREPROCESSING,
        HOW,
        {"kind": "image", "layout": "NCHW", "color": "BGR", "resize": {"size": [40, 60]}, "std": None},
        {"kind": "image", "layout": "NHWC", "color": "GRAY", "crop": [50, 30], "scale": 2, "mean": [3], "std": [4]},
    ],
)
def test_a_real_photo_is_prepared_as_the_client_prepares_it(cache_dir: Path, how: dict[str, Any]) -> None:
    path = PHOTO.fetch(cache_dir)

    prepared = preprocessing_of(json.dumps(how)).apply(Image.open(path).convert("RGB"))

    np.testing.assert_array_equal(prepared[None], prepare_image(path, how))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mean": ..., "std": None, "scale": ...},
        {"layout": "NHWC"},
        {"color": "BGR"},
        {"color": "GRAY", "mean": [0.1], "std": [2.0]},
        {"resize": ...},
        {"resize": {"short_side": 11}},
        {"resize": {"size": [9, 7], "interpolation": "lanczos"}, "crop": ...},
        {"resize": {"size": [9, 7]}, "crop": [5, 5]},
        {"crop": [40, 50]},
        {"datatype": "UINT8", "mean": ..., "std": ..., "scale": ..., "color": "BGR"},
        {"datatype": "UINT8", "mean": ..., "std": ..., "scale": ..., "color": "GRAY", "layout": "NHWC"},
    ],
)
def test_whatever_is_described_the_client_prepares_as_the_server_does(changes: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8)
    said = {key: value for key, value in {**HOW, **changes}.items() if value is not ...}

    prepared = reading(**changes).apply(Image.fromarray(pixels))

    by_client = prepare_image(pixels, said)
    np.testing.assert_array_equal(by_client, prepared[None])
    assert by_client.dtype == prepared.dtype


def test_a_real_photo_is_normalized_as_pytorch_does_it(cache_dir: Path) -> None:
    torch = pytest.importorskip("torch")
    photo = Image.open(PHOTO.fetch(cache_dir)).convert("RGB")
    pixels = torch.from_numpy(np.array(photo.resize((384, 256), Image.Resampling.BICUBIC)))
    cut = pixels[16:240, 80:304].permute(2, 0, 1).float()

    changes = {**PREPROCESSING, "datatype": "FP32", "layout": "NCHW"}
    scaling = {"scale": 1 / 255, "mean": [127 / 255] * 3, "std": [128 / 255] * 3}

    prepared = preprocessing_of(json.dumps({**changes, **scaling})).apply(photo)
    of_bytes = preprocessing_of(json.dumps(PREPROCESSING)).apply(photo)

    np.testing.assert_allclose(prepared, ((cut - 127) / 128).numpy(), atol=1e-6)
    np.testing.assert_array_equal(of_bytes, pixels[16:240, 80:304].numpy())


def test_each_channel_is_scaled_and_normalized() -> None:
    prepared = reading().apply(plain(255, 0, 51))

    assert prepared.shape == (3, 4, 6) and prepared.dtype == np.float32
    for channel, expected in enumerate(((1 - 0.5) / 0.5, (0 - 0.25) / 1.0, 0.2 / 2.0)):
        np.testing.assert_allclose(prepared[channel], expected, atol=1e-6)


def test_channels_last_and_blue_first() -> None:
    prepared = reading(layout="NHWC", color="BGR", mean=..., std=..., scale=1).apply(plain(10, 20, 30))

    assert prepared.shape == (4, 6, 3)
    assert prepared[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize(("layout", "shape"), [("NHWC", (4, 6, 3)), ("NCHW", (3, 4, 6))])
def test_bytes_are_given_as_they_are(layout: str, shape: tuple[int, ...]) -> None:
    how = reading(datatype="UINT8", layout=layout, color="BGR", mean=..., std=..., scale=...)

    prepared = how.apply(plain(10, 20, 30))

    assert prepared.dtype == np.uint8
    assert prepared.shape == shape and prepared.flags.c_contiguous
    channels_last = prepared if layout == "NHWC" else prepared.transpose(1, 2, 0)
    assert channels_last.reshape(-1, 3).tolist() == 24 * [[30, 20, 10]]
    noise = how.noise(np.random.default_rng(0))
    assert noise.dtype == np.uint8 and noise.shape == shape
    assert len(set(noise.ravel().tolist())) > 40


def test_gray_is_the_brightness_that_bt601_says() -> None:
    prepared = reading(color="GRAY", mean=[0], std=[1], scale=1).apply(plain(100, 150, 200))

    assert prepared.shape == (1, 4, 6)
    assert prepared[0, 0, 0] == round(0.299 * 100 + 0.587 * 150 + 0.114 * 200)


def test_without_resize_the_middle_is_cut_out_and_what_is_missing_is_black() -> None:
    white = plain(255, 255, 255, height=2, width=24)

    prepared = reading(resize=..., mean=..., std=...).apply(white)

    np.testing.assert_allclose(prepared[:, 1:3], 1.0)
    np.testing.assert_allclose(prepared[:, [0, 3]], 0.0)


def test_a_size_stretches_and_needs_no_crop() -> None:
    how = reading(resize={"size": [5, 7], "interpolation": "nearest"}, crop=...)

    assert how.shape == (3, 5, 7)
    assert how.apply(plain(1, 2, 3)).shape == (3, 5, 7)
    assert how.region(70, 50) == Region(0, 0, 70, 50)


def test_one_pixel_is_enough() -> None:
    prepared = reading(mean=..., std=...).apply(plain(255, 255, 255, 1, 1))

    np.testing.assert_allclose(prepared, 1.0)


def test_the_region_is_what_the_model_is_shown_of_the_picture() -> None:
    how = preprocessing_of(json.dumps(PREPROCESSING))

    assert how.region(600, 400) == Region(80 * 600 / 384, 16 * 400 / 256, 224 * 600 / 384, 224 * 400 / 256)


BAD = [
    ({"kind": "audio"}, "\"kind\" is 'audio', expected image"),
    ({"kind": ...}, '"kind" is missing'),
    ({"layout": "CHW"}, "\"layout\" is 'CHW', expected NCHW or NHWC"),
    ({"datatype": "uint8"}, "\"datatype\" is 'uint8', expected FP32 or UINT8"),
    ({"datatype": "UINT8", "scale": ...}, '"mean" does not go with "datatype" UINT8: pixels are given from 0 to 255'),
    ({"datatype": "UINT8", "mean": ..., "std": ..., "scale": 1}, '"scale" does not go with "datatype" UINT8'),
    ({"color": "CMYK"}, "\"color\" is 'CMYK', expected RGB or BGR or GRAY"),
    ({"colour": "RGB"}, 'key "colour" is not known'),
    ({"crop": ...}, '"crop" is missing'),
    ({"crop": [4]}, '"crop" is [4], expected [height, width]'),
    ({"crop": [4, 0]}, '"crop" is 0, expected pixels, 1 to 16384'),
    ({"crop": [4, 6.5]}, '"crop" is 6.5'),
    ({"resize": 8}, '"resize": expected an object'),
    ({"resize": {"short_side": 8, "size": [8, 8]}}, 'either "short_side" or "size"'),
    ({"resize": {"short_side": 8, "interpolation": "cubic"}}, "resize.interpolation\" is 'cubic'"),
    ({"resize": {"short_side": True}}, '"resize.short_side" is True'),
    ({"scale": "1/255"}, "\"scale\" is '1/255', expected a number"),
    ({"scale": 0}, '"scale" and "std" must not be 0'),
    ({"std": [1, 0, 1]}, '"scale" and "std" must not be 0'),
    ({"mean": [0.5]}, '"mean" is [0.5], expected 3 numbers, one a channel'),
    ({"color": "GRAY"}, '"mean" is [0.5, 0.25, 0.0], expected 1 numbers'),
]


@pytest.mark.parametrize(("changes", "expected"), BAD, ids=[expected for _, expected in BAD])
def test_metadata_that_cannot_be_used_is_named(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(MetadataUnusable) as caught:
        reading(**changes)

    assert str(caught.value).startswith('metadata "cuelight.preprocessing": ')
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"scale": NaN}'])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(MetadataUnusable, match=r"cuelight\.preprocessing"):
        preprocessing_of(text)
