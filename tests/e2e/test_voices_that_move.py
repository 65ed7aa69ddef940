"""Ten live streams on two servers, one of which is killed: what was said is what an undisturbed run says, once."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from cuelight.client import FINALIZE, Channel, Control
from cuelight.client.recognition import SpeechClient
from cuelight.client.speech_options import AudioFormat, Endpointing, RecognitionOptions
from cuelight.client.transcripts import RecognitionResult
from tests.serve_process import FRONTS, ServeProcess, run_cuelight, running_server
from tests.server.speech.sherpa_models import nemo_ctc
from tests.server.speech.sherpa_reference import speech_like
from tests.server.speech.speaking import RATE_HZ, config, finals, pieces, stream

STREAMS = 10
SECONDS = 6.0
UTTERANCE_MS = 1500
CHUNK_BYTES = 3200
"""100 ms of 16 bits."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    version = tmp_path / "models" / "nemo" / "1"
    version.mkdir(parents=True)
    nemo_ctc(version)
    return tmp_path / "models"


def recording(seed: int) -> bytes:
    return (speech_like(SECONDS, seed) * 32767).clip(-32768, 32767).astype("<i2").tobytes()


class Speaker(threading.Thread):
    """One caller: speaks half of what it has to say, waits to be told to go on, and keeps what it is told."""

    def __init__(self, servers: list[ServeProcess], seed: int, midway: threading.Barrier) -> None:
        super().__init__(daemon=True)
        self._servers = servers
        self._data = recording(seed)
        self._midway = midway
        self.results: list[RecognitionResult] = []
        self.moves = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        channels = [Channel(server.target) for server in self._servers]
        audio = AudioFormat(encoding="linear16", sample_rate_hz=RATE_HZ)
        options = RecognitionOptions(audio=audio, words=True, endpointing=Endpointing(max_utterance_s=1.5))
        try:
            spoken = SpeechClient(channels).stream(self._chunks(), model="nemo", options=options)
            for update in spoken:
                self.results.extend(update.finals)
            self.moves = spoken.resumes
        except BaseException as error:
            self.error = error
        finally:
            for channel in channels:
                channel.close()

    def _chunks(self) -> Iterator[bytes]:
        count = len(self._data) // CHUNK_BYTES
        for number in range(count):
            if number == count // 2:
                self._midway.wait(60)  # everyone is half-way
                self._midway.wait(60)  # the server is gone
            yield self._data[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]


def said(results: list[RecognitionResult]) -> list[tuple[str, int, int]]:
    return [(result.text, round(result.start_s * 1000), round(result.end_s * 1000)) for result in results]


def undisturbed(server: ServeProcess, seed: int) -> list[tuple[str, int, int]]:
    asked = config("nemo")
    asked.recognition.endpointing.max_utterance_ms = UTTERANCE_MS
    samples = np.frombuffer(recording(seed), "<i2").astype(np.float32) / np.float32(32768)
    with grpc.insecure_channel(server.target) as channel:
        results = finals(stream(channel, asked, pieces(samples)))
    return [(result.alternatives[0].transcript, result.start_ms, result.end_ms) for result in results]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "shut down"])
@pytest.mark.parametrize("front", FRONTS)
def test_ten_voices_outlive_their_server(tmp_path: Path, models: Path, front: str, ending: signal.Signals) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(run_cuelight("token-key").stdout)
    arguments = ["--token-key-file", str(keys)]
    with (
        running_server(models, tmp_path / "one.log", front=front, arguments=arguments) as one,
        running_server(models, tmp_path / "two.log", front=front, arguments=arguments) as two,
    ):
        midway = threading.Barrier(STREAMS + 1)
        speakers = [Speaker([one, two], seed, midway) for seed in range(STREAMS)]
        for speaker in speakers:
            speaker.start()
        midway.wait(60)
        one.signal(ending)
        one.process.wait(60)
        midway.wait(60)
        for speaker in speakers:
            speaker.join(60)

        expected = [undisturbed(two, seed) for seed in range(STREAMS)]

    assert [speaker.error for speaker in speakers] == [None] * STREAMS
    assert all(speaker.moves >= 1 for speaker in speakers)
    assert all(len(results) >= 3 for results in expected)
    assert [said(speaker.results) for speaker in speakers] == expected


@pytest.mark.parametrize("front", FRONTS)
def test_ending_an_utterance_by_hand_loses_nothing_that_comes_after(tmp_path: Path, models: Path, front: str) -> None:
    data = recording(3)
    half = len(data) // 2 // CHUNK_BYTES * CHUNK_BYTES
    audio = AudioFormat(encoding="linear16", sample_rate_hz=RATE_HZ)
    options = RecognitionOptions(audio=audio, endpointing=Endpointing(max_utterance_s=1.5))

    def chunks(*parts: bytes) -> Iterator[bytes | Control]:
        for number, part in enumerate(parts):
            if number:
                yield FINALIZE
            for start in range(0, len(part), CHUNK_BYTES):
                yield part[start : start + CHUNK_BYTES]

    with running_server(models, tmp_path / "log", front=front) as server, Channel(server.target) as channel:
        client = SpeechClient(channel)

        def heard(*parts: bytes) -> list[tuple[str, int, int]]:
            spoken = client.stream(chunks(*parts), model="nemo", options=options)
            return said([result for update in spoken for result in update.finals])

        both, first = heard(data[:half], data[half:]), heard(data[:half])

    assert [text for text, _, _ in both[: len(first)]] == [text for text, _, _ in first]
    assert both[-1][2] == round(len(data) / 2 / RATE_HZ * 1000)
    assert len(both) > len(first)
