"""`cuelight recommender serve`: choose the front, say what happens, serve, return the exit code."""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from cuelight.server.announcement import listening_lines
from cuelight.server.recommender.config import RecommenderConfig
from cuelight.server.serve_command import serve_on_front

__all__ = ["serve_recommender"]

_FACTORY = "cuelight.server.recommender.app:build"


def serve_recommender(config: RecommenderConfig, version: str) -> int:
    """Serve until asked to stop, and return the exit code. Raises: ConfigError."""
    announcement = _Announcement(config, lambda line: print(line, flush=True))
    return serve_on_front(config, version, _FACTORY, announcement)


class _Announcement:
    """Prints what the front and the application tell. Owned by the process that the user started."""

    def __init__(self, config: RecommenderConfig, write: Callable[[str], None]) -> None:
        self._config = config
        self._write = write
        self._started_s = monotonic()

    def front(self, version: str, front: str, reason: str) -> None:
        self._write(f"cuelight recommender {version}")
        self._write(f"data        {self._config.data.folder}")
        self._write(f"front       {front} ({reason})")

    def listening(self, port: int, description: Mapping[str, Any]) -> None:
        for line in listening_lines(self._config.server.host, port, description["metrics_port"], self._config.tls):
            self._write(line)

    def loaded(self, description: Mapping[str, Any]) -> None:
        self._write(f"\n{description['users']} users, {description['items']} items")
        seconds = monotonic() - self._started_s
        self._write(f"{'READY' if description['ready'] else 'NOT READY'} after {seconds:.1f} s")
