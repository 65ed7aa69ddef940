"""Moonshine with its published weights, and real speech to try it on."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cuelight.exporters.files_spec import FilesExport
from cuelight.server.speech.voice import Samples

SPEECH = Path("../shared/data/speech")


@dataclass(frozen=True, slots=True)
class Utterance:
    """What was said, and how it sounds at 16 kHz."""

    text: str
    samples: Samples


@pytest.fixture(scope="session")
def moonshine_folder(moonshine: FilesExport) -> Path:
    """The version folder of an export."""
    return moonshine.path


@pytest.fixture(scope="session")
def utterances(pytestconfig: pytest.Config) -> list[Utterance]:
    """Utterances of LJSpeech, every fourth of those there are."""
    folder = pytestconfig.rootpath / SPEECH
    if not (folder / "manifest.jsonl").is_file():
        pytest.skip(f"no transcribed speech at {SPEECH}")
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows if row["source"] == "ljspeech"][::4][:30]
    return [Utterance(row["text"], _samples(folder / row["path"])) for row in chosen]


def _samples(path: Path) -> Samples:
    samples, rate_hz = soundfile.read(str(path), dtype="float32")
    assert rate_hz == 16_000
    return np.asarray(samples, np.float32)
