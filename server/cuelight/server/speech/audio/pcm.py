"""Raw samples: linear integers, floats and ITU-T G.711, interleaved, split anywhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio.source import BLOCK_SAMPLES, AnySamples, Block

__all__ = ["LOUDEST", "PcmReader", "SampleType", "alaw_table", "mulaw_table"]

SampleType = Literal["unsigned8", "linear16", "linear24", "linear32", "float32", "mulaw", "alaw"]

LOUDEST: Final = 32_768.0
"""The largest float that is taken for a sample, so generous that integers written as floats pass; the square of more,
summed over a window, may leave the range of float32."""

_Bytes = bytes | memoryview
_Samples = NDArray[np.float32]


class PcmReader:
    """Converts raw samples; holds less than one instant of `channels` samples back."""

    def __init__(
        self, sample_type: SampleType, rate_hz: int, channels: int, first_sample: int = 0, integers: bool = False
    ) -> None:
        """`first_sample` is the instant that the audio begins at: errors count from there. With `integers`, samples of
        linear16 are given as they are."""
        self._layout = _INTEGERS if integers and sample_type == "linear16" else _LAYOUTS[sample_type]
        self._rate_hz = rate_hz
        self._channels = channels
        self._instant_bytes = self._layout.width_bytes * channels
        self._block_bytes = max(1, BLOCK_SAMPLES // channels) * self._instant_bytes
        self._carry = b""
        self._instants = first_sample

    @property
    def rate_hz(self) -> int:
        """Instants a second."""
        return self._rate_hz

    @property
    def truncated(self) -> bool:
        """Whether the bytes so far end within an instant."""
        return bool(self._carry)

    def feed(self, data: bytes) -> Iterator[Block]:
        """Yield blocks (instants, channels). Raises: InvalidRequest for a float that is no sample."""
        if self._carry:
            data = self._carry + data
        usable = len(data) - len(data) % self._instant_bytes
        self._carry = data[usable:]
        view = memoryview(data)
        for start in range(0, usable, self._block_bytes):
            yield self._convert(view[start : min(start + self._block_bytes, usable)])

    def taken(self, data: bytes) -> AnySamples | None:
        """Return all of a message of integers of one channel at once; None if it is cut badly or too long for that."""
        if self._carry or len(data) % self._instant_bytes or len(data) > self._block_bytes:
            return None
        samples = self._layout.convert(data)
        self._instants += len(samples)
        return samples

    def finish(self) -> Iterator[Block]:
        """Yield nothing: part of an instant is not heard."""
        return iter(())

    def _convert(self, data: memoryview) -> Block:
        block = self._layout.convert(data).reshape(-1, self._channels)
        if self._layout.checked:
            self._check(block)
        self._instants += block.shape[0]
        return block

    def _check(self, block: Block) -> None:
        if np.abs(block).max() <= LOUDEST:  # false for NaN, too
            return
        instant, channel = np.argwhere(~(np.abs(block) <= LOUDEST))[0].tolist()
        raise InvalidRequest(
            f"audio: sample {self._instants + instant} of channel {channel + 1} is {block[instant, channel]:g}, "
            f"expected a finite number of at most {LOUDEST:.0f} (full scale is 1)"
        )


def mulaw_table() -> _Samples:
    """Return the 256 values of mu-law, full scale 1. Source: ITU-T G.711, table 2a: 14 bits, as 16."""
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32_768).astype(np.float32)


def alaw_table() -> _Samples:
    """Return the 256 values of A-law, full scale 1. Source: ITU-T G.711, table 1a: 13 bits, as 16."""
    code = np.arange(256) ^ 0x55
    segment = (code & 0x70) >> 4
    mantissa = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment == 0, mantissa, (mantissa + 0x100) << np.maximum(segment - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / 32_768).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Layout:
    width_bytes: int
    convert: Callable[[_Bytes], AnySamples]
    checked: bool = False


def _unsigned8(data: _Bytes) -> _Samples:
    return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(1 / 128)


def _linear16(data: _Bytes) -> _Samples:
    samples: _Samples = np.multiply(np.frombuffer(data, "<i2"), np.float32(1 / 32_768), dtype=np.float32)
    return samples


def _linear24(data: _Bytes) -> _Samples:
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return _linear32(wide.tobytes())


def _linear32(data: _Bytes) -> _Samples:
    return np.frombuffer(data, "<i4").astype(np.float32) * np.float32(2.0**-31)


def _float32(data: _Bytes) -> _Samples:
    return np.frombuffer(data, "<f4").astype(np.float32)


_MULAW: Final = mulaw_table()
_ALAW: Final = alaw_table()
_INTEGERS: Final = _Layout(2, lambda data: np.frombuffer(data, "<i2"))
_LAYOUTS: Final[dict[SampleType, _Layout]] = {
    "unsigned8": _Layout(1, _unsigned8),
    "linear16": _Layout(2, _linear16),
    "linear24": _Layout(3, _linear24),
    "linear32": _Layout(4, _linear32),
    "float32": _Layout(4, _float32, checked=True),
    "mulaw": _Layout(1, lambda data: _MULAW[np.frombuffer(data, np.uint8)]),
    "alaw": _Layout(1, lambda data: _ALAW[np.frombuffer(data, np.uint8)]),
}
