"""`cuelight classify`: what it prints, what it writes, and its exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from cuelight.client.classify_command import main
from tests.serve_process import ServeProcess, running_server
from tests.vision_models import SIZE, photo, write_colors


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("classify")
    write_colors(folder / "models")
    with running_server(folder / "models", folder / "log") as running:
        yield running


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    path.write_bytes(photo("red"))
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.png"
    path.write_bytes(photo("red")[:50])
    return path


def test_a_table_for_people(server: ServeProcess, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(red), "--url", server.target, "--top-k", "2"]) == 0

    head, first, second = capsys.readouterr().out.splitlines()
    assert head == f"{red}  (PNG 16 x 16; colors 1)"
    # Logits 10, 1 and 2: e^10 / (e^10 + e + e^2) and e^2 of the same.
    assert first == "   1. red   100.0%  " + "█" * 40
    assert second == "   2. blue    0.0%"


def test_json_for_programs_with_the_reason(
    server: ServeProcess, red: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "why.png"

    assert main([str(red), "--url", server.target, "--json", "--explain", str(out), "--target", "blue"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["model"], told["image"]["width"]) == (str(red), "colors", 16)
    assert [label["label"] for label in told["labels"]] == ["red", "blue", "green"]
    assert told["explanation"]["label"]["label"] == "blue"
    assert told["explanation"]["values"] == [[0.0] * SIZE] * SIZE
    with Image.open(out) as drawn:
        assert drawn.size == (16, 16)


def test_several_photos_go_into_a_folder_and_a_bad_one_is_named(
    server: ServeProcess, red: Path, broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.png"
    again.write_bytes(red.read_bytes())

    code = main([str(red), str(broken), str(again), "--url", server.target, "--explain", str(tmp_path)])

    printed = capsys.readouterr()
    assert code == 1
    assert f"cuelight: error: {broken}: a PNG file that cannot be decoded" in printed.err
    assert printed.out.count("why red: ") == 2
    assert (tmp_path / "red_explained.png").is_file() and (tmp_path / "again_explained.png").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothere.png"], "nothere.png: no such file"),
        (["RED", "--top-k", "0"], "--top-k: got 0, expected 1 or more"),
        (["RED", "--target", "red"], "--target and --method go with --explain"),
        (["RED", "RED", "--explain", "one.png"], "one.png: expected a folder that exists"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    words: list[str], expected: str, red: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(red) if word == "RED" else word for word in words]) == 2
    assert expected in capsys.readouterr().err


def test_what_the_server_refuses_is_told(server: ServeProcess, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(red), "--url", server.target, "--model", "mauve"]) == 1
    assert '"mauve"' in capsys.readouterr().err
