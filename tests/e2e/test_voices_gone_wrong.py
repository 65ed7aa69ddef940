"""Callers that never read, vanish, send silence for ever or come in crowds: everyone else goes on, nothing is kept."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from cuelight.speech.v1 import speech_pb2 as pb
from cuelight.speech.v1 import speech_pb2_grpc as pb_grpc
from tests.e2e.figures import Figures, settled, total
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.server.speech.sherpa_models import nemo_ctc
from tests.server.speech.sherpa_reference import speech_like
from tests.server.speech.speaking import config, finals, pieces, stream, text

AUDIO = speech_like(3.0, 5)
MINUTES = 10
KEPT_MIB = 24
"""What a stream may leave behind in buffers of allocator and transport, however long it is."""


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("speech")
    version = folder / "models" / "nemo" / "1"
    version.mkdir(parents=True)
    nemo_ctc(version)
    with running_server(folder / "models", folder / "log", front=request.param) as running:
        yield running


def first() -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(config=config("nemo", interim_results=True))


def said(server: ServeProcess) -> str:
    with grpc.insecure_channel(server.target) as channel:
        return text(finals(stream(channel, config("nemo"), pieces(AUDIO))))


def memory_mib(server: ServeProcess) -> float:
    process = psutil.Process(server.process.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 2**20


def test_callers_that_never_read_hold_nobody_up(server: ServeProcess) -> None:
    expected = said(server)
    over = threading.Event()

    def endless() -> Iterator[pb.StreamingRecognizeRequest]:
        yield first()
        while not over.is_set():
            yield from pieces(AUDIO)

    with grpc.insecure_channel(server.target) as channel:
        calls = [pb_grpc.SpeechServiceStub(channel).StreamingRecognize(endless()) for _ in range(5)]
        for call in calls:
            next(call)  # it is inside; nothing is read from now on
        assert [said(server) for _ in range(3)] == [expected] * 3
        over.set()
        for call in calls:
            call.cancel()

    assert said(server) == expected


def test_callers_that_vanish_leave_nothing_behind(server: ServeProcess) -> None:
    with grpc.insecure_channel(server.target) as channel:
        for _ in range(50):
            held = threading.Event()

            def vanishing(held: threading.Event = held) -> Iterator[pb.StreamingRecognizeRequest]:
                yield first()
                yield from pieces(AUDIO[:16_000])
                held.wait(30)

            call = pb_grpc.SpeechServiceStub(channel).StreamingRecognize(vanishing())
            next(call)
            call.cancel()
            held.set()

    figures = settled(server, lambda found: not alive(found), lambda: said(server))

    assert alive(figures) == 0


def alive(figures: Figures) -> float:
    """Return how many voices and sequences there are."""
    return total(figures, "cuelight_voices_live") + total(figures, "cuelight_sequences_live", model="nemo")


def test_long_silence_is_no_error_and_takes_no_memory(server: ServeProcess) -> None:
    made = pb.StreamingConfig()
    made.recognition.model = "nemo"
    made.recognition.audio.encoding = pb.MULAW
    made.recognition.audio.sample_rate_hz = 8_000
    minute = pb.StreamingRecognizeRequest(audio=b"\xff" * 8_000 * 60)
    with grpc.insecure_channel(server.target) as channel:
        stream(channel, made, [minute])
        before = memory_mib(server)
        responses = stream(channel, made, [minute] * MINUTES)

    assert responses[-1].processed_ms == MINUTES * 60_000
    assert memory_mib(server) - before < KEPT_MIB


def test_more_voices_than_are_allowed_are_refused_and_the_others_go_on(tmp_path: Path) -> None:
    version = tmp_path / "models" / "nemo" / "1"
    version.mkdir(parents=True)
    nemo_ctc(version)
    with (
        running_server(tmp_path / "models", tmp_path / "log", arguments=["--max-voices", "2"]) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = pb_grpc.SpeechServiceStub(channel)
        held = threading.Event()

        def waiting() -> Iterator[pb.StreamingRecognizeRequest]:
            yield first()
            held.wait(30)
            yield from pieces(AUDIO)

        inside = [stub.StreamingRecognize(waiting()) for _ in range(2)]
        for call in inside:
            next(call)
        with pytest.raises(grpc.RpcError) as caught:
            stream(channel, config("nemo"), pieces(AUDIO))
        held.set()
        heard = [text(finals(list(call))) for call in inside]

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2 voices speak" in (caught.value.details() or "")
    metadata: Any = caught.value.trailing_metadata()
    assert "grpc-retry-pushback-ms" in dict(metadata)
    assert heard[0] == heard[1] and np.all([len(one) > 5 for one in heard])
