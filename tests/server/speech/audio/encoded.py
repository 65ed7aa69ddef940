"""Audio written by other libraries than the ones under test, and ways to feed it."""

import io
import struct
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import soundfile
from hypothesis import strategies as st
from numpy.typing import NDArray

from cuelight.server.speech.audio import AudioDecoder, AudioFormat

SPEECH = Path(__file__).parents[5] / "shared" / "data" / "speech"

Samples = NDArray[np.float32]


def noise(seconds: float, rate_hz: int, channels: int = 1) -> Samples:
    """Return (instants, channels): a tone in noise, which differs from channel to channel."""
    instants = int(seconds * rate_hz)
    random = np.random.default_rng(7)
    tone = 0.4 * np.sin(2 * np.pi * 440 / rate_hz * np.arange(instants))
    samples: Samples = (tone[:, np.newaxis] + 0.1 * random.standard_normal((instants, channels))).astype(np.float32)
    return samples


def written(samples: Samples, rate_hz: int, container: str, subtype: str) -> tuple[bytes, Samples]:
    """Return the file that libsndfile writes, and the samples (instants, channels) that it reads out of it."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    data = file.getvalue()
    read, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return data, read


def opus(samples: Samples, page_ms: int, frame_ms: int = 20) -> tuple[bytes, Samples]:
    """Return the Ogg Opus that FFmpeg makes of mono samples at 48 kHz, and what FFmpeg decodes from it."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg", options={"page_duration": str(page_ms * 1000)}) as container:
        stream = container.add_stream("libopus", rate=48_000, options={"frame_duration": str(frame_ms)})
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="flt", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = file.getvalue()
    with av.open(io.BytesIO(data), "r") as written_file:
        blocks = [frame.to_ndarray().T for frame in written_file.decode(audio=0)]
    return data, np.concatenate(blocks)


def wav(fmt: bytes, chunks: Iterable[tuple[bytes, bytes]], data: bytes, size: int | None = None) -> bytes:
    """Return a RIFF WAVE of these chunks, then `data`, whose chunk says `size`."""
    parts = [b"WAVE", b"fmt ", struct.pack("<I", len(fmt)), fmt]
    for name, body in chunks:
        parts += [name, struct.pack("<I", len(body)), body, bytes(len(body) % 2)]
    parts += [b"data", struct.pack("<I", len(data) if size is None else size), data]
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(tag: int, channels: int, rate_hz: int, bits: int) -> bytes:
    """Return the 16 bytes of a `fmt ` chunk."""
    instant_bytes = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * instant_bytes, instant_bytes, bits)


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """Return `data` in messages that end at these positions."""
    edges = [0, *sorted(position for position in at if position < len(data)), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def cuts(length: int) -> st.SearchStrategy[list[int]]:
    """Return where to split so many bytes: anywhere, often within the first ones."""
    return st.lists(st.integers(0, length) | st.integers(0, min(length, 64)), max_size=12)


def decoded(
    messages: Iterable[bytes], audio_format: AudioFormat, rate_hz: int, decoder: AudioDecoder | None = None
) -> Samples:
    """Return all that comes out when these messages go in."""
    decoder = decoder or AudioDecoder(audio_format, rate_hz)
    return np.concatenate([*(decoder.feed(message) for message in messages), decoder.finish()])
