"""From an image as it came to an upright RGB picture: every kind of file defined, every bad one named.

What a file's header says is checked before anything is decoded: bytes, format, pixels. EXIF orientation is honoured;
transparency is laid on white; of 16 bits the upper eight count; CMYK becomes RGB without colour management, as embedded
colour profiles are not looked at; of an animation, or of a file of several pictures, the first is taken. What libjpeg
makes of a JPEG that is damaged in the middle is taken as it is; a file that ends too soon is refused.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from cuelight.server.errors import InvalidRequest
from cuelight.server.vision.file_effort import check_jpeg_effort, check_png_effort
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["ImageLimits", "Picture", "picture_of", "take_over_pillow"]

FORMATS = ("JPEG", "PNG", "WEBP")
_MOST_FRAMES = 2**31 - 1
"""That an answer can tell of; a PNG's header may claim one more."""
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: ("mirrored", Image.Transpose.FLIP_LEFT_RIGHT),
    3: ("turned by 180 degrees", Image.Transpose.ROTATE_180),
    4: ("mirrored upside down", Image.Transpose.FLIP_TOP_BOTTOM),
    5: ("mirrored and turned by 90 degrees", Image.Transpose.TRANSPOSE),
    6: ("turned by 270 degrees", Image.Transpose.ROTATE_270),
    7: ("mirrored and turned by 270 degrees", Image.Transpose.TRANSVERSE),
    8: ("turned by 90 degrees", Image.Transpose.ROTATE_90),
}
"""By EXIF orientation; degrees counterclockwise. Source: CIPA DC-008 (Exif 2.32), 4.6.4, tag 274."""
_OTHERS = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"\0\0\x01\0", "ICO"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
)
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    ArithmeticError,
    LookupError,
    EOFError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)
"""What Pillow raises on bytes that are no good: its plugins parse headers without a net."""
_RAW = {
    pb.RGB8: ("RGB", "RGB", 3),
    pb.RGBX8: ("RGB", "RGBX", 4),
    pb.BGRX8: ("RGB", "BGRX", 4),
    pb.GRAY8: ("L", "L", 1),
}
"""Pillow's mode, its raw mode and the bytes of a pixel, by PixelFormat."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is refused before it is decoded."""

    max_image_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright RGB picture, and what it was made of."""

    image: Image.Image
    format: str
    frame_count: int = 1
    notes: tuple[str, ...] = ()

    def info(self) -> pb.ImageInfo:
        """Return what callers are told of it."""
        return pb.ImageInfo(
            format=self.format,
            width=self.image.width,
            height=self.image.height,
            frame_count=self.frame_count,
            notes=self.notes,
        )


def take_over_pillow() -> None:
    """Put the server's limit in the place of Pillow's own, for the whole process; and its warnings about files to rest.

    A header's pixels are checked here right after Pillow has read it, before it takes memory for them.
    """
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL\.")


def picture_of(image: pb.Image, limits: ImageLimits) -> Picture:
    """Decode an image. Raises: InvalidRequest saying what was expected and what came."""
    kind = image.WhichOneof("content")
    if kind == "encoded":
        return _decoded(image.encoded, limits)
    if kind == "raw":
        return _framed(image.raw, limits)
    raise InvalidRequest("expected encoded or raw, got neither")


def _decoded(data: bytes, limits: ImageLimits) -> Picture:
    if len(data) > limits.max_image_bytes:
        raise InvalidRequest(f"a file of {len(data)} bytes, the limit is {limits.max_image_bytes} bytes")
    kind = _kind_of(data)
    if kind == "WEBP" and (size := _webp_size(data)) is not None:
        # Before Pillow 13, opening one takes the memory for its pixels.
        _check_size(*size, limits)
    if kind == "JPEG":
        check_jpeg_effort(data)
    elif kind == "PNG":
        check_png_effort(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(*opened.size, limits)
            return _upright(opened)
    except UnidentifiedImageError:
        raise InvalidRequest(f"a {kind} file whose header cannot be read; {len(data)} bytes came") from None
    except _DECODER_ERRORS as error:
        raise InvalidRequest(f"a {kind} file that cannot be decoded: {str(error) or type(error).__name__}") from None


def _framed(raw: pb.RawPixels, limits: ImageLimits) -> Picture:
    if raw.format not in _RAW:
        raise InvalidRequest(f"raw.format: got {raw.format}, expected RGB8, RGBX8, BGRX8 or GRAY8")
    if raw.width < 1 or raw.height < 1:
        raise InvalidRequest(f"raw: got {raw.width} x {raw.height} pixels, expected 1 x 1 or more")
    _check_size(raw.width, raw.height, limits)
    mode, raw_mode, pixel_bytes = _RAW[raw.format]
    expected = raw.width * raw.height * pixel_bytes
    if len(raw.data) != expected:
        name = pb.PixelFormat.Name(raw.format)
        raise InvalidRequest(
            f"raw.data: got {len(raw.data)} bytes, expected {expected} for {raw.width} x {raw.height} pixels of {name}"
        )
    order = -1 if raw.bottom_up else 1
    image = Image.frombytes(mode, (raw.width, raw.height), raw.data, "raw", raw_mode, 0, order)
    return Picture(image if mode == "RGB" else image.convert("RGB"), "RAW")


def _kind_of(data: bytes) -> str:
    """Return the format by its first bytes. Raises: InvalidRequest for one that is not taken."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    known = next((name for start, name in _OTHERS if data.startswith(start)), None)
    if data[4:8] == b"ftyp":
        known = "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIC or video"
    came = known or (f"{len(data)} bytes that begin with {data[:8].hex(' ')}" if data else "no bytes")
    raise InvalidRequest(f"expected a JPEG, PNG or WebP file, got {came}")


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) as the header has them; None where it is too short. Source: RFC 9649, 2.5 to 2.7."""
    if len(data) < 30:
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise InvalidRequest(f"{width} x {height} pixels are {width * height}, the limit is {limits.max_pixels}")


def _upright(opened: Image.Image) -> Picture:
    frames = int(getattr(opened, "n_frames", 1))
    notes = [f"the first of {frames} frames"] if frames > 1 else []
    opened.load()
    image = _as_rgb(opened, notes)
    if (turn := _TURNS.get(_orientation_of(opened))) is not None:
        image = image.transpose(turn[1])
        notes.append(f"{turn[0]} (EXIF)")
    # Texts and profiles, up to 64 MB from a file of 73 KB, that every picture made of this one would hold on to.
    image.info = {}
    kind = "JPEG" if opened.format == "MPO" else str(opened.format)
    return Picture(image, kind, min(max(frames, 1), _MOST_FRAMES), tuple(notes))


def _orientation_of(opened: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, where there is none or the EXIF is broken."""
    try:
        value = opened.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) else 1


def _as_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would clip what is above 255.
        notes.append("of 16 bits the upper 8")
        upper = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(upper.clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        clear = image.convert("RGBA")
        if int(np.asarray(clear.getchannel("A")).min()) < 255:
            notes.append("transparency laid on white")
            white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
            clear = Image.alpha_composite(white, clear)
        return clear.convert("RGB")
    if image.mode == "CMYK":
        notes.append("CMYK without colour management")
    return image if image.mode == "RGB" else image.convert("RGB")
