"""A model is replaced while somebody speaks: the voice goes on with the one it began with, the next has the new one."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import soundfile

from cuelight.inference.v2 import open_inference_pb2 as inference
from cuelight.inference.v2 import open_inference_pb2_grpc as inference_grpc
from cuelight.speech.v1 import speech_pb2 as pb
from tests.serve_process import FRONTS, running_server
from tests.server.speech.real_models import RECORDING_TEXT, speech_repository
from tests.server.speech.sherpa_models import nemo_ctc
from tests.server.speech.speaking import config, finals, pieces, stream, text
from tests.word_errors import word_error_rate

MODELS = ("nemo", "moonshine_tiny_en")
MOST_ERRORS = 0.2
"""As in tests/compat/test_riva_live.py."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, recording = speech_repository(tmp_path_factory.mktemp("models"))
    (folder / "nemo" / "1").mkdir(parents=True)
    nemo_ctc(folder / "nemo" / "1")
    return folder, recording


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_a_voice_keeps_its_model(front: str, models: tuple[Path, Path], tmp_path: Path) -> None:
    repository = shutil.copytree(models[0], tmp_path / "models")
    samples, _ = soundfile.read(models[1], dtype="float32")
    arguments = ["--model-control-mode", "explicit", "--load-model", "*"]
    heard: dict[str, list[pb.StreamingRecognizeResponse]] = {}
    half_way, replaced = threading.Barrier(len(MODELS) + 1), threading.Event()

    def speech() -> Iterator[pb.StreamingRecognizeRequest]:
        messages = list(pieces(samples))
        yield from messages[: len(messages) // 2]
        half_way.wait(60)
        assert replaced.wait(60)
        yield from messages[len(messages) // 2 :]

    with (
        running_server(repository, tmp_path / "log", front=front, arguments=arguments) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        undisturbed = {name: stream(channel, config(name), pieces(samples)) for name in MODELS}

        def speak(name: str) -> None:
            heard[name] = stream(channel, config(name), speech())

        speakers = [threading.Thread(target=speak, args=(name,), daemon=True) for name in MODELS]
        for speaker in speakers:
            speaker.start()
        half_way.wait(60)
        stub = inference_grpc.GRPCInferenceServiceStub(channel)
        for name in MODELS:
            shutil.copytree(repository / name / "1", repository / name / "2")
            stub.RepositoryModelLoad(inference.RepositoryModelLoadRequest(model_name=name), timeout=60)
        replaced.set()
        for speaker in speakers:
            speaker.join(120)
        later = {name: stream(channel, config(name), pieces(samples)) for name in MODELS}

    for name in MODELS:
        assert (heard[name][0].started.model_version, later[name][0].started.model_version) == (1, 2)
        assert text(finals(heard[name])) == text(finals(undisturbed[name])) == text(finals(later[name]))
    assert word_error_rate([RECORDING_TEXT], [text(finals(heard["moonshine_tiny_en"]))]) <= MOST_ERRORS
