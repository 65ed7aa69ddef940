"""The speech examples, against a service whose words are known."""

import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.fake_speech import FakeSpeech, expected_texts, once_at, served
from tests.clients.test_recognition import cut
from tests.serve_process import ROOT, environment

SAMPLES = bytes(index * 7 % 251 for index in range(2 * 4000))
TEXTS = expected_texts(SAMPLES)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(SAMPLES)
    return path


@pytest.fixture
def url() -> Iterator[str]:
    with served(FakeSpeech()) as (channel, _):
        yield channel.address


def printed(script: str, *words: str) -> list[str]:
    command = [sys.executable, str(ROOT / "clients" / "python" / "examples" / script), *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_captions_are_written_beside_the_recording(recording: Path, url: str) -> None:
    assert printed("captions.py", str(recording), url) == [" ".join(TEXTS)]

    assert recording.with_suffix(".srt").read_text().startswith(f"1\n00:00:00,000 --> 00:00:00,100\n{TEXTS[0]}\n\n2\n")


def test_a_recording_is_transcribed_live_and_its_word_error_is_told(recording: Path, url: str) -> None:
    *lines, facts, error = printed(
        "transcribe_live.py",
        str(recording),
        "--url",
        url,
        "--text",
        f"{TEXTS[0]} wrong, {TEXTS[1].upper()}; and {TEXTS[2]}!",
    )

    assert [line.split()[1] for line in lines] == TEXTS
    assert facts.startswith("  0.25 s of audio; final ")
    assert error == "  word error 40.0%: 2 of 5 words"


def test_a_live_transcript_goes_on_at_the_next_server(recording: Path, url: str) -> None:
    with served(FakeSpeech(once_at(2000, cut))) as (first, _):
        *lines, _ = printed("transcribe_live.py", str(recording), "--url", first.address, "--url", url)

    assert [line.split()[1] for line in lines] == TEXTS
