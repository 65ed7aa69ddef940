"""Bytes that another process writes, as lines of text: however long a line is, only so much of it is held."""

from collections.abc import Iterator

__all__ = ["LineCutter"]


class LineCutter:
    """Takes bytes cut anywhere and hands on complete lines, each with its end; what is too much of one is cut."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._line = bytearray()
        self._cut_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take bytes, and yield the lines that they end."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._hold(end)
            yield self._taken()
        self._hold(rest)

    def end(self) -> Iterator[str]:
        """Yield what is left without an end of its own."""
        if self._line:
            yield self._taken()

    def _hold(self, part: bytes) -> None:
        room = self._max_line_bytes - len(self._line)
        self._line += part[:room]
        self._cut_bytes += max(len(part) - room, 0)

    def _taken(self) -> str:
        note = f" [... {self._cut_bytes} bytes cut]" if self._cut_bytes else ""
        line = f"{self._line.decode(errors='replace')}{note}\n"
        self._line.clear()
        self._cut_bytes = 0
        return line
