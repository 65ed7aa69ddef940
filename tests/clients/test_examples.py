"""The examples that the demo runs, against a live server."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cuelight.exporters.registry import SPECS
from cuelight.exporters.samples import fetch_samples
from tests.serve_process import ROOT, ServeProcess, environment, running_server

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "clients" / "python" / "examples"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> dict[str, Path]:
    return fetch_samples(tmp_path_factory.mktemp("samples"), cache_dir)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repository_of: Callable[..., Path]) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("examples")
    (folder / "models").symlink_to(repository_of(*SPECS))
    with running_server(folder / "models", folder / "log") as running:
        yield running


def printed(script: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_classify_photo(server: ServeProcess, samples: dict[str, Path]) -> None:
    why = samples["photo"].with_name("why.png")

    lines = printed("classify_photo.py", str(samples["photo"]), "--url", server.target, "--why", str(why)).splitlines()

    assert lines[0].split()[:2] == ["1.", "espresso"]
    assert "espresso, by class activation" in lines[5]
    assert sum(line.count("█") for line in lines[6:]) and len(lines[6:]) == 7
    assert why.read_bytes()[1:4] == b"PNG"


def test_classify_frames(server: ServeProcess, samples: dict[str, Path]) -> None:
    *seen, total = printed("classify_frames.py", str(samples["photo"]), "--url", server.target).splitlines()

    answered, dropped = (int(word) for word in total.split() if word.isdigit())
    assert any("espresso" in line for line in seen)
    assert answered + dropped == 180


def test_detect_speech(server: ServeProcess, samples: dict[str, Path]) -> None:
    *segments, bar = printed("detect_speech.py", str(samples["recording"]), "--url", server.target).splitlines()

    assert len(segments) == 6
    assert bar.count("█") > bar.count("·") / 2 > 0


def test_tritonclient_infer(server: ServeProcess) -> None:
    out = printed("tritonclient_infer.py", "--url", server.target)

    assert "tritonclient sees: cuelight" in out
    assert "silence is speech with a probability of 0." in out


def test_detect_beats(server: ServeProcess, samples: dict[str, Path]) -> None:
    drum = printed("detect_beats.py", str(samples["music"]), "--url", server.target)
    clicks = printed("detect_beats.py", "--url", server.target)

    assert "120 beats a minute" in drum
    assert "100 beats a minute" in clicks
    assert "a click track of 20 clicks" in clicks


def test_search_texts(server: ServeProcess, tmp_path: Path) -> None:
    picture = tmp_path / "attention.png"

    said, first, *_, words, _ = printed(
        "search_texts.py", "--url", server.target, "--attention", str(picture)
    ).splitlines()

    assert "something relaxing" in said
    assert "for ages six and up" in first
    assert words.split()[5] == "queen"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_failover(server: ServeProcess, samples: dict[str, Path]) -> None:
    out = printed("failover.py", str(samples["recording"]), "--model-repository", str(server.log.parent / "models"))

    assert "kill -9 of" in out
    assert "the same bits 311 of 311" in out


def test_pronounce(server: ServeProcess) -> None:
    out = printed("pronounce.py", "blackbird", "--url", server.target).splitlines()

    assert out[0].split() == ["blackbird:", "B", "L", "AE1", "K", "B", "ER2", "D"]
    shades = [line[len("      B   ") :] for line in out[2:]]
    darkness = [[" ░▒▓█".index(shade) for shade in row] for row in shades]
    places = [row.index(max(row)) for row in darkness]
    assert len(places) == 7
    assert places == sorted(places)
