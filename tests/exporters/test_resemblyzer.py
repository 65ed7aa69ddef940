"""The speaker encoder: its features are librosa's, it is the published network, and it tells speakers apart."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import nn

from cuelight.exporters.export import Export
from cuelight.exporters.resemblyzer import spec
from cuelight.exporters.resemblyzer.features import loud_enough, mel_bank, mel_frames, of_speaker, windows
from cuelight.exporters.samples import RECORDING

SPEECH = Path(__file__).resolve().parents[3] / "shared" / "data" / "speech"
UTTERANCES = 10
EQUAL_ERROR_LIMIT = 0.01
"""0 was measured: no two utterances of two speakers are more alike than two of one."""

LIBROSA_PEAKS = [
    *(2, 4, 6, 7, 9, 11, 13, 15, 17, 18, 20, 22, 24, 26, 28, 30, 32, 35, 38, 41),
    *(44, 47, 51, 55, 59, 64, 69, 75, 80, 87, 94, 101, 109, 118, 127, 137, 148, 159, 172, 185),
]
"""librosa 0.11.0: filters.mel(sr=16000, n_fft=400, n_mels=40).argmax(1)"""


@pytest.fixture(scope="module")
def session(export_of: Callable[[str], Export]) -> ort.InferenceSession:
    return ort.InferenceSession(str(export_of(spec.SPEC.name).path / "model.onnx"))


def embedded(session: ort.InferenceSession, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    return of_speaker(session.run(None, {"mels": windows(audio)})[0])


def test_the_filters_are_those_of_librosa() -> None:
    bank = mel_bank()

    assert bank.argmax(0).tolist() == LIBROSA_PEAKS
    assert bank.sum() == pytest.approx(0.9994972, abs=1e-6)  # the same call, .sum()
    assert bank.max() == pytest.approx(0.013329955, abs=1e-8)  # .max()


def test_a_tone_is_where_its_frequency_is_and_as_strong_as_its_square() -> None:
    tone = np.sin(2 * np.pi * 2000 * np.arange(16_000) / 16_000).astype(np.float32)

    loud, soft = mel_frames(tone), mel_frames(tone * np.float32(0.1))

    # 2000 Hz is bin 50 of 201; the filters that peak at 47 and 51 are around it.
    assert loud.shape == (101, 40)
    assert set(loud[5:-5].argmax(1)) <= {21, 22}
    np.testing.assert_allclose(soft[5:-5], loud[5:-5] * 0.01, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "count"), [(1, 1), (25_600, 1), (31_519, 1), (31_520, 2), (48_000, 3), (64_000, 4)]
)
def test_windows_cover_what_is_said(samples: int, count: int) -> None:
    """Counts as `VoiceEncoder.compute_partial_slices(samples, rate=1.3, min_coverage=0.75)` of the package has them."""
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * np.float32(0.1)

    assert windows(noise).shape == (count, 160, 40)


def test_quiet_audio_is_raised_to_thirty_decibels_below_full_scale() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)

    quiet, loud = loud_enough(noise * np.float32(1e-3)), noise * np.float32(0.2)

    assert 20 * np.log10(np.sqrt(np.mean(quiet**2))) == pytest.approx(-30, abs=1e-3)
    assert loud_enough(loud) is loud
    assert not loud_enough(np.zeros(10, np.float32)).any()


def test_no_audio_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        windows(np.zeros(0, np.float32))


@pytest.mark.slow
def test_the_file_equals_the_published_network_on_a_recording(session: ort.InferenceSession, cache_dir: Path) -> None:
    """Source of the network: Resemblyzer 0.1.4, voice_encoder.py, `VoiceEncoder.__init__` and `forward`."""
    state = torch.load(spec.WEIGHTS.fetch(cache_dir), map_location="cpu", weights_only=True)["model_state"]
    lstm, linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
    for name, module in (("lstm.", lstm), ("linear.", linear)):
        module.load_state_dict({key[len(name) :]: value for key, value in state.items() if key.startswith(name)})
    mels = windows(soundfile.read(RECORDING.fetch(cache_dir), dtype="float32")[0])

    with torch.inference_mode():
        _, (hidden, _) = lstm(torch.from_numpy(mels))
        raw = linear(hidden[-1]).relu()
        want = (raw / torch.norm(raw, dim=1, keepdim=True)).numpy()
    (got,) = session.run(None, {"mels": mels})

    assert len(mels) > 10
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_one_man_is_more_like_himself_than_like_noise(session: ort.InferenceSession, cache_dir: Path) -> None:
    samples = soundfile.read(RECORDING.fetch(cache_dir), dtype="float32")[0]
    noise = np.random.default_rng(0).standard_normal(80_000).astype(np.float32) * np.float32(0.1)

    first, second, other = (embedded(session, audio) for audio in (samples[:80_000], samples[80_000:], noise))

    assert first @ second > 0.75
    assert first @ other < first @ second - 0.2


@pytest.mark.slow
def test_speakers_are_told_apart(session: ort.InferenceSession) -> None:
    if not SPEECH.is_dir():
        pytest.skip(f"the speech of several speakers is not at {SPEECH}")
    speakers = [np.stack([embedded(session, said) for said in utterances]) for utterances in spoken()]

    same = np.concatenate([(own @ own.T)[np.triu_indices(len(own), 1)] for own in speakers])
    pairs = [(one, other) for index, one in enumerate(speakers) for other in speakers[index + 1 :]]
    different = np.concatenate([(one @ other.T).ravel() for one, other in pairs])

    assert len(speakers) == 8
    assert same.mean() > different.mean() + 0.15
    assert equal_error(same, different) < EQUAL_ERROR_LIMIT


def spoken() -> list[list[NDArray[np.float32]]]:
    """Return utterances of 8 speakers: two readers, and six who say ten digits in a row."""
    readers = [
        [soundfile.read(path, dtype="float32")[0] for path in longest(SPEECH / folder)]
        for folder in ("ljspeech", "asterisk_en")
    ]
    return [*readers, *digit_strings()]


def longest(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.flac"), key=lambda path: (-path.stat().st_size, path.name))[:UTTERANCES]


def digit_strings() -> list[list[NDArray[np.float32]]]:
    takes: dict[str, list[tuple[int, str, NDArray[np.float32]]]] = {}
    with tarfile.open(SPEECH / "fsdd.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is None or not member.name.endswith(".wav"):
                continue
            digit, speaker, take = Path(member.name).stem.split("_")
            if int(take) < UTTERANCES:
                samples, rate_hz = soundfile.read(io.BytesIO(file.read()), dtype="float32")
                takes.setdefault(speaker, []).append((int(take), digit, soxr.resample(samples, rate_hz, 16_000)))
    ordered = {speaker: sorted(said, key=lambda entry: entry[:2]) for speaker, said in takes.items()}
    return [
        [np.concatenate([entry[2] for entry in said if entry[0] == take]) for take in range(UTTERANCES)]
        for said in ordered.values()
    ]


def equal_error(same: NDArray[np.float32], different: NDArray[np.float32]) -> float:
    """Return the share of errors at the threshold where as many pairs are wrongly parted as wrongly joined."""
    thresholds = np.unique(np.concatenate([same, different]))
    parted = np.array([np.mean(same < threshold) for threshold in thresholds])
    joined = np.array([np.mean(different >= threshold) for threshold in thresholds])
    best = np.argmin(np.abs(parted - joined))
    return float((parted[best] + joined[best]) / 2)
