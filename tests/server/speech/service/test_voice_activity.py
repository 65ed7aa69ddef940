"""DetectVoiceActivity: the rules, and a real detector on a real recording over the wire, on both fronts."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile
import soxr

from cuelight.exporters.samples import RECORDING
from cuelight.server.speech.service.voice_activity import ActivityRules
from cuelight.speech.v1 import speech_pb2 as pb
from cuelight.speech.v1 import speech_pb2_grpc as pb_grpc
from tests.serve_process import FRONTS, ServeProcess, running_server

STEP_S = 0.032
RATE_HZ = 16_000
SEGMENTS = 6
"""In the recording, by the detector's own published code; see tests/clients/test_speech.py."""

Told = list[tuple[str, float]]


def told(*runs: tuple[int, float], min_silence_s: float = 0.1, min_speech_s: float = 0.25) -> Told:
    """Return the events of so many steps at each probability, and of the end."""
    rules = ActivityRules(STEP_S, 0.5, min_silence_s, min_speech_s)
    events = [rules.push(probability) for count, probability in runs for _ in range(count)]
    return [(event.kind, event.at_s / STEP_S) for event in (*events, rules.finish()) if event is not None]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([(50, 0.1)], [], id="silence"),
        pytest.param([(10, 0.1), (20, 0.9), (10, 0.1)], [("started", 10), ("ended", 30)], id="one stretch"),
        pytest.param([(10, 0.1), (7, 0.9), (10, 0.1)], [], id="too short to count"),
        pytest.param([(10, 0.9), (3, 0.1), (10, 0.9)], [("started", 0), ("ended", 23)], id="a pause too short"),
        pytest.param([(10, 0.9), (9, 0.4), (9, 0.1)], [("started", 0), ("ended", 19)], id="it goes on a little lower"),
        pytest.param([(4, 0.9), (2, 0.4), (4, 0.9), (9, 0.1)], [("started", 0), ("ended", 10)], id="a dip in it"),
        pytest.param([(10, 0.4), (10, 0.1)], [], id="it does not begin lower"),
    ],
)
def test_the_rules(runs: list[tuple[int, float]], expected: Told) -> None:
    assert told(*runs) == expected


@pytest.fixture(scope="module", params=FRONTS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, repository_of: Callable[..., Path]
) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("activity")
    models = repository_of("silero_vad")
    settings = folder / "settings.toml"
    settings.write_text("[speech]\nmax_idle_s = 1.0\n[repository]\npaths = []\n")
    arguments = ["--config", str(settings)]
    with running_server(models, folder / "log", front=request.param, arguments=arguments) as running:
        yield running


@pytest.fixture
def stub(server: ServeProcess) -> Iterator[pb_grpc.SpeechServiceStub]:
    with grpc.insecure_channel(server.target) as channel:
        yield pb_grpc.SpeechServiceStub(channel)


@pytest.fixture(scope="module")
def recording(cache_dir: Path) -> np.ndarray:
    samples, rate_hz = soundfile.read(RECORDING.fetch(cache_dir), dtype="int16")
    return np.asarray(samples if rate_hz == RATE_HZ else soxr.resample(samples, rate_hz, RATE_HZ), np.int16)


def config(rate_hz: int = RATE_HZ, **options: object) -> pb.DetectVoiceActivityRequest:
    audio = pb.AudioFormat(encoding=pb.LINEAR16, sample_rate_hz=rate_hz)
    made = pb.VoiceActivityConfig(audio=audio, **options)  # type: ignore[arg-type]
    return pb.DetectVoiceActivityRequest(config=made)


def audio(data: bytes) -> pb.DetectVoiceActivityRequest:
    return pb.DetectVoiceActivityRequest(audio=data)


def detected(
    stub: pb_grpc.SpeechServiceStub, samples: np.ndarray, message_bytes: int, first: pb.DetectVoiceActivityRequest
) -> tuple[Told, list[float], int]:
    """Return the events, the probabilities and how many milliseconds were processed."""
    data = samples.astype("<i2").tobytes()
    messages = [audio(data[at : at + message_bytes]) for at in range(0, len(data), message_bytes)]
    responses = list(stub.DetectVoiceActivity(iter([first, *messages])))
    events = [event for response in responses for event in response.events]
    kinds = [(pb.SpeechEvent.Kind.Name(event.kind), event.at_ms / 1000) for event in events]
    return kinds, [p for response in responses for p in response.probabilities], responses[-1].processed_ms


@pytest.mark.slow
def test_a_real_recording(stub: pb_grpc.SpeechServiceStub, recording: np.ndarray) -> None:
    events, probabilities, processed_ms = detected(stub, recording, 3_201, config(probabilities=True))

    assert len(probabilities) == -(-len(recording) // 512)
    assert processed_ms == len(recording) * 1000 // RATE_HZ
    assert [kind for kind, _ in events] == ["SPEECH_STARTED", "SPEECH_ENDED"] * SEGMENTS
    assert [at for _, at in events] == sorted(at for _, at in events)
    expected = told(*((1, probability) for probability in probabilities))
    assert [at for _, at in events] == pytest.approx([step * STEP_S for _, step in expected], abs=0.001)

    again = detected(stub, recording, 100_000, config())
    assert again == (events, [], processed_ms)


@pytest.mark.slow
def test_speech_is_louder_than_the_pauses_around_it(stub: pb_grpc.SpeechServiceStub, recording: np.ndarray) -> None:
    low = soxr.resample(recording, RATE_HZ, 8_000)
    events, _, _ = detected(stub, low, 1_600, config(8_000))

    times = [round(at * RATE_HZ) for _, at in events]
    assert len(times) == 2 * SEGMENTS
    levels = [float(np.abs(recording[start:end].astype(float)).mean()) for start, end in itertools.pairwise(times)]
    assert min(levels[::2]) > 3 * max(levels[1::2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requests", "code", "message"),
    [
        ([], "INVALID_ARGUMENT", "expected config as the first message, got nothing"),
        ([audio(b"12")], "INVALID_ARGUMENT", "expected config as the first message, got audio"),
        ([pb.DetectVoiceActivityRequest()], "INVALID_ARGUMENT", "got an empty message"),
        ([config(), config()], "INVALID_ARGUMENT", "config came twice"),
        ([config(), pb.DetectVoiceActivityRequest()], "INVALID_ARGUMENT", "a message without audio or config"),
        ([config(model="absent")], "NOT_FOUND", "absent"),
        ([config(threshold=1.5)], "INVALID_ARGUMENT", "threshold: got 1.5, expected 0 to 1"),
        ([config(min_speech_ms=-1)], "INVALID_ARGUMENT", "min_speech_ms: got -1, expected 0 or more"),
        ([config(0)], "INVALID_ARGUMENT", "sample_rate_hz"),
    ],
)
def test_what_is_wrong_is_named(
    stub: pb_grpc.SpeechServiceStub, requests: list[pb.DetectVoiceActivityRequest], code: str, message: str
) -> None:
    with pytest.raises(grpc.RpcError, match=message) as caught:
        list(stub.DetectVoiceActivity(iter(requests)))

    assert caught.value.code().name == code


@pytest.mark.slow
def test_a_caller_that_says_nothing_is_let_go(stub: pb_grpc.SpeechServiceStub) -> None:
    with pytest.raises(grpc.RpcError, match="no audio came for 1 s") as caught:
        list(stub.DetectVoiceActivity(itertools.chain([config()], _forever())))

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def _forever() -> Iterator[pb.DetectVoiceActivityRequest]:
    threading.Event().wait(30)
    yield from ()
