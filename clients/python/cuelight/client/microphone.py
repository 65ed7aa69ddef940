"""The microphone of this machine as chunks of samples, until somebody says stop."""

import importlib
import queue
from collections.abc import Iterator
from typing import Any

from cuelight.client.speech_options import AudioFormat

__all__ = ["MICROPHONE_FORMAT", "Microphone", "MicrophoneMissing"]

MICROPHONE_FORMAT = AudioFormat(16_000, "linear16", 1)
_CHUNK_SAMPLES = 1600


class MicrophoneMissing(Exception):
    """There is nothing to record with: no library, or no device."""


class Microphone:
    """Iterate over it once for 16-bit samples at 16 kHz, 100 ms each. `stop` may be called from anywhere."""

    def __init__(self, sound: Any = None) -> None:
        """`sound` is the library that records, by default the package sounddevice.

        Raises: MicrophoneMissing where it is not installed.
        """
        self._sound = sound if sound is not None else _sounddevice()
        self._recorded: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[bytes]:
        def take(recorded: Any, *_: object) -> None:
            self._recorded.put(bytes(recorded))

        rate_hz = MICROPHONE_FORMAT.sample_rate_hz
        try:
            stream = self._sound.RawInputStream(
                samplerate=rate_hz, channels=1, dtype="int16", blocksize=_CHUNK_SAMPLES, callback=take
            )
        except Exception as error:
            # PortAudio's error has no type that could be named without importing it.
            raise MicrophoneMissing(f"no microphone can be opened: {error}") from error
        with stream:
            while (chunk := self._recorded.get()) is not None:
                yield chunk

    def stop(self) -> None:
        """End the iteration after what is recorded already."""
        self._recorded.put(None)


def _sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except (ImportError, OSError) as error:
        # OSError: the package is there and the PortAudio library that it looks for is not.
        raise MicrophoneMissing(
            f'--microphone needs sounddevice ({error}): pip install "cuelight[microphone]"'
        ) from error
