"""A stream's audio on its way into its voice: decoded piece by piece, what was acknowledged before passed over."""

from collections.abc import Iterable

from cuelight.server.speech.audio import AnySamples, AudioDecoder, AudioFormat, resume_point
from cuelight.speech.v1 import snapshot_pb2

__all__ = ["AudioFeed"]


class AudioFeed:
    """Bytes in, samples at the model's rate out. Owned by its stream's task."""

    def __init__(
        self,
        audio: AudioFormat,
        model_rate_hz: int,
        resumed: snapshot_pb2.VoiceSnapshot | None = None,
        restarted: bool = False,
        integers: bool = False,
    ) -> None:
        """`resumed` is where the stream goes on; `restarted` says that its audio comes from the very beginning.

        With `integers`, samples of 16 bits are given as they came if nothing has to be done to them."""
        self._model_rate_hz = model_rate_hz
        start = drop = 0
        if resumed is not None and restarted:
            drop = resumed.start_sample
        elif resumed is not None:
            start, drop = resume_point(resumed.start_sample, resumed.source_rate_hz, model_rate_hz)
        self._decoder = AudioDecoder(audio, model_rate_hz, start, drop, integers)

    @property
    def rate_hz(self) -> int:
        """The source's rate; the model's while that is not known."""
        return self._decoder.source_rate_hz or self._model_rate_hz

    def feed(self, data: bytes) -> Iterable[AnySamples]:
        """Yield the samples of `data`, in pieces. Raises: InvalidRequest for what is no such audio."""
        return self._decoder.pieces(data)

    def finish(self) -> AnySamples:
        """Return what decoder and resampler still hold. Raises: InvalidRequest as above."""
        return self._decoder.finish()
