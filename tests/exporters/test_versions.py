"""Versions in a repository: numbered one after the other, whole or not there, and nobody's is replaced."""

from dataclasses import replace
from pathlib import Path

import pytest

from cuelight.exporters.errors import ExportError
from cuelight.exporters.export import export_model
from cuelight.exporters.files_spec import FilesSpec, export_files
from cuelight.exporters.versions import new_version, put_in_place
from tests.exporters.tiny import ACCUMULATOR, DOUBLER


def test_the_next_version_is_one_more_than_the_highest_number(tmp_path: Path) -> None:
    assert new_version(tmp_path / "model") == 1
    for name in ("2", "10", "latest", ".doubler-x"):
        (tmp_path / "model" / name).mkdir(parents=True)

    assert new_version(tmp_path / "model") == 11
    assert new_version(tmp_path / "model", 3) == 3
    with pytest.raises(FileExistsError, match="model/2 exists; versions are never overwritten: the next one is 11"):
        new_version(tmp_path / "model", 2)


def test_a_version_that_somebody_else_wrote_meanwhile_stays_theirs(tmp_path: Path) -> None:
    def taken_meanwhile(cache_dir: Path) -> dict[str, bytes]:
        (tmp_path / "doubler" / "1").mkdir(parents=True)
        (tmp_path / "doubler" / "1" / "theirs").touch()
        return {}

    with pytest.raises(FileExistsError, match="doubler/1 exists; versions are never overwritten: the next one is 2"):
        export_model(replace(DOUBLER, assets=taken_meanwhile), tmp_path, tmp_path)

    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "doubler",
        "doubler/1",
        "doubler/1/theirs",
    ]


def test_what_else_goes_wrong_is_not_taken_for_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "never made", tmp_path / "model" / "1")


def test_an_asset_does_not_take_the_place_of_a_further_graph(tmp_path: Path) -> None:
    spec = replace(DOUBLER, further=(ACCUMULATOR,), assets=lambda cache_dir: {"accumulator.onnx": b"mine"})

    with pytest.raises(ExportError, match=r'asset "accumulator\.onnx": given 2 times'):
        export_model(spec, tmp_path, tmp_path)

    assert list(tmp_path.rglob("*.onnx")) == []


def test_a_repository_that_is_a_file_is_named_for_published_files_too(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    spec = FilesSpec("published", "none", lambda folder, cache_dir: "", "none", "none", ())

    with pytest.raises(ExportError, match="models is not a folder"):
        export_files(spec, tmp_path / "models", tmp_path)
