"""Images that no camera takes, through the real process on both fronts: named for what they are, and the next too."""

import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from cuelight.client import Channel, Frame, InvalidRequest, RetryPolicy, VisionClient
from tests.serve_process import FRONTS, running_server
from tests.server.vision.png_files import png_file
from tests.vision_models import encoded, photo, plain, write_colors

KINDS = ("PNG", "JPEG", "WEBP")
ONCE = RetryPolicy(max_attempts=1)
COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module", params=FRONTS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisionClient]:
    folder = tmp_path_factory.mktemp("awkward")
    write_colors(folder / "models")
    with (
        running_server(folder / "models", folder / "log", front=str(request.param)) as server,
        Channel(server.target, retries=ONCE) as channel,
    ):
        yield VisionClient(channel)
        assert "Traceback" not in server.whole_log()


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(plain(color)) for color in COLORS]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def cmyk_red() -> bytes:
    return encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")


def noise(kind: str) -> bytes:
    return encoded(np.random.default_rng(7).integers(0, 256, (60, 80, 3), np.uint8), kind)


TAKEN = {
    **{f"one pixel of {kind}": (encoded(plain("red", 1, 1), kind), kind, 1, ()) for kind in KINDS},
    "CMYK": (cmyk_red(), "JPEG", 1, ("CMYK without colour management",)),
    **{f"animated {kind}": (animated(kind), kind, 3, ("the first of 3 frames",)) for kind in ("PNG", "WEBP")},
}


@pytest.mark.parametrize(("data", "kind", "frames", "notes"), TAKEN.values(), ids=TAKEN)
def test_what_is_odd_but_an_image_is_named(
    client: VisionClient, data: bytes, kind: str, frames: int, notes: tuple[str, ...]
) -> None:
    result = client.classify(data)

    assert result.labels[0].label == "red"
    assert result.info is not None
    assert (result.info.format, result.info.frame_count, result.info.notes) == (kind, frames, notes)


def black(width: int, height: int) -> bytes:
    """Return a PNG of one bit a pixel that holds all that its header says, in a few hundred kilobytes."""
    packer = zlib.compressobj(1)
    line = bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(line) for _ in range(height))
    return png_file(width, height, packed + packer.flush(), bits=1, color=0)


REFUSED = {
    **{f"{kind} cut at a tenth": (noise(kind)[: len(noise(kind)) // 10], f"a {kind} file ") for kind in KINDS},
    **{f"{kind} cut in the middle": (noise(kind)[: len(noise(kind)) // 2], f"a {kind} file ") for kind in KINDS},
    "animated GIF": (animated("GIF"), "expected a JPEG, PNG or WebP file, got GIF"),
    "no bytes": (b"", "expected a JPEG, PNG or WebP file, got no bytes"),
    "30,000 x 30,000": (black(30_000, 30_000), "30000 x 30000 pixels are 900000000, the limit is "),
}


@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_by_name_and_the_next_is_answered(
    client: VisionClient, data: bytes, said: str
) -> None:
    with pytest.raises(InvalidRequest) as alone:
        client.classify(data)
    first, bad, last = client.classify_many([photo("green"), data, photo("blue")], top_k=1)

    assert alone.value.args[0].startswith(f"image 0: {said}")
    assert str(bad.error).startswith(f"image 1: {said}")
    assert [result.labels[0].label for result in (first, last)] == ["green", "blue"]
    with pytest.raises(InvalidRequest):
        client.embed(data)
    with pytest.raises(InvalidRequest):
        client.explain(data)


def test_a_stream_of_frames_goes_on_over_all_of_them(client: VisionClient) -> None:
    for data, said in REFUSED.values():
        frames = iter([Frame(photo("red"), 1), Frame(data, 2), Frame(photo("green"), 3)])

        answers = {answer.id: answer.result for answer in client.classify_frames(frames, max_waiting=3)}

        assert answers[1].labels[0].label == "red"
        assert said in str(answers[2].error)
        assert answers[3].labels[0].label == "green"
