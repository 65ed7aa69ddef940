"""Which of our models a Riva client means, and what it is told of them."""

import pytest

from cuelight.server.errors import ModelNotFound
from cuelight.server.speech.riva.models import addressed, described
from cuelight.speech.v1 import speech_pb2 as pb
from tests.server.speech.riva.scripted_speech import model

MODELS = (
    model("a_voice", kind=pb.SpeechModel.VOICE_ACTIVITY, languages=["de"]),
    model("deutsch", "de"),
    model("english", "en", is_default=True),
    model("both", "en-GB", "en-US", "de-AT"),
    model("also_english", "en", kind=pb.SpeechModel.SEGMENTED),
)


@pytest.mark.parametrize(
    ("name", "language_code", "expected"),
    [
        ("", "", ("", "")),
        ("deutsch", "", ("deutsch", "")),
        ("", "en", ("english", "en")),
        ("", "en-US", ("english", "en")),
        ("", "EN_us", ("english", "en")),
        ("", "de-CH", ("both", "de-AT")),
        ("deutsch", "de-CH", ("deutsch", "de")),
        ("both", "en-us", ("both", "en-US")),
        ("both", "en-AU", ("both", "en-GB")),
        ("deutsch", "en-US", ("deutsch", "en-US")),
        ("missing", "en-US", ("missing", "en-US")),
        ("a_voice", "de", ("a_voice", "de")),
        ("", "eng", ("", "eng")),
    ],
)
def test_a_language_finds_the_model_that_speaks_it(name: str, language_code: str, expected: tuple[str, str]) -> None:
    assert addressed(MODELS, name, language_code) == expected


def test_every_recognizer_is_listed_for_both_ways_of_use() -> None:
    listed = described(MODELS, "").model_config

    assert [(entry.model_name, entry.parameters["type"]) for entry in listed] == [
        (name, kind) for name in ("deutsch", "english", "both", "also_english") for kind in ("online", "offline")
    ]


def test_parameters_say_what_the_model_can_do() -> None:
    tiny = model(
        "tiny", "en", version=3, family="nemo_ctc", sample_rate_hz=16_000, chunk_ms=160, word_times=True, phrases=True
    )

    (online, _) = described([tiny], "tiny").model_config

    assert dict(online.parameters) == {
        "type": "online",
        "language_code": "en",
        "streaming": "True",
        "sample_rate": "16000",
        "chunk_ms": "160",
        "family": "nemo_ctc",
        "version": "3",
        "word_time_offsets": "True",
        "speech_contexts": "True",
        "alternatives": "False",
        "default": "False",
    }


@pytest.mark.parametrize("name", ["missing", "a_voice"])
def test_a_model_that_recognizes_nothing_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound, match=f'no model "{name}" here that recognizes speech'):
        described(MODELS, name)


def test_a_server_without_models_lists_none() -> None:
    assert list(described([], "").model_config) == []
