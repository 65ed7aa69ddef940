"""What stands beside a trained model: what it was trained on, and the items it knows. Nothing of any user.

    DIR/models/sequential/3/model.onnx, last.onnx, golden.npz, item_vectors.npy, trained.json, report.html, report.json
    DIR/models/sequential/training-100000-2.ckpt      a training under way: its stamp is in its name
    DIR/models/.sequential-100000-2/                  a version in the making, which is put together there; likewise

A version is renamed into place whole; the highest number is the newest. What has its stamp in its name tells from the
first moment on whom it may know: a server that finds it leaves it alone, or deletes it with whom it knows.
"""

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "MANIFEST_NAME",
    "UNKNOWN_STAMP",
    "Kept",
    "Manifest",
    "Stamp",
    "checkpoint_path",
    "delete_version",
    "kept_in",
    "making_folder",
    "models_folder",
    "read_manifest",
]

MANIFEST_NAME = "trained.json"
_SCHEMA = 1
_DELETED = ".deleted"
_CHECKPOINT = re.compile(r"training-(\d+)-(\d+)\.ckpt(\.new)?")
_MAKING = re.compile(r"\.[^-]+-(\d+)-(\d+)(\.deleted)?")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the store was when it was read: enough to tell whether somebody who was in it was forgotten since."""

    last_event: int
    """Number of the last event trained on."""
    forgettings: int
    """How often somebody had been forgotten by then."""


UNKNOWN_STAMP = Stamp(2**62, 0)
"""Of what says nothing of itself: it may know everybody, and has heard of no forgetting."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A version, or what a training under way keeps. `inode` and `mtime_ns` tell a folder from one of the same name."""

    path: Path
    stamp: Stamp
    is_version: bool
    inode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """`items` are the ids of the items trained on, in the order of the model's numbers; `length` the longest row."""

    stamp: Stamp
    items: tuple[str, ...]
    length: int
    min_value: float
    """From here on a value was a like."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Of the training, and on the likes that it left out to choose its length."""

    def as_json(self) -> bytes:
        """Return the file's content."""
        return json.dumps({"schema": _SCHEMA, **asdict(self)}, indent=1).encode()


def models_folder(data: Path) -> Path:
    """Return the folder of everything that was trained for a data folder."""
    return data / "models"


def kept_in(folder: Path) -> list[Kept]:
    """Return a model's versions, the newest first, and then what trainings keep; nothing where there is no folder."""
    versions = [path for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()]
    trainings = [(path, match) for path in folder.glob("training-*") if (match := _CHECKPOINT.fullmatch(path.name))]
    # A version in the making; a deletion, or an export, that was cut short.
    leftovers = [*folder.glob(".*.deleted"), *folder.parent.glob(f".{folder.name}-*")]
    stamped = [
        *((path, _stamp_of(path)) for path in sorted(versions, key=lambda path: -int(path.name))),
        *((path, Stamp(int(match[1]), int(match[2]))) for path, match in trainings),
        *((path, _stamp_of(path)) for path in leftovers),
    ]
    kept = []
    for path, stamp in stamped:
        with suppress(FileNotFoundError):  # a training replaces them meanwhile
            status = path.stat()
            kept.append(Kept(path, stamp, path in versions, status.st_ino, status.st_mtime_ns))
    return kept


def _stamp_of(version: Path) -> Stamp:
    if named := _MAKING.fullmatch(version.name):
        return Stamp(int(named[1]), int(named[2]))
    try:
        return read_manifest(version).stamp
    except (OSError, ValueError):
        return UNKNOWN_STAMP


def read_manifest(version: Path) -> Manifest:
    """Read what stands beside a version. Raises: OSError; ValueError naming the file and what is wrong with it."""
    path = version / MANIFEST_NAME
    try:
        told = json.loads(path.read_bytes())
        if told["schema"] != _SCHEMA:
            raise ValueError(f"schema: got {told['schema']}, expected {_SCHEMA}")
        stamp = Stamp(int(told["stamp"]["last_event"]), int(told["stamp"]["forgettings"]))
        items, length = tuple(map(str, told["items"])), int(told["length"])
        return Manifest(stamp, items, length, float(told["min_value"]), told["settings"], told["figures"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not what a training writes: {error}") from error


def checkpoint_path(folder: Path, stamp: Stamp) -> Path:
    """Return where a training of a model keeps its steps."""
    return folder / f"training-{stamp.last_event}-{stamp.forgettings}.ckpt"


def making_folder(folder: Path, stamp: Stamp) -> Path:
    """Return where a training puts a version of a model together: beside the model's folder, to be renamed from."""
    return folder.with_name(f".{folder.name}-{stamp.last_event}-{stamp.forgettings}")


def delete_version(version: Path) -> None:
    """Delete a version, or whatever else is at the path; it is out of the way at once, and then gone.

    Another process may delete the same meanwhile, and whoever still writes into it finds it no longer.
    """
    if not version.is_dir():
        version.unlink(missing_ok=True)
        return
    hidden = version
    if not version.name.endswith(_DELETED):
        hidden = version.with_name(f".{version.name.removeprefix('.')}{_DELETED}")
        shutil.rmtree(hidden, ignore_errors=True)
        with suppress(FileNotFoundError):
            version.rename(hidden)
    while hidden.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(hidden)
