"""What lies in the model repositories: folders, versions and fingerprints, read without opening a model.

    <repository>/<model>/config.pbtxt, label files      optional
    <repository>/<model>/<version>/model.onnx, golden.npz

A version's folder is named by a whole number from 1 on, without leading zeros; other folders are no versions. A
fingerprint holds name, size, time of change and inode of every file, so that a replaced file shows even when its size
and time are the old ones.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cuelight.server.errors import ConfigError

__all__ = ["Fingerprint", "ModelFolder", "check_repositories", "find_model", "is_model_name", "scan"]

Fingerprint = tuple[tuple[str, int, int, int], ...]

_VERSION_NAME = re.compile(r"[1-9][0-9]{0,18}")
"""As in Triton, which reads versions as 64-bit integers."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """One model in one repository, as it was when it was looked at."""

    name: str
    path: Path
    versions: Mapping[int, Fingerprint]
    shared: Fingerprint
    """The files beside the version folders: configuration and labels, which belong to every version."""
    ignored: tuple[str, ...] = ()
    """Folders whose names are no versions."""
    duplicate_of: Path | None = None
    """Where a model of the same name lies too: then neither is served."""

    def fingerprint(self, version: int) -> Fingerprint:
        """Return everything a version is made of."""
        return self.shared + self.versions[version]


def check_repositories(paths: Sequence[Path]) -> None:
    """Raise ConfigError naming the first path that is no folder."""
    for path in paths:
        if not path.is_dir():
            raise ConfigError(f"model repository {path}: {'not a folder' if path.exists() else 'no such folder'}")


def scan(paths: Sequence[Path]) -> dict[str, ModelFolder]:
    """Return every model of the repositories by name; hidden folders are no models.

    Raises: OSError when a repository cannot be read (any more).
    """
    folders: dict[str, ModelFolder] = {}
    for repository in paths:
        for path in sorted(repository.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                other = folders.get(path.name)
                folders[path.name] = _model(path, other.path if other else None)
    return folders


def is_model_name(name: str) -> bool:
    """Whether a folder of a repository may be a model of that name: one part of a path, not hidden."""
    return bool(name) and not name.startswith(".") and Path(name).name == name and "\0" not in name


def find_model(paths: Sequence[Path], name: str) -> ModelFolder | None:
    """Return the model of that name, looked up afresh; None when no repository has it."""
    if not is_model_name(name):
        return None
    found = [path / name for path in paths if (path / name).is_dir()]
    return _model(found[-1], found[0] if len(found) > 1 else None) if found else None


def _model(path: Path, duplicate_of: Path | None) -> ModelFolder:
    versions: dict[int, Fingerprint] = {}
    ignored: list[str] = []
    for child in sorted(path.iterdir()):
        if not child.is_dir():
            continue
        if _VERSION_NAME.fullmatch(child.name):
            versions[int(child.name)] = _fingerprint(child)
        elif not child.name.startswith("."):
            ignored.append(child.name)
    return ModelFolder(path.name, path, versions, _fingerprint(path), tuple(ignored), duplicate_of)


def _fingerprint(folder: Path) -> Fingerprint:
    marks: list[tuple[str, int, int, int]] = []
    for path in sorted(folder.iterdir()):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # removed while we looked; the next look sees it
        if path.is_file():
            marks.append((path.name, status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(marks)
