"""One codec of FFmpeg, packet in, samples out."""

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest, Unsupported
from cuelight.server.speech.audio.source import Block

__all__ = ["PacketDecoder"]


class PacketDecoder:
    """Decodes packets of one stream. FFmpeg is told to take one thread: many streams share the machine."""

    def __init__(
        self, names: tuple[str, ...], extradata: bytes, rate_hz: int, channels: int, options: dict[str, str]
    ) -> None:
        """Take the first of `names` that this build of FFmpeg has. Raises: Unsupported if it has none."""
        self._context = _open(names)
        self._context.extradata = extradata
        self._context.options = options
        self._context.thread_count = 1
        self._rate_hz = rate_hz
        self._channels = channels

    def decode(self, packet: bytes, what: str) -> Block:
        """Return the samples (instants, channels) of one packet. Raises: InvalidRequest, naming `what`."""
        try:
            frames = self._context.decode(av.Packet(packet))
        except av.error.FFmpegError as error:
            raise InvalidRequest(f"{what} cannot be decoded: {error.strerror}") from error
        for frame in frames:
            self._check(frame, what)
        blocks = [_to_float(frame).T.reshape(-1, self._channels) for frame in frames]
        return blocks[0] if len(blocks) == 1 else np.concatenate([*blocks, np.empty((0, self._channels), np.float32)])

    def _check(self, frame: Any, what: str) -> None:
        came = (frame.sample_rate, frame.layout.nb_channels)
        if came != (self._rate_hz, self._channels):
            raise InvalidRequest(
                f"{what} has {came[0]} Hz and {came[1]} channels, the header says {self._rate_hz} and {self._channels}"
            )


def _open(names: tuple[str, ...]) -> Any:
    for name in names:
        if name in av.codecs_available:
            return av.CodecContext.create(name, "r")
    raise Unsupported(f"{names[-1]}: this server's FFmpeg has no such decoder")


def _to_float(frame: Any) -> Block:
    """Return (channels, instants), or (1, instants * channels) as interleaved."""
    samples: NDArray[Any] = frame.to_ndarray()
    if samples.dtype == np.float32:
        return samples
    scaled: Block = np.multiply(samples, np.float32(1 / (np.iinfo(samples.dtype).max + 1)), dtype=np.float32)
    return scaled
