"""The audio of a stream that is still needed, addressed by its sample from the start of the stream."""

import numpy as np

from cuelight.server.speech.voice import Samples

__all__ = ["AudioWindow"]


class AudioWindow:
    """Samples `start` to `end`; grows behind, is dropped in front. Appending costs what is appended."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.end = start
        self._blocks: list[Samples] = []

    def append(self, samples: Samples) -> None:
        """Add samples (n,) behind the last one; they are copied."""
        if len(samples):
            self._blocks.append(np.array(samples, np.float32))
            self.end += len(samples)

    def read(self, start: int, end: int) -> Samples:
        """Return samples `start` to `end`; what was dropped or has not come yet is left out."""
        parts: list[Samples] = []
        at = self.start
        for block in self._blocks:
            low, high = max(start - at, 0), min(end - at, len(block))
            if low < high:
                parts.append(block[low:high])
            at += len(block)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def drop(self, before: int) -> None:
        """Let whole blocks before that sample go."""
        gone = 0
        while gone < len(self._blocks) and self.start + len(self._blocks[gone]) <= before:
            self.start += len(self._blocks[gone])
            gone += 1
        del self._blocks[:gone]
