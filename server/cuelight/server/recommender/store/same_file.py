"""Whether a file that is open is still the one of its name: what is written to one that was deleted is kept nowhere."""

import os
from pathlib import Path

from cuelight.server.errors import DataFolderLost

__all__ = ["SameFile"]


class SameFile:
    """A file as it was when this was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._was = path.stat()

    def check(self) -> None:
        """Raises: DataFolderLost when the file was deleted, moved away or replaced since."""
        try:
            same = os.path.samestat(self._was, self._path.stat())
        except OSError:
            same = False
        if not same:
            raise DataFolderLost(
                f"{self._path}: deleted or replaced while it is in use; nothing more is kept, and the server stops"
            )
