"""One process a data folder: models in memory know of no writer but their own."""

import os
import sys
from pathlib import Path
from types import TracebackType

from cuelight.server.errors import ConfigError

__all__ = ["FolderLock"]

_NAME = "lock"


class FolderLock:
    """Holds the folder from its making until `release`, or the end of the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock. Raises: ConfigError when another process has it, or the folder cannot be written."""
        self.path = folder / _NAME
        try:
            self._file = self.path.open("a+", encoding="ascii")
        except OSError as error:
            raise ConfigError(f"{folder}: cannot write to it: {error.strerror}") from error
        if not _locked(self._file.fileno()):
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise ConfigError(f"{folder}: in use by process {holder or 'unknown'}; one process a data folder")
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let others have the folder."""
        self._file.close()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    _FAR_AWAY = 1 << 30
    """Where the locked byte is: on Windows nobody can read what is locked, and the holder's number is to be read."""

    def _locked(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR_AWAY, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
