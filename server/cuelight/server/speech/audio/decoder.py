"""One stream's audio: bytes in any encoding in, mono samples at the model's rate out.

    bytes -> (which encoding?) -> Source -> one channel -> Resampler -> samples

Everything happens as it is asked for: what is held is bounded by one message, however far it unfolds.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio.flac import FlacReader
from cuelight.server.speech.audio.format import (
    CONTAINERS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    AudioFormat,
    Encoding,
    check_channel,
)
from cuelight.server.speech.audio.opus import OggOpusReader
from cuelight.server.speech.audio.pcm import PcmReader, SampleType
from cuelight.server.speech.audio.resampling import Resampler
from cuelight.server.speech.audio.source import AnySamples, Block, Source
from cuelight.server.speech.audio.wav import WavReader

__all__ = ["AudioDecoder"]

_MAGICS: Final[dict[bytes, Encoding]] = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg_opus"}
_NOT_TAKEN: Final = {b"\x1aE\xdf\xa3": "WebM or Matroska", b"ID3\x03": "MP3", b"ID3\x04": "MP3", b"caff": "CAF"}
_MAGIC_BYTES: Final = 4
_READERS: Final[dict[Encoding, Callable[[], Source]]] = {
    "wav": WavReader,
    "flac": FlacReader,
    "ogg_opus": OggOpusReader,
}
_RAW: Final[dict[Encoding, SampleType]] = {
    "linear16": "linear16",
    "linear32": "linear32",
    "float32": "float32",
    "mulaw": "mulaw",
    "alaw": "alaw",
}


class AudioDecoder:
    """Decodes one stream. Owned by whoever reads the stream; plain and synchronous.

    Every method raises InvalidRequest if the bytes are not what they are said to be; the decoder is of no use then.
    """

    def __init__(
        self,
        audio_format: AudioFormat,
        target_rate_hz: int,
        start_sample: int = 0,
        drop_samples: int = 0,
        integers: bool = False,
    ) -> None:
        """Begin at `start_sample` of the source, which raw encodings alone can, and leave out the first `drop_samples`
        at the target rate: both as `resume_point` gives them. A container is sent from its beginning again, then
        `drop_samples` is the model's sample to go on at. With `integers`, samples that are int16 and need nothing done
        to them are given as they are."""
        if start_sample < 0 or (start_sample > 0 and audio_format.encoding in CONTAINERS):
            raise InvalidRequest(
                f"audio: {audio_format.encoding} that begins at sample {start_sample}, "
                "expected 0: a container is sent from its beginning"
            )
        self._format = audio_format
        self._target_rate_hz = target_rate_hz
        self._source_samples = start_sample
        self._drop = drop_samples
        self._integers = integers
        self._head: bytes | None = b""
        """The first bytes while they are too few to tell the encoding; then None."""
        self._source: Source | None = None
        self._plain: PcmReader | None = None
        """The source, if its samples go on as they are."""
        self._resampler: Resampler | None = None
        if audio_format.encoding != "unspecified":
            self._open(audio_format.encoding)

    @property
    def source_rate_hz(self) -> int | None:
        """Source samples a second; None until the header has come."""
        return self._source.rate_hz if self._source is not None else None

    @property
    def source_samples(self) -> int:
        """The source's sample behind the last one decoded, counted from the beginning of the audio."""
        return self._source_samples

    @property
    def truncated(self) -> bool:
        """Whether the stream ended in the middle of a sample, frame or chunk. Known after `finish`."""
        return self._source is not None and self._source.truncated

    def feed(self, data: bytes) -> AnySamples:
        """Take bytes, return the samples (n,) that are ready, maybe none; see `pieces` for messages of any size."""
        return _joined(list(self.pieces(data)))

    def pieces(self, data: bytes) -> Iterable[AnySamples]:
        """Take bytes, yield samples (n,) as they are decoded: a packet, a frame or some 16,000 samples at a time.

        Has to be read to its end before anything else is called; the time between two pieces is the caller's.
        """
        if self._plain is not None and not self._drop and (samples := self._plain.taken(data)) is not None:
            self._source_samples += len(samples)
            return (samples,)
        return self._decoded(data)

    def _decoded(self, data: bytes) -> Iterator[AnySamples]:
        if self._source is None:
            data = self._sniff(data)
        if self._source is not None and data:
            self._head = None
            for block in self._source.feed(data):
                yield from self._deliver(block)

    def finish(self) -> AnySamples:
        """Return the samples (n,) held back: no bytes come any more. A stream without a byte has none."""
        if self._head is not None and not self._head:
            return _joined([])
        pieces = []
        if self._source is None:
            head = self._head or b""
            self._open("linear16")
            pieces = list(self.pieces(head))
        assert self._source is not None
        pieces += [piece for block in self._source.finish() for piece in self._deliver(block)]
        if self._resampler is not None:
            pieces.append(self._keep(self._resampler.finish()))
        return _joined(pieces)

    def _sniff(self, data: bytes) -> bytes:
        """Open the source that the first bytes speak of; returns all bytes so far, none while they are too few."""
        head = (self._head or b"") + data
        magic = head[:_MAGIC_BYTES]
        undecided = len(magic) < _MAGIC_BYTES and any(known.startswith(magic) for known in (*_MAGICS, *_NOT_TAKEN))
        if undecided:
            self._head = head
            return b""
        if magic in _NOT_TAKEN:
            raise InvalidRequest(f"audio: {_NOT_TAKEN[magic]}, expected WAV, FLAC, Ogg Opus or raw samples")
        self._open(_MAGICS.get(magic, "linear16"))
        return head

    def _open(self, encoding: Encoding) -> None:
        if encoding in CONTAINERS:
            if self._source_samples > 0:
                raise InvalidRequest(f"audio: {encoding} that goes on in the middle, expected it from its beginning")
            self._source = _READERS[encoding]()
            return
        rate_hz = self._format.sample_rate_hz
        if rate_hz == 0:
            raise InvalidRequest(
                "audio: no header of WAV, FLAC or Ogg Opus, and no audio.sample_rate_hz; send one of these, "
                f"or a rate of {MIN_RATE_HZ} to {MAX_RATE_HZ} for LINEAR16"
            )
        channels = self._format.channel_count or 1
        as_they_are = self._integers and rate_hz == self._target_rate_hz and channels == 1
        self._source = PcmReader(_RAW[encoding], rate_hz, channels, self._source_samples, as_they_are)
        if as_they_are and encoding == "linear16" and self._format.channel <= 1:
            self._plain, self._head = self._source, None

    def _deliver(self, block: Block) -> Iterator[AnySamples]:
        if self._resampler is None:
            self._resampler = self._begin(block.shape[1])
        self._source_samples += block.shape[0]
        samples = self._resampler.feed(self._mono(block))
        if self._drop:
            samples = self._keep(samples)
        if samples.shape[0]:
            yield samples

    def _begin(self, channel_count: int) -> Resampler:
        check_channel(self._format.channel, channel_count)
        assert self._source is not None and self._source.rate_hz is not None
        return Resampler(self._source.rate_hz, self._target_rate_hz)

    def _mono(self, block: Block) -> AnySamples:
        if block.shape[1] == 1:
            return block[:, 0]
        channel = self._format.channel
        mono: AnySamples = block.mean(axis=1) if channel == 0 else block[:, channel - 1]
        return np.ascontiguousarray(mono)

    def _keep(self, samples: AnySamples) -> AnySamples:
        """Leave out what is to be dropped."""
        dropped = min(self._drop, samples.shape[0])
        self._drop -= dropped
        return samples[dropped:]


def _joined(pieces: list[AnySamples]) -> AnySamples:
    pieces = [piece for piece in pieces if len(piece)]
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)
