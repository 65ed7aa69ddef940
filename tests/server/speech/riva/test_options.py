"""What a Riva client asks for, in our words."""

import math

import pytest

from cuelight.compat.riva import riva_asr_pb2 as riva
from cuelight.compat.riva import riva_audio_pb2 as riva_audio
from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.riva.options import boost_of, ignored_options, in_rivas_words, recognition_config
from cuelight.speech.v1 import speech_pb2 as pb


def translated(**fields: object) -> pb.RecognitionConfig:
    return recognition_config(riva.RecognitionConfig(**fields), "tiny", "en")  # type: ignore[arg-type]


def test_a_config_of_nothing_asks_for_defaults_alone() -> None:
    assert translated() == pb.RecognitionConfig(model="tiny", language="en", audio=pb.AudioFormat())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (riva_audio.ENCODING_UNSPECIFIED, pb.AUDIO_ENCODING_UNSPECIFIED),
        (riva_audio.LINEAR_PCM, pb.LINEAR16),
        (riva_audio.FLAC, pb.FLAC),
        (riva_audio.MULAW, pb.MULAW),
        (riva_audio.OGGOPUS, pb.OGG_OPUS),
        (riva_audio.ALAW, pb.ALAW),
    ],
)
def test_every_encoding_has_its_own(theirs: int, ours: int) -> None:
    assert translated(encoding=theirs).audio.encoding == ours


def test_no_encoding_of_riva_is_forgotten() -> None:
    for number in riva_audio.AudioEncoding.values():
        translated(encoding=number)


def test_an_encoding_that_is_none_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"encoding: expected one of ENCODING_UNSPECIFIED, LINEAR_PCM.*, got 7"):
        translated(encoding=7)


def test_rate_channels_alternatives_and_word_times_are_handed_on() -> None:
    config = translated(
        sample_rate_hertz=44_100, audio_channel_count=2, max_alternatives=3, enable_word_time_offsets=True
    )

    assert (config.audio.sample_rate_hz, config.audio.channel_count, config.audio.channel) == (44_100, 2, 0)
    assert (config.max_alternatives, config.word_times) == (3, True)


def test_endpointing_fields_keep_their_presence() -> None:
    asked = riva.EndpointingConfig(start_history=200, stop_history=800, stop_threshold=0.0, stop_history_eou=300)

    assert translated(endpointing_config=asked).endpointing == pb.EndpointingConfig(
        start_history_ms=200, stop_history_ms=800, stop_threshold=0.0, stop_history_eou_ms=300
    )


def test_every_endpointing_field_has_its_own() -> None:
    asked = riva.EndpointingConfig(
        start_history=1,
        start_threshold=0.25,
        stop_history=2,
        stop_threshold=0.5,
        stop_history_eou=3,
        stop_threshold_eou=0.75,
    )

    assert translated(endpointing_config=asked).endpointing == pb.EndpointingConfig(
        start_history_ms=1,
        start_threshold=0.25,
        stop_history_ms=2,
        stop_threshold=0.5,
        stop_history_eou_ms=3,
        stop_threshold_eou=0.75,
    )


def test_an_endpointing_config_that_did_not_come_is_not_made_up() -> None:
    assert not translated().HasField("endpointing")
    assert translated(endpointing_config=riva.EndpointingConfig()).HasField("endpointing")


@pytest.mark.parametrize(("boost", "added"), [(0, 0), (math.e - 1, 1), (math.e**2 - 1, 2), (math.e**4 - 1, 4)])
def test_a_boost_becomes_its_logarithm(boost: float, added: float) -> None:
    assert boost_of(boost) == pytest.approx(added)


def test_phrases_come_with_their_boost() -> None:
    contexts = [
        riva.SpeechContext(phrases=["Cuelight", "two words"], boost=math.e - 1),
        riva.SpeechContext(boost=9),
        riva.SpeechContext(phrases=["not this"], boost=-1),
        riva.SpeechContext(phrases=["default"]),
    ]

    first, second = translated(speech_contexts=contexts).phrases

    assert [list(first.phrases), list(second.phrases)] == [["Cuelight", "two words"], ["default"]]
    assert [first.boost, second.boost] == pytest.approx([1, 0])


@pytest.mark.parametrize("boost", [math.inf, math.nan])
def test_a_boost_that_is_no_finite_number_is_refused(boost: float) -> None:
    with pytest.raises(InvalidRequest, match="boost: expected a finite number"):
        translated(speech_contexts=[riva.SpeechContext(phrases=["x"], boost=boost)])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("profanity_filter", True),
        ("enable_automatic_punctuation", True),
        ("enable_separate_recognition_per_channel", True),
        ("diarization_config", riva.SpeakerDiarizationConfig(enable_speaker_diarization=True)),
        ("custom_configuration", {"a": "b"}),
        ("speech_contexts", [riva.SpeechContext(phrases=["x"], boost=-2)]),
    ],
)
def test_what_is_never_done_is_named(option: str, value: object) -> None:
    asked = riva.RecognitionConfig(verbatim_transcripts=True, **{option: value})  # type: ignore[arg-type]

    assert list(ignored_options(asked)) == [option]


def test_rewritten_numbers_are_asked_for_unless_transcripts_are_verbatim() -> None:
    assert list(ignored_options(riva.RecognitionConfig())) == ["verbatim_transcripts"]
    assert ignored_options(riva.RecognitionConfig(verbatim_transcripts=True)) == {}


def test_what_our_service_ignores_is_told_under_rivas_names() -> None:
    ours = {"phrases": "a", "word_times": "b", "endpointing": "c", "max_alternatives": "d"}

    assert in_rivas_words(ours) == {
        "speech_contexts": "a",
        "enable_word_time_offsets": "b",
        "endpointing_config": "c",
        "max_alternatives": "d",
    }


def test_every_name_that_is_translated_is_a_field_on_both_sides() -> None:
    ours = pb.RecognitionConfig.DESCRIPTOR.fields_by_name
    theirs = riva.RecognitionConfig.DESCRIPTOR.fields_by_name

    assert [name for name in in_rivas_words(dict.fromkeys(ours, "")) if name not in theirs] == ["decoding_method"]
