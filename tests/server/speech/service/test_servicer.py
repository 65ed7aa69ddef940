"""SpeechService over the wire, on both fronts: what callers send wrongly or oddly, and what they get."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from cuelight.speech.v1 import speech_pb2 as pb
from cuelight.speech.v1 import speech_pb2_grpc as pb_grpc
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.server.speech.sherpa_models import lstm_transducer, nemo_ctc
from tests.server.speech.sherpa_reference import speech_like
from tests.server.speech.speaking import config, finals, pieces, stream, text

AUDIO = speech_like(4.0, 1)


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("speech")
    for name, write in (("nemo", nemo_ctc), ("lstm", lstm_transducer)):
        version = folder / "models" / name / "1"
        version.mkdir(parents=True)
        write(version)
    idle = ["--config", str(_settings(folder))]
    with running_server(folder / "models", folder / "log", front=request.param, arguments=idle) as running:
        yield running


def _settings(folder: Path) -> Path:
    path = folder / "settings.toml"
    path.write_text("[speech]\nmax_idle_s = 1.0\n[repository]\npaths = []\n")
    return path


@pytest.fixture
def channel(server: ServeProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target) as opened:
        yield opened


def refused(channel: grpc.Channel, requests: list[pb.StreamingRecognizeRequest]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        list(pb_grpc.SpeechServiceStub(channel).StreamingRecognize(iter(requests)))
    return caught.value.code(), caught.value.details() or ""


def first(**recognition: object) -> pb.StreamingRecognizeRequest:
    made = config("nemo")
    made.recognition.MergeFrom(pb.RecognitionConfig(**recognition))  # type: ignore[arg-type]
    return pb.StreamingRecognizeRequest(config=made)


def of_audio(**audio: object) -> pb.StreamingRecognizeRequest:
    made = pb.StreamingConfig()
    made.recognition.model = "nemo"
    made.recognition.audio.MergeFrom(pb.AudioFormat(**audio))  # type: ignore[arg-type]
    return pb.StreamingRecognizeRequest(config=made)


def audio(data: bytes) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(audio=data)


BAD = [
    ("no message", [], "expected config as the first message"),
    ("no config first", [audio(b"1234")], "expected config as the first message, got audio"),
    ("a second config", [first(), first()], "config came twice"),
    ("an empty message", [first(), pb.StreamingRecognizeRequest()], "without audio, control or config"),
    ("an empty control", [first(), pb.StreamingRecognizeRequest(control=pb.Control())], "finalize or keep_alive"),
    ("another language", [first(language="de-DE")], 'got "de-DE", model "nemo" recognizes "en"'),
    ("an encoding of the future", [of_audio(encoding=99, sample_rate_hz=16000)], "encoding"),
    ("0 Hz", [of_audio(encoding=pb.LINEAR16), audio(b"\0" * 3200)], "sample_rate_hz"),
    ("4 kHz", [of_audio(encoding=pb.LINEAR16, sample_rate_hz=4000)], "8000"),
    ("nine channels", [of_audio(encoding=pb.LINEAR16, sample_rate_hz=16000, channel_count=9)], "channel"),
    ("text as WAV", [of_audio(encoding=pb.WAV), audio(b"hello, is anybody there?" * 9)], "WAV"),
    ("text without a rate", [of_audio(), audio(b"hello, is anybody there?" * 9)], "sample_rate_hz"),
    ("too many alternatives", [first(max_alternatives=1000)], "max_alternatives: got 1000, expected 0 to 30"),
    ("a boost below 0", [first(phrases=[pb.PhraseSet(phrases=["w1"], boost=-1)])], "boost"),
    ("a share above 1", [first(endpointing=pb.EndpointingConfig(stop_threshold=2))], "endpointing.stop_threshold"),
    ("NaN", [first(), audio(np.full(1600, np.nan, "<f4").tobytes())], "not a finite|NaN|nan"),
]


@pytest.mark.parametrize(("requests", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_wrong_is_named(
    channel: grpc.Channel, requests: list[pb.StreamingRecognizeRequest], expected: str
) -> None:
    code, details = refused(channel, requests)

    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert any(part in details for part in expected.split("|")), details


def test_an_unknown_model_is_not_found(channel: grpc.Channel) -> None:
    code, details = refused(channel, [pb.StreamingRecognizeRequest(config=config("nothing"))])

    assert code == grpc.StatusCode.NOT_FOUND
    assert '"nothing"' in details


def test_a_token_that_is_none_is_refused(channel: grpc.Channel) -> None:
    code, details = refused(channel, [pb.StreamingRecognizeRequest(config=config("nemo", resume_token=b"CLV1 no"))])

    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "no token" in details


def test_how_audio_is_split_changes_nothing(channel: grpc.Channel) -> None:
    whole = finals(stream(channel, config("nemo"), pieces(AUDIO, len(AUDIO))))
    data = AUDIO[:8000].astype("<f4").tobytes()
    rest = AUDIO[8000:]
    single = [audio(data[at : at + 1]) for at in range(0, len(data))][:4001]
    odd = [*single, audio(data[4001:]), *pieces(rest, 777)]

    split = finals(stream(channel, config("nemo"), odd))

    assert text(whole) and len(text(whole).split()) > 5
    assert text(split) == text(whole)


@pytest.mark.parametrize("model", ["nemo", "lstm"])
def test_interim_results_grow_into_the_final_one(channel: grpc.Channel, model: str) -> None:
    asked = config(model, interim_results=True)
    asked.recognition.word_times = True
    responses = stream(channel, asked, pieces(AUDIO))

    interim = [result for response in responses for result in response.results if not result.is_final]
    final = finals(responses)
    assert responses[0].started.model == model and responses[0].started.model_version == 1
    assert len(interim) > 3
    assert all(text(final).startswith(one.alternatives[0].transcript) for one in interim)
    words = [word for result in final for word in result.alternatives[0].words]
    assert [word.word for word in words] == text(final).split()
    assert all(0 <= word.start_ms <= word.end_ms <= 4_000 for word in words)
    assert all(0 < result.alternatives[0].confidence <= 1 for result in final)


def test_a_stream_without_audio_ends_well(channel: grpc.Channel) -> None:
    responses = stream(channel, config("nemo"), [])

    assert responses[0].started.model == "nemo"
    assert finals(responses) == []


def test_an_utterance_that_is_ended_by_hand_is_told_at_once(channel: grpc.Channel) -> None:
    finalize = pb.StreamingRecognizeRequest(control=pb.Control(finalize=pb.Finalize()))
    half = len(AUDIO) // 2
    requests = [*pieces(AUDIO[:half]), finalize, *pieces(AUDIO[half:])]

    results = finals(stream(channel, config("nemo"), requests))

    alone = finals(stream(channel, config("nemo"), pieces(AUDIO[:half])))
    assert results[0].alternatives[0].transcript == text(alone[:1])
    assert results[0].end_ms <= 2_000 <= results[1].start_ms
    assert [result.utterance for result in results] == list(range(len(results)))


def test_silence_ends_an_utterance(channel: grpc.Channel) -> None:
    asked = config("nemo", speech_events=True)
    asked.recognition.endpointing.max_utterance_ms = 1_000

    results = finals(stream(channel, asked, pieces(AUDIO)))

    assert len(results) >= 3
    assert all(result.end_ms - result.start_ms <= 1_200 for result in results)


def test_a_recording_is_recognized_as_the_stream_is(channel: grpc.Channel) -> None:
    live = finals(stream(channel, config("nemo"), pieces(AUDIO)))
    data = AUDIO.astype("<f4").tobytes()
    request = pb.RecognizeRequest(config=config("nemo").recognition, audio=data)

    responses = list(pb_grpc.SpeechServiceStub(channel).Recognize(iter([request])))

    results = [result for response in responses for result in response.results]
    assert text(results) == text(live)
    assert responses[-1].processed_ms == 4_000


def test_a_message_of_ten_megabytes_is_taken(channel: grpc.Channel) -> None:
    made = of_audio(encoding=pb.LINEAR16, sample_rate_hz=48_000, channel_count=2)
    quiet = audio(bytes(10_000_000))

    responses = stream(channel, made.config, [quiet])

    assert responses[-1].processed_ms == pytest.approx(10_000_000 / 4 / 48, abs=1)


def test_a_stream_that_says_nothing_for_too_long_ends(channel: grpc.Channel) -> None:
    alive = pb.StreamingRecognizeRequest(control=pb.Control(keep_alive=pb.KeepAlive()))
    stub = pb_grpc.SpeechServiceStub(channel)

    def stalling() -> Iterator[pb.StreamingRecognizeRequest]:
        yield first()
        yield alive
        yield from held
        yield audio(b"")

    held = _Until()
    call = stub.StreamingRecognize(stalling())
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    held.over = True

    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "1 s" in (caught.value.details() or "")


class _Until:
    """Holds a stream open until the call has ended."""

    def __init__(self) -> None:
        self.over = False

    def __iter__(self) -> Iterator[pb.StreamingRecognizeRequest]:
        import threading  # noqa: PLC0415

        threading.Event().wait(3)
        return iter(())


def test_models_are_listed_with_what_they_can_do(channel: grpc.Channel) -> None:
    models = pb_grpc.SpeechServiceStub(channel).ListModels(pb.ListModelsRequest()).models

    assert [(model.name, model.family, model.is_default) for model in models] == [
        ("lstm", "lstm_transducer", False),
        ("nemo", "nemo_ctc", False),
    ]
    assert all(model.kind == pb.SpeechModel.STREAMING and model.sample_rate_hz == 16_000 for model in models)


def test_phrases_the_model_cannot_spell_are_named(channel: grpc.Channel) -> None:
    asked = config("nemo")
    asked.recognition.phrases.add(phrases=["w1 w2", "Zürich"], boost=3)

    responses = stream(channel, asked, pieces(AUDIO[:8000]))

    assert "Zürich" in responses[0].started.ignored["phrases"]
    assert "w1" not in responses[0].started.ignored["phrases"]
