"""Every kind of image file has a defined outcome: an upright RGB picture, or an error that says what came."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from cuelight.server.errors import InvalidRequest
from cuelight.server.vision.pictures import ImageLimits, Picture, picture_of, take_over_pillow
from cuelight.vision.v1 import vision_pb2 as pb
from tests.vision_models import COLORS, encoded, plain

LIMITS = ImageLimits(max_image_bytes=100_000, max_pixels=10_000)
KINDS = ("PNG", "JPEG", "WEBP")


@pytest.fixture(autouse=True)
def limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the process Pillow's own limit back after each test."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def taken(image: pb.Image, limits: ImageLimits = LIMITS) -> Picture:
    """Decode as a server does, whose pool has taken over from Pillow."""
    take_over_pillow()
    return picture_of(image, limits)


def decoded(data: bytes, limits: ImageLimits = LIMITS) -> Picture:
    return taken(pb.Image(encoded=data), limits)


def pixels(picture: Picture) -> NDArray[np.uint8]:
    assert picture.image.mode == "RGB"
    return np.asarray(picture.image)


def refused(image: bytes | pb.Image, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(InvalidRequest) as caught:
        taken(pb.Image(encoded=image) if isinstance(image, bytes) else image, limits)
    return caught.value.message


def noise(height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_encoded_comes_back(kind: str) -> None:
    picture = decoded(encoded(plain("green", 12, 20), kind, lossless=True))

    assert (picture.format, picture.image.size, picture.frame_count, picture.notes) == (kind, (20, 12), 1, ())
    np.testing.assert_allclose(pixels(picture).astype(int), plain("green", 12, 20), atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    upright = noise(6, 9)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # What a camera stores of the upright picture: the inverse of what a viewer has to do. Source: Exif 2.32, tag 274.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]

    picture = decoded(encoded(np.ascontiguousarray(stored), exif=exif))

    np.testing.assert_array_equal(pixels(picture), upright)
    assert bool(picture.notes) == (orientation > 1)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_is_none_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    np.testing.assert_array_equal(pixels(decoded(encoded(noise(6, 9), exif=exif))), noise(6, 9))


def test_broken_exif_is_upright() -> None:
    data = encoded(plain("red"), "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 40)

    np.testing.assert_allclose(pixels(decoded(data)).astype(int), plain("red"), atol=2)


def test_transparency_is_laid_on_white() -> None:
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[..., 0], clear[:, 2:, 3] = 200, 255  # dark red, of which the left half is not there

    picture = decoded(encoded(clear))

    assert pixels(picture)[0].tolist() == [[255, 255, 255]] * 2 + [[200, 0, 0]] * 2
    assert picture.notes == ("transparency laid on white",)


def test_an_alpha_channel_that_hides_nothing_is_not_spoken_of() -> None:
    picture = decoded(encoded(np.full((4, 4, 4), (9, 8, 7, 255), np.uint8)))

    assert pixels(picture)[0, 0].tolist() == [9, 8, 7]
    assert picture.notes == ()


def test_a_palette_is_looked_up_and_its_transparent_entry_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])

    assert pixels(decoded(encoded(image))).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert pixels(decoded(encoded(image, transparency=1))).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert pixels(decoded(encoded(image, transparency=bytes([255, 0])))).tolist()[0][1] == [255, 255, 255]


def test_cmyk_becomes_rgb() -> None:
    magenta = Image.new("CMYK", (8, 8), (0, 255, 0, 0))

    picture = decoded(encoded(magenta, "JPEG"))

    np.testing.assert_allclose(pixels(picture)[4, 4].astype(int), (255, 0, 255), atol=3)
    assert picture.notes == ("CMYK without colour management",)


def test_of_16_bits_the_upper_8_count() -> None:
    deep = np.array([[0, 255, 256, 32_768, 65_535]], np.uint16)

    picture = decoded(encoded(Image.fromarray(deep)))

    assert pixels(picture)[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert picture.notes == ("of 16 bits the upper 8",)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_gray_is_gray_in_every_channel(mode: str) -> None:
    picture = decoded(encoded(Image.new(mode, (3, 3), 255 if mode != "LA" else (255, 255))))

    assert pixels(picture).tolist() == [[[255] * 3] * 3] * 3


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.fromarray(plain(color)) for color in ("red", "green", "blue")]

    picture = decoded(encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))

    np.testing.assert_allclose(pixels(picture).astype(int), plain("red"), atol=2)
    assert picture.frame_count == 3
    assert picture.notes == ("the first of 3 frames",)


@pytest.mark.parametrize("kind", KINDS)
def test_one_pixel_is_an_image(kind: str) -> None:
    assert decoded(encoded(plain("gray", 1, 1), kind)).image.size == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_ends_too_soon_is_refused(kind: str, share: float) -> None:
    data = encoded(noise(), kind)

    message = refused(data[: int(len(data) * share)])

    assert message.startswith(f"a {kind} file ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "expected a JPEG, PNG or WebP file, got no bytes"),
        (b"hello, world", "got 12 bytes that begin with 68 65 6c 6c 6f 2c 20 77"),
        (b"GIF89a\1\0\1\0", "got GIF"),
        (b"BM\0\0", "got BMP"),
        (b"II*\0", "got TIFF"),
        (b"%PDF-1.7", "got PDF"),
        (b"<svg xmlns=", "got SVG"),
        (b"\0\0\0 ftypavif", "got AVIF"),
        (b"\0\0\0 ftypheic", "got HEIC"),
        (b"\x89PNG\r\n\x1a\n", "a PNG file"),
        (b"\xff\xd8\xff\xe0", "a JPEG file"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a WEBP file"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, expected: str) -> None:
    assert expected in refused(data)


def test_neither_file_nor_pixels_is_named() -> None:
    assert refused(pb.Image()) == "expected encoded or raw, got neither"


def test_a_file_over_the_limit_is_not_opened() -> None:
    assert refused(b"\xff" * 100_001) == "a file of 100001 bytes, the limit is 100000 bytes"


def with_header(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header claims so many pixels."""
    data = bytearray(encoded(plain("red", 4, 4)))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def test_a_header_of_30000_by_30000_is_refused_by_its_pixels() -> None:
    assert refused(with_header(30_000, 30_000)) == "30000 x 30000 pixels are 900000000, the limit is 10000"


def test_a_header_that_promises_more_than_comes_is_refused() -> None:
    assert refused(with_header(90, 90)).startswith("a PNG file that cannot be decoded: ")


def test_a_header_that_promises_less_than_comes_gives_what_it_promises() -> None:
    assert decoded(with_header(4, 2)).image.size == (4, 2)


def test_a_jpeg_that_claims_more_lines_than_it_has_is_filled_up_by_libjpeg() -> None:
    data = bytearray(encoded(noise(16, 16), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = struct.pack(">H", 600)

    picture = decoded(bytes(data))

    assert picture.image.size == (16, 600)
    np.testing.assert_array_equal(pixels(picture)[:8], pixels(decoded(encoded(noise(16, 16), "JPEG")))[:8])


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_over_the_limit_is_refused_before_a_decoder_sees_it(lossless: bool) -> None:
    data = encoded(np.zeros((101, 100, 3), np.uint8), "WEBP", lossless=lossless)

    assert refused(data) == "100 x 101 pixels are 10100, the limit is 10000"


def test_an_extended_webp_is_refused_by_its_canvas() -> None:
    frames = [Image.fromarray(plain(color, 101, 100)) for color in ("red", "blue")]

    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])

    assert data[12:16] == b"VP8X"
    assert refused(data) == "100 x 101 pixels are 10100, the limit is 10000"


def test_a_bomb_of_text_in_a_png_is_refused() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "x" * 20_000_000, zip=True)
    data = encoded(plain("red"), pnginfo=notes)

    assert len(data) < 100_000
    assert refused(data).startswith("a PNG file that cannot be decoded: ")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_what_a_file_says_beside_its_pixels_is_not_kept(mode: str) -> None:
    said = PngImagePlugin.PngInfo()
    said.add_text("a", "b" * 1000)

    picture = decoded(encoded(Image.new(mode, (8, 8)), pnginfo=said, icc_profile=b"profile"))

    assert picture.image.info == {}


@pytest.mark.parametrize(("claimed", "told"), [(5, 5), (2**31 - 1, 2**31 - 1), (2**31, 2**31 - 1)])
def test_however_many_frames_a_png_claims_an_answer_can_tell_of_them(claimed: int, told: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = encoded(plain("red", 20, 30))
    frame = struct.pack(">5I2H2B", 0, 30, 20, 0, 0, 1, 1, 0, 0)
    animated = data[:33] + chunk(b"acTL", struct.pack(">2I", claimed, 0)) + chunk(b"fcTL", frame) + data[33:]

    assert decoded(animated).info().frame_count == told


def test_what_a_phone_puts_behind_a_jpeg_is_no_part_of_it() -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    film = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 500

    np.testing.assert_array_equal(pixels(decoded(data + film)), pixels(decoded(data)))


def test_of_a_file_of_several_pictures_the_first_is_taken() -> None:
    red, green = (Image.fromarray(plain(color)) for color in ("red", "green"))

    picture = decoded(encoded(red, "MPO", save_all=True, append_images=[green]))

    np.testing.assert_allclose(pixels(picture).astype(int), plain("red"), atol=3)
    assert (picture.format, picture.frame_count) == ("JPEG", 2)


def raw(**changes: Any) -> pb.Image:
    said = {"data": bytes(range(24)), "width": 4, "height": 2, "format": pb.RGB8, **changes}
    return pb.Image(raw=pb.RawPixels(**said))


@pytest.mark.parametrize(
    ("pixel_format", "first"),
    [(pb.RGB8, [0, 1, 2]), (pb.RGBX8, [0, 1, 2]), (pb.BGRX8, [2, 1, 0]), (pb.GRAY8, [0, 0, 0])],
)
def test_raw_pixels_are_taken_as_they_lie(pixel_format: Any, first: list[int]) -> None:
    size = {pb.RGB8: 3, pb.GRAY8: 1}.get(pixel_format, 4)
    data = bytes(range(8 * size))

    top = taken(raw(data=data, format=pixel_format))
    bottom = taken(raw(data=data, format=pixel_format, bottom_up=True))

    assert pixels(top)[0, 0].tolist() == first
    np.testing.assert_array_equal(pixels(bottom), pixels(top)[::-1])
    assert top.info().format == "RAW"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": 0}, "raw.format: got 0, expected RGB8, RGBX8, BGRX8 or GRAY8"),
        ({"format": 77}, "raw.format: got 77"),
        ({"width": 0}, "raw: got 0 x 2 pixels, expected 1 x 1 or more"),
        ({"height": -2}, "raw: got 4 x -2 pixels"),
        ({"width": 5}, "raw.data: got 24 bytes, expected 30 for 5 x 2 pixels of RGB8"),
        ({"width": 200_000, "height": 200_000}, "200000 x 200000 pixels are 40000000000, the limit is 10000"),
    ],
)
def test_raw_pixels_that_do_not_fit_are_named(changes: dict[str, Any], expected: str) -> None:
    assert expected in refused(raw(**changes))


FILES = [encoded(noise(12, 17), kind) for kind in KINDS] + [encoded(Image.new("P", (9, 9)), transparency=0)]


@given(st.sampled_from(FILES), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_file_is_decoded_or_refused_and_nothing_else(file: bytes, damages: list[tuple[int, int]]) -> None:
    data = bytearray(file)
    for at, value in damages:
        data[at % len(data)] = value

    try:
        picture = decoded(bytes(data))
    except InvalidRequest:
        return
    assert picture.image.mode == "RGB"


def test_colors_are_what_the_tests_think_they_are() -> None:
    assert {name: tuple(plain(name)[0, 0].tolist()) for name in COLORS} == COLORS
    assert Image.open(io.BytesIO(FILES[0])).size == (17, 12)
