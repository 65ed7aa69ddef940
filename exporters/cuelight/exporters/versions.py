"""The versions of a model in a repository: which is the next, and how one is put there in a single step."""

import os
from pathlib import Path

from cuelight.exporters.errors import ExportError

__all__ = ["check_writable", "new_version", "put_in_place"]


def new_version(folder: Path, version: int | None = None) -> int:
    """Return the number of the version to write into a model's folder: the one asked for, or the next.

    Raises: FileExistsError when it is there already.
    """
    numbers = [int(path.name) for path in folder.glob("*") if path.is_dir() and path.name.isdecimal()]
    following = max(numbers, default=0) + 1
    if version is None:
        return following
    if (folder / str(version)).exists():
        raise FileExistsError(_exists(folder / str(version), following))
    return version


def check_writable(repository: Path) -> None:
    """Raise ExportError when the repository, or the folder it is to be made in, cannot be written to."""
    existing = repository
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ExportError(f"repository {repository}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ExportError(f"repository {repository}: no right to write to {existing}")


def put_in_place(ready: Path, target: Path) -> None:
    """Rename a folder of finished files to a version, so that a polling server never sees half of one.

    Raises: FileExistsError when somebody else has put the version there meanwhile.
    """
    target.parent.mkdir(exist_ok=True)
    try:
        ready.rename(target)
    except OSError as error:
        if target.exists():
            raise FileExistsError(_exists(target, new_version(target.parent))) from error
        raise


def _exists(target: Path, following: int) -> str:
    return f"{target} exists; versions are never overwritten: the next one is {following}"
