"""Streams of frames whose caller sends nothing, over the wire, on both fronts."""

import threading
from collections.abc import Iterator

import grpc
import pytest

from cuelight.vision.v1 import vision_pb2 as pb
from cuelight.vision.v1 import vision_pb2_grpc as pb_grpc
from tests.e2e.figures import scrape, total
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.vision_models import photo, write_colors


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("idle")
    write_colors(folder / "models")
    (folder / "settings.toml").write_text("[vision]\nmax_idle_s = 1.0\n[repository]\npaths = []\n")
    arguments = ["--config", str(folder / "settings.toml")]
    with running_server(folder / "models", folder / "log", front=request.param, arguments=arguments) as running:
        yield running


CONFIG = pb.ClassifyFramesRequest(config=pb.FramesConfig())
FRAME = pb.ClassifyFramesRequest(frame=pb.Frame(id=7, image=pb.Image(encoded=photo("red"))))


@pytest.mark.parametrize(
    ("sent", "answered", "words"),
    [([], [], "no config came for 1 s"), ([CONFIG], [], "no frame came for 1 s"), ([CONFIG, FRAME], [7], "no frame")],
    ids=["nothing", "config", "frame"],
)
def test_a_stream_that_falls_silent_is_answered_and_ended(
    server: ServeProcess, sent: list[pb.ClassifyFramesRequest], answered: list[int], words: str
) -> None:
    ended = threading.Event()

    def requests() -> Iterator[pb.ClassifyFramesRequest]:
        yield from sent
        ended.wait(60)

    with grpc.insecure_channel(server.target) as channel:
        call = pb_grpc.VisionServiceStub(channel).ClassifyFrames(requests(), timeout=60)
        got: list[int] = []
        with pytest.raises(grpc.RpcError) as caught:
            for response in call:
                got.append(response.frame_id)
        ended.set()

    assert (caught.value.code(), words in (caught.value.details() or "")) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        True,
    )
    assert got == answered
    assert total(scrape(server), "cuelight_frame_streams") == 0
