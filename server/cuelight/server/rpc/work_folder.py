"""The launcher's folder for Envoy's configuration and its admin socket, and what becomes of those of others.

A launcher holds a lock on a file in its folder for as long as it lives. One that was killed cannot clear up after
itself, but its lock is gone: whoever starts next removes what it left. POSIX alone, as Envoy is.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["work_folder"]

_PREFIX = "cuelight-envoy-"
_LOCK = "lock"


@contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder below `parent`, the system's temporary folder if it is not given; removed at the end, as those
    of killed launchers are now."""
    parent = parent or Path(tempfile.gettempdir())
    _remove_abandoned(parent)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as name:
        folder = Path(name)
        unlocked = folder / "unlocked"
        with unlocked.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unlocked.rename(folder / _LOCK)  # nobody takes it for abandoned before it is locked
            yield folder


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        # Another user's folder cannot be opened; another launcher may be removing this one, too.
        with suppress(OSError), (folder / _LOCK).open("r+") as lock:
            if _is_free(lock):
                shutil.rmtree(folder, ignore_errors=True)


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
