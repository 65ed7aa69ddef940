"""What is seen in repositories without opening a model."""

from pathlib import Path

import pytest

from cuelight.server.errors import ConfigError
from cuelight.server.inference.repository_scan import check_repositories, find_model, scan
from tests.scale_models import write_version


def test_models_versions_and_what_is_neither_are_told_apart(tmp_path: Path) -> None:
    for version in (1, 20):
        write_version(tmp_path, "m", version, b"model")
    for name in ("m/configs", "m/01", "m/0", "m/1a", "m/.git", ".hidden", "empty"):
        (tmp_path / name).mkdir()
    for name in ("README.md", "reports.html", "net.failed.html", "net.failed.json"):
        (tmp_path / name).write_text("no model")

    folders = scan([tmp_path])

    assert sorted(folders) == ["empty", "m"]
    assert sorted(folders["m"].versions) == [1, 20]
    assert sorted(folders["m"].ignored) == ["0", "01", "1a", "configs"]
    assert not folders["empty"].versions


def test_the_fingerprint_of_a_version_changes_with_every_file_it_is_made_of(tmp_path: Path) -> None:
    folder = write_version(tmp_path, "m", 1, b"model")
    write_version(tmp_path, "m", 2, b"model")
    seen = scan([tmp_path])["m"]

    changes = []
    for change in (
        lambda: write_version(tmp_path, "m", 1, b"other"),
        lambda: (folder / "golden.npz").write_bytes(b"vectors"),
        lambda: (folder.parent / "labels.txt").write_text("cat"),
        (folder / "golden.npz").unlink,
    ):
        before = scan([tmp_path])["m"]
        change()
        after = scan([tmp_path])["m"]
        changes.append((before.fingerprint(1) != after.fingerprint(1), before.fingerprint(2) != after.fingerprint(2)))

    assert changes == [(True, False), (True, False), (True, True), (True, False)]
    assert scan([tmp_path])["m"] != seen


def test_two_repositories_are_one_and_a_name_in_both_is_marked(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write_version(first, "only_a", 1, b"")
    write_version(first, "both", 1, b"")
    write_version(second, "both", 1, b"")

    folders = scan([first, second])

    assert folders["only_a"].duplicate_of is None
    assert folders["both"].duplicate_of == first / "both"
    assert find_model([first, second], "both") == folders["both"]
    assert find_model([first, second], "only_a") == folders["only_a"]


@pytest.mark.parametrize("name", ["", "..", ".", "m/1", "../m", "missing", ".hidden"])
def test_no_name_leads_out_of_the_repository(name: str, tmp_path: Path) -> None:
    write_version(tmp_path, "m", 1, b"")

    assert find_model([tmp_path], name) is None


def test_a_repository_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"model repository .*missing: no such folder"):
        check_repositories([tmp_path, tmp_path / "missing"])
    with pytest.raises(ConfigError, match=r"model repository .*file: not a folder"):
        check_repositories([tmp_path / "file"])
