"""Audio as models take it: WAV files, rates, and what a model says of its own steps."""

import wave
from collections.abc import Mapping
from collections.abc import Sequence as Items
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cuelight.client.errors import InvalidRequest
from cuelight.client.inference import InferenceClient

__all__ = ["Samples", "described", "read_wav", "samples_for"]

Samples = NDArray[np.float32]


def described(clients: InferenceClient | Items[InferenceClient], model: str) -> dict[str, str]:
    """Return what a model says of itself, asked of the first of `clients`."""
    first = clients if isinstance(clients, InferenceClient) else clients[0]
    return first.describe(model)


def samples_for(description: Mapping[str, str], audio: Samples | str | Path) -> tuple[Samples, int, int]:
    """Return samples (n,) float32 in [-1, 1] at the model's rate, that rate in Hz, and how many samples a step takes.

    Raises: InvalidRequest for audio of another rate, format or shape.
    """
    rate_hz, chunk_samples = int(description["sample_rate_hz"]), int(description["chunk_samples"])
    samples = audio if isinstance(audio, np.ndarray) else read_wav(audio, rate_hz)
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise InvalidRequest(f"expected samples (n,) float32, got {samples.shape} {samples.dtype}")
    return samples, rate_hz, chunk_samples


def read_wav(path: str | Path, rate_hz: int) -> Samples:
    """Return a WAV file of 16-bit PCM as samples in [-1, 1], channels averaged.

    Raises: InvalidRequest when it is not such a file or has another rate than `rate_hz`.
    """
    try:
        with wave.open(str(path)) as file:
            found_hz, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InvalidRequest(f"{path}: not a PCM WAV file: {error}") from error
    if found_hz != rate_hz or width != 2:
        raise InvalidRequest(f"{path}: expected 16-bit PCM at {rate_hz} Hz, got {8 * width}-bit at {found_hz} Hz")
    frames = np.frombuffer(data, "<i2").reshape(-1, channels).astype(np.float32) / np.float32(32768)
    mono: Samples = frames.mean(axis=1, dtype=np.float32)
    return mono
