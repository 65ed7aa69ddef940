"""`cuelight transcribe` against a fake service: what it prints, what it writes, how it ends."""

import io
import json
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cuelight.client.live_text import live_text
from cuelight.client.microphone import Microphone, MicrophoneMissing
from cuelight.client.transcribe_command import main
from cuelight.client.transcripts import Alternative, RecognitionResult, SpeechUpdate
from tests.clients.fake_speech import Context, FakeSpeech, expected_texts, once_at, served
from tests.serve_process import environment

SAMPLES = bytes(index * 7 % 251 for index in range(2 * 4000))
TEXTS = expected_texts(SAMPLES)
LINES = [f"{start:8.2f}  {text}" for start, text in zip((0.0, 0.1, 0.2), TEXTS, strict=True)]


@pytest.fixture
def fake() -> FakeSpeech:
    return FakeSpeech()


@pytest.fixture
def url(fake: FakeSpeech) -> Iterator[str]:
    with served(fake) as (channel, _):
        yield channel.address


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(SAMPLES)
    return path


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = main([str(word) for word in words])
    return code, capsys.readouterr().err


def test_a_file_is_printed_line_by_line(url: str, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(recording), "--url", url]) == 0

    shown = capsys.readouterr()
    assert shown.out.splitlines() == LINES
    assert shown.err == "cuelight: note: sums ignores phrases: cannot\n"


def test_a_live_file_takes_as_long_as_it_lasts_and_shows_what_may_change(
    url: str, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recording), "--url", url, "--live", "--interim", "--words", "--model", "m"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in LINES] == LINES
    assert sum(line.startswith("     ...  ") for line in lines) >= 10
    assert f"{0.1:14.2f} to 0.20  {TEXTS[1]}" in lines


def test_subtitles_go_to_files(url: str, recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "subtitles"
    folder.mkdir()
    other = recording.with_name("other.wav")
    other.write_bytes(recording.read_bytes())

    assert main([str(recording), str(other), "--url", url, "--srt", str(folder), "--vtt", str(folder)]) == 0

    assert sorted(path.name for path in folder.iterdir()) == ["other.srt", "other.vtt", "talk.srt", "talk.vtt"]
    assert (folder / "talk.srt").read_text() == (
        f"1\n00:00:00,000 --> 00:00:00,100\n{TEXTS[0]}\n\n"
        f"2\n00:00:00,100 --> 00:00:00,200\n{TEXTS[1]}\n\n"
        f"3\n00:00:00,200 --> 00:00:01,200\n{TEXTS[2]}\n"
    )
    assert (folder / "other.vtt").read_text().startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.100\n")


def test_what_machines_read_has_standard_output_to_itself(
    url: str, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recording), "--url", url, "--json"]) == 0

    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert LINES[0] in shown.err
    assert {key: told[key] for key in ("file", "model", "language", "duration_s", "text")} == {
        "file": str(recording),
        "model": "sums",
        "language": "en-US",
        "duration_s": 0.25,
        "text": " ".join(TEXTS),
    }
    assert told["results"][1] == {
        "alternatives": [
            {
                "text": TEXTS[1],
                "confidence": 0.5,
                "words": [{"text": TEXTS[1], "start_s": 0.1, "end_s": 0.2, "confidence": 0.5}],
            }
        ],
        "is_final": True,
        "start_s": 0.1,
        "end_s": 0.2,
        "utterance": 1,
        "stability": 0.0,
    }


def test_phrases_and_language_reach_the_server(fake: FakeSpeech, url: str, recording: Path, tmp_path: Path) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("Cuelight\nquite likely\t3\n\nResume Token\n", encoding="utf-8")

    words = ["--live", "--phrases", str(phrases), "--language", "en-US", "--srt", str(tmp_path / "out.srt")]
    assert main([str(recording), "--url", url, *words]) == 0

    recognition = fake.configs[0].recognition
    assert recognition.language == "en-US"
    assert recognition.word_times
    assert [(list(found.phrases), found.boost) for found in recognition.phrases] == [
        (["Cuelight", "Resume Token"], 1.5),
        (["quite likely"], 3.0),
    ]


def test_standard_input_is_live(url: str) -> None:
    command = [sys.executable, "-m", "cuelight.server", "transcribe", "-", "--raw", "16000", "--url", url]
    done = subprocess.run(command, input=SAMPLES, env=environment(), capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == LINES


def test_the_command_needs_nothing_but_the_base_install(url: str, recording: Path) -> None:
    absent = ["rich", "sounddevice", "onnxruntime", "onnx", "av", "soxr", "prometheus_client", "cryptography", "uvloop"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); from cuelight.server.cli import main"
    command = [sys.executable, "-c", f"{code}; sys.exit(main(['transcribe', {str(recording)!r}, '--url', {url!r}]))"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == LINES


def test_a_server_that_refuses_is_a_failure_with_its_words(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(sample: int, context: Context) -> str | None:
        context.abort(grpc.StatusCode.NOT_FOUND, 'no model "m"')

    with served(FakeSpeech(once_at(0, wrong))) as (channel, _):
        assert error_of(capsys, recording, "--url", channel.address) == (
            1,
            'cuelight: note: sums ignores phrases: cannot\ncuelight: error: no model "m"\n',
        )


def test_that_no_server_answers_is_said_while_it_is_waited_for(recording: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{nobody.getsockname()[1]}"
        command = [sys.executable, "-m", "cuelight.server", "transcribe", str(recording), "--url", closed]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as waiting:
            assert waiting.stderr is not None
            said = waiting.stderr.readline()
            still_trying = waiting.poll() is None
            waiting.kill()

    assert said == f"cuelight: note: no server answers at {closed} yet; still trying\n"
    assert still_trying


def test_a_recording_that_is_none_is_named_and_the_others_are_done(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused: list[int] = []

    def wrong(sample: int, context: Context) -> str | None:
        refused.append(sample)
        if len(refused) == 1:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "audio: got text")
        return None

    other = tmp_path / "other.wav"
    other.write_bytes(recording.read_bytes())
    with served(FakeSpeech(wrong)) as (channel, _):
        code = main([str(recording), str(other), "--url", channel.address])

    shown = capsys.readouterr()
    assert code == 1
    assert f"cuelight: error: {recording}: audio: got text\n" in shown.err
    assert shown.out.splitlines() == LINES


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "expected recordings or --microphone, and not both"),
        (["a.wav", "--microphone"], "expected recordings or --microphone, and not both"),
        (["nowhere.wav"], "nowhere.wav: no such file"),
        (["-", "--srt", "-", "--json"], "only one of --srt -, --vtt - and --json can go to standard output"),
        (["a", "b", "--srt", "x"], "x: expected a folder that exists, for the subtitles of several recordings"),
        (["-", "--tls-ca", "nowhere.pem"], "[Errno 2] No such file or directory: 'nowhere.pem'"),
    ],
)
def test_a_command_line_that_cannot_be_used_says_why(
    words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of(capsys, *words) == (2, f"cuelight: error: {error}\n")


def test_a_file_of_unknown_length_cannot_be_live(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "audio.raw"
    path.write_bytes(SAMPLES)

    code, error = error_of(capsys, path, "--live", "--url", url)

    assert code == 2
    assert "--live needs a file that tells its length" in error


def test_a_boost_that_is_no_number_is_named(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("Cuelight\tmuch\n", encoding="utf-8")

    code, error = error_of(capsys, "-", "--phrases", phrases, "--url", url)

    assert code == 2
    assert error.endswith('phrases.txt, line 1: expected a number after the tab, got "much"\n')


class Terminal(io.StringIO):
    """Standard output that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_what_may_change_and_keeps_what_is_final() -> None:
    out = Terminal()
    interim = RecognitionResult((Alternative("hello wor"),), False, 0.5, 1.0)
    final = RecognitionResult((Alternative("hello world"),), True, 0.5, 1.5)

    with live_text(out, interim=None, words=False, duration_s=12.0) as view:
        view.show(SpeechUpdate((interim,), processed_s=1.0))
        view.show(SpeechUpdate((final,), processed_s=1.5))

    shown = out.getvalue()
    assert "1.50 of 12.00 s" in shown
    assert "hello world" in shown.rsplit("1.50 of", 1)[0]


class Recorder:
    """A library that records: two chunks, then the caller says stop."""

    def __init__(self) -> None:
        self.microphone: Microphone | None = None
        self.asked: dict[str, Any] = {}

    def RawInputStream(self, **asked: Any) -> "Recorder":
        self.asked = asked
        return self

    def __enter__(self) -> None:
        for chunk in (b"ab", b"cd"):
            self.asked["callback"](memoryview(chunk), 1, None, None)
        assert self.microphone is not None
        self.microphone.stop()

    def __exit__(self, *exception: object) -> None:
        pass


def test_the_microphone_ends_when_it_is_told_to() -> None:
    recorder = Recorder()
    recorder.microphone = Microphone(recorder)

    assert list(recorder.microphone) == [b"ab", b"cd"]
    assert (recorder.asked["samplerate"], recorder.asked["dtype"]) == (16_000, "int16")


def test_without_its_library_the_microphone_says_what_to_install() -> None:
    code = "import sys; sys.modules['sounddevice'] = None; from cuelight.server.cli import main"
    command = [sys.executable, "-c", f"{code}; sys.exit(main(['transcribe', '--microphone']))"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert 'pip install "cuelight[microphone]"' in done.stderr


def test_a_microphone_that_cannot_be_opened_says_so() -> None:
    with pytest.raises(MicrophoneMissing, match="no microphone can be opened"):
        list(Microphone(object()))
