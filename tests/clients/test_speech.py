"""Segments of speech: the rules as tables, against Silero's own code, and over a real recording on a real server."""

import importlib.util
import itertools
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cuelight.client import Channel, InferenceClient, InvalidRequest, SpeechSegment, SpeechSegmenter, detect_speech
from cuelight.client.audio import read_wav
from cuelight.exporters.samples import RECORDING
from cuelight.exporters.weights import WheelFile
from tests.serve_process import FRONTS, running_server

RATE_HZ = 16_000
STEP_SAMPLES = 512
STEP_S = STEP_SAMPLES / RATE_HZ

PUBLISHED_CODE = WheelFile(
    requirement="silero-vad==6.2.3",
    path="silero_vad/utils_vad.py",
    sha256="15d0f6b3ef9590e22ca2f146e1436f6901da356cb552d3183df4100862b333cb",
)


@pytest.fixture(scope="session")
def published(cache_dir: Path) -> ModuleType:
    """Silero's own `utils_vad`, taken out of its wheel."""
    spec = importlib.util.spec_from_file_location("silero_utils_vad", PUBLISHED_CODE.fetch(cache_dir))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def segments_of(probabilities: list[float]) -> list[SpeechSegment]:
    segmenter = SpeechSegmenter(STEP_S)
    found = [segment for probability in probabilities for segment in segmenter.push(probability)]
    return found + segmenter.finish()


def in_samples(segments: list[SpeechSegment]) -> list[tuple[int, int]]:
    return [(round(segment.start_s * RATE_HZ), round(segment.end_s * RATE_HZ)) for segment in segments]


def steps(*runs: tuple[int, float]) -> list[float]:
    return [probability for count, probability in runs for _ in range(count)]


PAD = int(0.03 * RATE_HZ)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        pytest.param(steps((50, 0.1)), [], id="silence"),
        pytest.param(steps((20, 0.9)), [(0, 20 * 512)], id="speech from end to end"),
        pytest.param(steps((10, 0.1), (20, 0.9), (20, 0.1)), [(10 * 512 - PAD, 30 * 512 + PAD)], id="one segment"),
        pytest.param(steps((10, 0.1), (5, 0.9), (20, 0.1)), [], id="too short to be speech"),
        pytest.param(
            steps((10, 0.1), (20, 0.9), (2, 0.1), (20, 0.9), (20, 0.1)),
            [(10 * 512 - PAD, 52 * 512 + PAD)],
            id="a pause too short to end it",
        ),
        pytest.param(
            steps((10, 0.1), (20, 0.9), (20, 0.4), (20, 0.1)),
            [(10 * 512 - PAD, 50 * 512 + PAD)],
            id="above the lower threshold it goes on",
        ),
        pytest.param(
            steps((20, 0.9), (5, 0.1), (20, 0.9), (20, 0.1)),
            [(0, 20 * 512 + PAD), (25 * 512 - PAD, 45 * 512 + PAD)],
            id="two segments",
        ),
    ],
)
def test_segments_follow_the_rules(probabilities: list[float], expected: list[tuple[int, int]]) -> None:
    assert in_samples(segments_of(probabilities)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_segments_are_those_of_the_published_code(published: ModuleType, seed: int) -> None:
    generator = np.random.default_rng(seed)
    levels = np.repeat(generator.random(60), generator.integers(1, 25, 60))
    probabilities = np.clip(levels + generator.normal(0, 0.1, len(levels)), 0, 1).astype(np.float32)

    expected = published.get_speech_timestamps_from_probs(
        probabilities, sampling_rate=RATE_HZ, audio_length_samples=len(probabilities) * STEP_SAMPLES
    )

    found = in_samples(segments_of([float(probability) for probability in probabilities]))
    assert len(found) == len(expected)
    for (start, end), segment in zip(found, expected, strict=True):
        assert abs(start - segment["start"]) <= 1  # that code cuts to whole samples where ours rounds
        assert abs(end - segment["end"]) <= 1


def test_segments_come_as_soon_as_they_are_certain() -> None:
    segmenter = SpeechSegmenter(STEP_S)
    for probability in steps((10, 0.1), (20, 0.9)):
        assert segmenter.push(probability) == []

    came_after = next(count for count in range(100) if segmenter.push(0.0))

    assert came_after * STEP_S < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_a_real_recording_on_a_real_server(
    front: str, tmp_path: Path, cache_dir: Path, published: ModuleType, repository_of: Callable[..., Path]
) -> None:
    models = repository_of("silero_vad")
    recording = RECORDING.fetch(cache_dir)
    samples = read_wav(recording, RATE_HZ)

    with (
        running_server(models, tmp_path / "log", front=front) as server,
        Channel(server.target) as channel,
    ):
        segments = detect_speech(InferenceClient(channel), recording)

    assert len(segments) == 6
    loudness = [float(np.abs(samples[int(s.start_s * RATE_HZ) : int(s.end_s * RATE_HZ)]).mean()) for s in segments]
    pauses = itertools.pairwise(segments)
    quiet = [float(np.abs(samples[int(a.end_s * RATE_HZ) : int(b.start_s * RATE_HZ)]).mean()) for a, b in pauses]
    assert min(loudness) > 3 * max(quiet)


@pytest.mark.parametrize(
    ("rate_hz", "width", "channels", "message"),
    [
        (8_000, 2, 1, "expected 16-bit PCM at 16000 Hz, got 16-bit at 8000 Hz"),
        (16_000, 1, 1, "expected 16-bit PCM at 16000 Hz, got 8-bit at 16000 Hz"),
    ],
)
def test_another_format_is_named(tmp_path: Path, rate_hz: int, width: int, channels: int, message: str) -> None:
    path = written(tmp_path, rate_hz, width, channels, b"\0" * 1000)

    with pytest.raises(InvalidRequest, match=message):
        read_wav(path, RATE_HZ)


def test_stereo_is_averaged(tmp_path: Path) -> None:
    frames = np.array([[16384, 0], [-32768, -32768]], "<i2").tobytes()

    samples = read_wav(written(tmp_path, RATE_HZ, 2, 2, frames), RATE_HZ)

    assert samples.tolist() == [0.25, -1.0]


def test_a_file_that_is_no_wav_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"this is no recording")

    with pytest.raises(InvalidRequest, match="not a PCM WAV file"):
        read_wav(tmp_path / "x.wav", RATE_HZ)


def written(folder: Path, rate_hz: int, width: int, channels: int, frames: bytes) -> Path:
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setframerate(rate_hz)
        file.setsampwidth(width)
        file.setnchannels(channels)
        file.writeframes(frames)
    return path
