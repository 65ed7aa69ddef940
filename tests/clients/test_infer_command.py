"""`cuelight infer`: what it takes, prints and writes, and its exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cuelight.client.infer_command import main
from tests.compat.identity_models import write_repository
from tests.serve_process import ServeProcess, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("infer")
    write_repository(folder / "models")
    with running_server(folder / "models", folder / "log") as running:
        yield running


def test_values_become_what_the_model_takes(server: ServeProcess, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--input", "x=[[1,2.5,-3,0],[1,1,1,1]]", "--url", server.target]) == 0

    assert capsys.readouterr().out == "y  float32 [2, 4]  2.  5. -6.  0.  2.  2.  2.  2.\n"


def test_arrays_come_from_files_and_go_into_one(
    server: ServeProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.full((5, 4), 1.5, np.float32))
    out = tmp_path / "y.npz"

    assert main(["scale", "--input", f"x=@{tmp_path / 'x.npy'}", "--out", str(out), "--url", server.target]) == 0

    with np.load(out) as outputs:
        assert outputs["y"].tolist() == [[3.0] * 4] * 5
    assert capsys.readouterr().out.splitlines() == [
        f"y  float32 [5, 4]  {' '.join(['3.'] * 12)} ...",
        f"{out}: 1 array",
    ]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("bytes", [["a", "", "ü"]]), ("bool", [[True, False, True]]), ("int8", [[1, -2, 3]])],
)
def test_json_for_programs(
    server: ServeProcess, capsys: pytest.CaptureFixture[str], datatype: str, value: object
) -> None:
    words = [f"identity_{datatype}", "--json", "--input", f"x={json.dumps(value)}", "--url", server.target]

    assert main(words) == 0

    assert json.loads(capsys.readouterr().out) == {"y": value}


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["scale"], 2, 'model "scale" takes x FP32 [-1,4]; got no --input'),
        (["scale", "--input", "z=[[1]]"], 2, 'model "scale" takes x FP32 [-1,4]; got z'),
        (["scale", "--input", "x"], 2, '--input "x": expected NAME=@FILE.npy or NAME=JSON'),
        (["scale", "--input", "x=[[1,"], 2, '--input "x": Expecting value'),
        (["scale", "--input", "x=@nowhere.npy"], 2, "No such file or directory: 'nowhere.npy'"),
        (["scale", "--input", 'x=[["a"]]'], 2, '--input "x": expected x FP32 [-1,4]: could not convert'),
        (["identity_int8", "--input", "x=[[1,2,300]]"], 2, "expected x INT8 [-1,3]"),
        (["identity_int8", "--input", "x=[[1,2,0.5]]"], 2, "got values that it cannot hold"),
        (["identity_bf16", "--input", "x=[[1,2,3]]"], 2, "BF16 is sent from Python alone"),
        (["scale", "--input", "x=[[1,2]]"], 1, 'input "x": expected'),
        (["absent", "--input", "x=[[1,2]]"], 1, 'model "absent"'),
    ],
)
def test_what_cannot_be_done_is_said(
    server: ServeProcess, capsys: pytest.CaptureFixture[str], words: list[str], code: int, expected: str
) -> None:
    assert main([*words, "--url", server.target]) == code

    assert expected in capsys.readouterr().err
