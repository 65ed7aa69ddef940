"""NVIDIA's Riva client, unmodified and in processes of its own: its command line clients, and its library.

`riva_url` is the server under test and `recording` what is said to it: whoever points the first at real models points
the second at real speech.
"""

import hashlib
import json
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.compat.counting_speech import MODEL, NUMBERS, WORD_MS
from tests.compat.riva_client import (
    SHA256,
    client_environment,
    finals,
    interims,
    path_of,
    run_script,
    timed_finals,
    timed_words,
)
from tests.serve_process import FRONTS
from tests.server.rpc.conftest import Server
from tests.word_errors import word_error_rate

CHECKS = Path(__file__).with_name("riva_checks.py")
CHECKS_TIMEOUT_S = 240
CLIENTS = 8
RATE_HZ = 16_000
WORDS = 6

CHECKED = [
    "a_future_brings_the_same",
    "a_recording_of_sixty_megabytes",
    "a_region_is_passed_over",
    "an_unknown_model_is_not_listed",
    "asyncio_streams_work_too",
    "force_eou_ends_the_utterance_and_not_the_stream",
    "models_are_listed_for_both_ways_of_use",
    "raw_samples_at_odd_splits",
    "refusals_have_the_codes_that_scripts_expect",
    "request_ids_come_back",
    "streamed_and_whole_say_the_same",
    "the_command_line_exits_as_nvidia_says",
    "the_last_result_has_taken_all_the_audio",
    "what_is_left_out_is_told_at_the_end",
    "words_have_milliseconds_of_the_stream",
]


@dataclass(frozen=True)
class Recording:
    """A WAV file, what is said in it, the model that hears it, and the word error that it is forgiven."""

    path: Path
    text: str
    model: str
    word_error: float = 0.0

    def is_heard_in(self, text: str) -> bool:
        """Whether these are the words, whatever their case and punctuation."""
        return word_error_rate([self.text], [text]) <= self.word_error


@pytest.fixture(scope="module", params=FRONTS)
def riva_url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = Server(request.param, factory="tests.compat.counting_speech:build").ready()
    yield server.target()
    code, said = server.stop()
    assert code == 0, said


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("riva") / "recording.wav"
    with wave.open(str(path), "wb") as writer:
        writer.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        writer.writeframes(bytes(2 * RATE_HZ * (WORDS * WORD_MS + 100) // 1000))
    return Recording(path, " ".join(NUMBERS[:WORDS]), MODEL.name)


@pytest.mark.parametrize("script", SHA256)
def test_the_scripts_are_as_nvidia_wrote_them(script: str) -> None:
    if not path_of(script).is_file():
        pytest.skip("NVIDIA's scripts are not here; see riva_client.py")

    assert hashlib.sha256(path_of(script).read_bytes()).hexdigest() == SHA256[script]


def test_transcribe_file_prints_the_words(riva_url: str, recording: Recording, tmp_path: Path) -> None:
    printed = run_script("transcribe_file", riva_url, tmp_path, "--input-file", str(recording.path))

    assert recording.is_heard_in(" ".join(finals(printed)))


def test_transcribe_file_shows_words_while_they_are_spoken(riva_url: str, recording: Recording, tmp_path: Path) -> None:
    arguments = ("--input-file", str(recording.path), "--show-intermediate", "--simulate-realtime")

    printed = run_script("transcribe_file", riva_url, tmp_path, *arguments)

    assert len(interims(printed)) >= 2
    assert recording.is_heard_in(" ".join(finals(printed)))
    assert printed.index(">> ") < printed.index("## ")


def test_transcribe_file_prints_when_each_word_was_said(riva_url: str, recording: Recording, tmp_path: Path) -> None:
    arguments = ("--input-file", str(recording.path), "--word-time-offsets")

    printed = run_script("transcribe_file", riva_url, tmp_path, *arguments)

    words = timed_words(printed)
    assert recording.is_heard_in(" ".join(timed_finals(printed)))
    assert " ".join(word for word, *_ in words) == " ".join(timed_finals(printed))
    assert all(start <= end for _, start, end, _ in words)
    assert all(0 < confidence <= 1 for *_, confidence in words)


def test_transcribe_file_prints_confidence_and_stability(riva_url: str, recording: Recording, tmp_path: Path) -> None:
    arguments = ("--input-file", str(recording.path), "--print-confidence")

    printed = run_script("transcribe_file", riva_url, tmp_path, *arguments)

    assert "Confidence:    0." in printed
    assert "Stability:    0." in printed


@pytest.mark.parametrize("script", ["transcribe_file", "transcribe_file_offline"])
def test_the_scripts_list_the_model(riva_url: str, recording: Recording, tmp_path: Path, script: str) -> None:
    printed = run_script(script, riva_url, tmp_path, "--list-models")

    assert f"{{'model': ['{recording.model}']}}" in printed
    assert "'en': " in printed


def test_every_option_of_recognition_is_taken(riva_url: str, recording: Recording, tmp_path: Path) -> None:
    options = (
        *("--model-name", recording.model, "--language-code", "en-US", "--profanity-filter"),
        *("--automatic-punctuation", "--no-verbatim-transcripts", "--speaker-diarization"),
        *("--boosted-lm-words", "Cuelight", "--boosted-lm-score", "20", "--custom-configuration", "a:b"),
        *("--stop-history", "10000", "--stop-threshold", "0.99", "--start-history", "200"),
        *("--start-threshold", "0.1", "--stop-history-eou", "9000", "--stop-threshold-eou", "0.99"),
        *("--max-alternatives", "2", "--diarization-max-speakers", "2"),
    )

    printed = run_script("transcribe_file", riva_url, tmp_path, "--input-file", str(recording.path), *options)

    assert recording.is_heard_in(" ".join(timed_finals(printed)))


def test_transcribe_file_offline_prints_the_words(riva_url: str, recording: Recording, tmp_path: Path) -> None:
    arguments = ("--input-file", str(recording.path), "--max-alternatives", "3", "--word-time-offsets")

    printed = run_script("transcribe_file_offline", riva_url, tmp_path, *arguments)

    _, _, text = printed.partition("Final transcript: ")
    assert recording.is_heard_in(text)


def test_eight_streams_at_once_in_real_time_each_get_the_words(
    riva_url: str, recording: Recording, tmp_path: Path
) -> None:
    arguments = ("--input-file", str(recording.path), "--num-clients", str(CLIENTS), "--simulate-realtime")

    run_script("riva_streaming_asr_client", riva_url, tmp_path, *arguments)

    written = [(tmp_path / f"output_{index}.txt").read_text() for index in range(CLIENTS)]
    assert [recording.is_heard_in(" ".join(timed_finals(printed))) for printed in written] == [True] * CLIENTS
    assert all(">>>Time" in printed for printed in written)


@pytest.fixture(scope="module")
def outcomes(riva_url: str, recording: Recording) -> dict[str, str]:
    command = [sys.executable, str(CHECKS), riva_url, str(recording.path)]
    done = subprocess.run(
        command, env=client_environment(), capture_output=True, text=True, timeout=CHECKS_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("check", CHECKED)
def test_the_library_works_unchanged(outcomes: dict[str, str], check: str) -> None:
    assert outcomes[check] == "ok", outcomes[check]


def test_no_check_of_the_library_is_forgotten(outcomes: dict[str, str]) -> None:
    assert sorted(outcomes) == CHECKED
