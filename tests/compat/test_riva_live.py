"""NVIDIA's client against the real server with a real model and real speech: the words are right."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.riva_client import client_environment, finals, run_script
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.server.speech.real_models import RECORDING_TEXT, SPEECH_DATA, speech_repository
from tests.word_errors import word_error_rate

WORDS = Path(__file__).with_name("riva_words.py")
CLIENTS = 8
MOST_ERRORS = 0.2
"""The model is a tiny one, and the recording's utterances are of two words each: it takes some "fail" for "fare"."""
READ = 6


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return speech_repository(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module", params=FRONTS)
def server(
    request: pytest.FixtureRequest, models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    log = tmp_path_factory.mktemp("log") / "log"
    with running_server(models[0], log, front=request.param) as running:
        yield running


def errors(heard: str, said: str) -> float:
    return word_error_rate([said], [heard])


def heard_by_the_library(server: ServeProcess, way: str, *paths: Path) -> list[tuple[str, int]]:
    """Return what nvidia-riva-client hears, in a process of its own: its names clash with the server's."""
    command = [sys.executable, str(WORDS), server.target, way, *map(str, paths)]
    done = subprocess.run(command, env=client_environment(), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return [(text, interim) for text, interim in json.loads(done.stdout)]


def test_the_library_streams_a_recording(server: ServeProcess, models: tuple[Path, Path]) -> None:
    ((said, interim),) = heard_by_the_library(server, "live", models[1])

    assert errors(said, RECORDING_TEXT) <= MOST_ERRORS
    assert interim > 0


def test_the_library_recognizes_a_recording_whole(server: ServeProcess, models: tuple[Path, Path]) -> None:
    ((said, _),) = heard_by_the_library(server, "offline", models[1])

    assert errors(said, RECORDING_TEXT) <= MOST_ERRORS


@pytest.mark.parametrize("script", ["transcribe_file", "transcribe_file_offline"])
def test_the_scripts_transcribe_what_was_read(
    server: ServeProcess, models: tuple[Path, Path], tmp_path: Path, script: str
) -> None:
    printed = run_script(script, server.target, tmp_path, "--input-file", str(models[1]))

    said = " ".join(finals(printed)) if script == "transcribe_file" else printed.split("Final transcript:")[1]
    assert errors(said, RECORDING_TEXT) <= MOST_ERRORS
    assert said.strip().lower().endswith("better.")


def test_eight_clients_speak_at_once_in_real_time(
    server: ServeProcess, models: tuple[Path, Path], tmp_path: Path
) -> None:
    arguments = ("--input-file", str(models[1]), "--num-clients", str(CLIENTS), "--simulate-realtime")

    run_script("riva_streaming_asr_client", server.target, tmp_path, *arguments)

    outputs = sorted(tmp_path.glob("output_*.txt"))
    assert len(outputs) == CLIENTS
    for output in outputs:
        last = [line for line in output.read_text(encoding="utf-8").lower().splitlines() if "better" in line]
        assert last, output.read_text(encoding="utf-8")


def test_utterances_of_a_reader_are_right_to_the_last_word(server: ServeProcess) -> None:
    manifest = SPEECH_DATA / "manifest.jsonl"
    if not manifest.is_file():
        pytest.skip("no transcribed speech beside the project")
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["source"] == "ljspeech"][:READ]

    heard = heard_by_the_library(server, "stream", *(SPEECH_DATA / row["path"] for row in rows))

    assert sum(errors(one, row["text"]) for (one, _), row in zip(heard, rows, strict=True)) / READ <= 0.15
