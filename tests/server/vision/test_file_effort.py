"""Files that ask for more work than their size tells are refused by their parts, before anything is decoded."""

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest
from cuelight.server.vision.pictures import ImageLimits, Picture, picture_of
from cuelight.vision.v1 import vision_pb2 as pb
from tests.vision_models import encoded

LIMITS = ImageLimits(10_000_000, 10_000)


def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def decoded(data: bytes) -> Picture:
    return picture_of(pb.Image(encoded=data), LIMITS)


def refused(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(InvalidRequest) as caught:
        picture_of(pb.Image(encoded=data), limits)
    return caught.value.message


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]

    assert decoded(data).image.size == (80, 60)
    many = refused(data[:-2] + scan * 120 + data[-2:])
    assert many == "a JPEG of more than 100 scans"


def test_scans_that_a_marker_without_length_seems_to_skip_count() -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]

    # TEM stands alone: what follows it is no length.
    hidden = data[:-2] + b"\xff\x01\xff\xff" + scan * 120 + data[-2:]

    assert refused(hidden) == "a JPEG of more than 100 scans"


def test_a_large_jpeg_may_have_fewer_scans_than_a_small_one() -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    size = data.index(b"\xff\xc2") + 5
    scan = data[data.rindex(b"\xff\xda") : -2]
    large = data[:size] + (4000).to_bytes(2) + (5000).to_bytes(2) + data[size + 4 : -2] + scan * 20 + data[-2:]

    assert refused(large, ImageLimits(10_000_000, 25_000_000)) == "a JPEG of more than 20 scans"


def test_a_jpeg_of_endless_segments_is_refused() -> None:
    data = encoded(noise(), "JPEG")

    assert decoded(data[:2] + b"\xff\xfe\x00\x02" * 1_900 + data[2:]).image.size == (80, 60)
    assert refused(data[:2] + b"\xff\xfe\x00\x02" * 2_100 + data[2:]) == "a JPEG of more than 2000 segments"


def test_a_png_of_endless_chunks_is_refused() -> None:
    data = encoded(noise())
    empty = b"\0\0\0\0abCd" + zlib.crc32(b"abCd").to_bytes(4)

    assert decoded(data[:33] + empty * 19_000 + data[33:]).image.size == (80, 60)
    assert refused(data[:33] + empty * 21_000 + data[33:]) == "a PNG of more than 20000 chunks"


@pytest.mark.parametrize("before", range(4))
def test_a_marker_is_found_wherever_it_lies(before: int) -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    stuffed = b"\x00" * ((1 << 20) - before - len(data) + 2)

    many = data[:-2] + stuffed + scan * 120 + data[-2:]

    assert refused(many) == "a JPEG of more than 100 scans"
