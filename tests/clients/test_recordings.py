"""`SpeechClient` on recordings: sent again where they can be, told once. Who speaks when; which models there are."""

from pathlib import Path

import pytest

from cuelight.client import SpeechClient, Unavailable
from tests.clients.fake_speech import FakeSpeech, expected_texts, once_at, served
from tests.clients.test_recognition import AUDIO, QUICK, RAW, chunks_of, cut


@pytest.mark.parametrize("form", ["path", "bytes"])
def test_a_recording_is_sent_again_and_told_once(form: str, tmp_path: Path) -> None:
    path = tmp_path / "audio.raw"
    path.write_bytes(AUDIO)
    first, second = FakeSpeech(once_at(5000, cut)), FakeSpeech()
    with served(first) as (one, _), served(second) as (two, _):
        audio = path if form == "path" else AUDIO
        transcript = SpeechClient([one, two], policy=QUICK).transcribe(audio, model="sums", options=RAW)

    assert [result.text for result in transcript.results] == expected_texts(AUDIO)
    assert transcript.text == " ".join(expected_texts(AUDIO))
    assert transcript.duration_s == 0.5
    assert [word.text for word in transcript.words] == expected_texts(AUDIO)
    assert transcript.started is not None
    assert transcript.started.model == "sums"


def test_a_recording_in_pieces_cannot_be_sent_again() -> None:
    with (
        served(FakeSpeech(once_at(5000, cut))) as (one, _),
        served(FakeSpeech()) as (two, _),
        pytest.raises(Unavailable),
    ):
        SpeechClient([one, two]).transcribe(chunks_of(AUDIO, 500), options=RAW)


def test_a_recording_that_cannot_be_read_is_the_caller_s_to_see(tmp_path: Path) -> None:
    with served(FakeSpeech()) as (channel, _), pytest.raises(FileNotFoundError, match=r"nowhere\.wav"):
        SpeechClient(channel).transcribe(tmp_path / "nowhere.wav")


def test_voice_activity_is_told_as_it_comes() -> None:
    with served(FakeSpeech()) as (channel, _):
        client = SpeechClient(channel)
        activity = list(client.detect_voice_activity([b"ab" * 100, b"ab" * 200], threshold=0.25))

    assert [(event.kind, event.at_s) for update in activity for event in update.events] == [
        ("started", 0.2),
        ("ended", 0.4),
    ]
    assert activity[0].probabilities == (0.25,)
    assert (activity[1].step_s, activity[1].processed_s) == (0.032, 0.064)


def test_models_are_listed() -> None:
    with served(FakeSpeech()) as (channel, _):
        (model,) = SpeechClient(channel).models()

    assert (model.name, model.version, model.kind, model.chunk_s) == ("sums", 3, "streaming", 0.16)
