"""Features against kaldi-native-fbank, and windows against their definition."""

import sys
from itertools import pairwise
from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cuelight.server.speech.features import FilterBank, FrameWindows

SPEECH = Path(__file__).parents[4] / "shared" / "data" / "speech"
BANK = FilterBank()

Array = NDArray[np.float32]


def kaldi(samples: Array, ended: bool = False) -> Array:
    """Return what kaldi-native-fbank computes with sherpa-onnx's settings."""
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.frame_opts.samp_freq = 16_000
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -400
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(16_000, samples.tolist())
    if ended:
        bank.input_finished()
    return np.array([bank.get_frame(i) for i in range(bank.num_frames_ready)], np.float32).reshape(-1, 80)


def features(samples: Array, ended: bool = False) -> Array:
    windows = FrameWindows()
    windows.push(samples)
    if ended:
        windows.finish()
    return BANK.log_mel(windows.peek(windows.ready))


def noise(samples: int, level: float = 0.3) -> Array:
    return (level * np.random.default_rng(3).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("level", [1e-5, 0.01, 0.3, 1.0])
def test_noise_has_kaldis_features(level: float) -> None:
    samples = noise(50_000, level)

    assert np.abs(features(samples) - kaldi(samples)).max() < 1e-3


def test_speech_has_kaldis_features() -> None:
    files = sorted((SPEECH / "ljspeech").glob("*.flac"))[:2] + sorted((SPEECH / "asterisk_en").glob("*.flac"))[:3]
    if not files:
        pytest.skip("../shared/data/speech is not here")
    for file in files:
        samples, _ = soundfile.read(file, dtype="float32")
        difference = np.abs(features(samples, ended=True) - kaldi(samples, ended=True))

        # Both are float32, and where a filter sees next to nothing beside loud ones each is off by some 1e-3.
        assert np.median(difference) < 1e-5
        assert np.quantile(difference, 0.999) < 3e-4
        assert difference.max() < 5e-3


def test_silence_is_the_floor() -> None:
    silence = features(np.zeros(1_000, np.float32))

    assert silence.shape == (5, 80)
    assert silence == pytest.approx(np.log(np.finfo(np.float32).eps))


def test_the_mean_of_the_samples_does_not_matter() -> None:
    samples = noise(16_000, 0.05)

    assert features(samples + np.float32(0.25)) == pytest.approx(features(samples), abs=0.02)


@pytest.mark.parametrize("count", [0, 1, 79, 80, 100, 119, 120, 121, 279, 280, 281, 439, 440, 1_000])
def test_there_are_as_many_frames_as_kaldi_has_and_the_ends_are_mirrored(count: int) -> None:
    samples = noise(count)

    for ended in (False, True):
        expected = kaldi(samples, ended)
        ours = features(samples, ended)

        assert ours.shape == expected.shape
        assert ours == pytest.approx(expected, abs=2e-3)


@given(edges=st.lists(st.integers(0, 8_000), max_size=20), taken=st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_chunks_of_any_length_give_the_very_same_features(edges: list[int], taken: int) -> None:
    samples = noise(8_000)
    windows, frames = FrameWindows(), []
    for begin, end in pairwise([0, *sorted(edges), 8_000]):
        windows.push(samples[begin:end])
        while windows.ready >= taken:
            frames.append(windows.take(taken).copy())
    frames.append(windows.take(windows.ready).copy())

    whole = FrameWindows()
    whole.push(samples)
    expected = whole.peek(whole.ready)

    assert np.array_equal(np.concatenate(frames), expected)
    assert np.array_equal(BANK.log_mel(np.concatenate(frames)), BANK.log_mel(expected))
    assert windows.frames_dropped == whole.ready


@pytest.mark.parametrize("count", [1, 2, 16, 127, 128, 129, 400])
def test_features_do_not_depend_on_the_company_they_are_computed_in(count: int) -> None:
    samples = noise(400 * 160 + 400)
    windows = FrameWindows()
    windows.push(samples)
    together = BANK.log_mel(windows.peek(400))

    apart = np.concatenate([BANK.log_mel(windows.peek(400)[at : at + count]) for at in range(0, 400, count)])

    # BLAS adds up in another order where there are fewer rows.
    assert np.abs(apart - together).max() < 1e-5


def test_windows_that_overlap_advance_by_their_shift() -> None:
    samples = noise(4_000)
    windows = FrameWindows()
    windows.push(samples)
    frames = features(samples)

    first, second = BANK.log_mel(windows.take(9, shift=4)), BANK.log_mel(windows.take(9, shift=4))

    assert first == pytest.approx(frames[:9], abs=1e-5)
    assert second == pytest.approx(frames[4:13], abs=1e-5)
    assert (windows.frames_dropped, windows.first_sample_needed) == (8, 8 * 160 - 120)


def test_frame_i_begins_120_samples_before_its_shift() -> None:
    samples = np.arange(2_000, dtype=np.float32)
    windows = FrameWindows()
    windows.push(samples)

    seen = windows.peek(5)

    assert seen[0, :120].tolist() == samples[:120][::-1].tolist()
    assert seen[0, 120:].tolist() == samples[:280].tolist()
    assert seen[3].tolist() == samples[360:760].tolist()


@pytest.mark.parametrize("frame", [0, 1, 2, 17])
def test_a_stream_goes_on_at_any_frame(frame: int) -> None:
    samples = noise(6_000)
    whole, resumed = FrameWindows(), FrameWindows.at(frame)
    whole.push(samples)

    resumed.push(samples[resumed.first_sample_needed :])
    for windows in (whole, resumed):
        windows.finish()

    assert resumed.frames_dropped == frame
    assert np.array_equal(resumed.peek(resumed.ready), whole.peek(whole.ready)[frame:])


def test_a_stream_of_an_hour_holds_less_than_a_window() -> None:
    windows = FrameWindows()
    for _ in range(3_000):
        windows.push(np.zeros(1_600, np.float32))
        windows.drop(windows.ready)

    assert windows.frames_dropped == pytest.approx(3_000 * 10, abs=2)
    assert sys.getsizeof(windows._held) < 40_000


def test_the_buffer_of_a_large_piece_is_given_back() -> None:
    windows = FrameWindows()
    windows.push(np.zeros(1_000_000, np.float32))
    windows.drop(windows.ready)
    for _ in range(20):
        windows.push(np.zeros(100_000, np.float32))
        windows.drop(windows.ready)
    for _ in range(200):
        windows.push(np.zeros(1_600, np.float32))
        windows.drop(windows.ready)

    assert sys.getsizeof(windows._held) < 100_000


def test_integers_are_kept_as_they_are() -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_768, 5_000).astype(np.int16)
    integers, floats = FrameWindows(), FrameWindows()
    for start in range(0, 5_000, 77):
        integers.push(samples[start : start + 77])
        floats.push(samples[start : start + 77] / np.float32(32_768))
    for windows in (integers, floats):
        windows.push_silence(300)
        windows.finish()

    assert integers.ready == floats.ready == 33
    taken = integers.peek(33)
    assert taken.dtype == np.int16
    assert np.array_equal(taken / np.float32(32_768), floats.peek(33))


@pytest.mark.parametrize(("rate_hz", "mels"), [(8_000, 40), (16_000, 64)])
def test_other_rates_and_sizes_are_kaldis_too(rate_hz: int, mels: int) -> None:
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.frame_opts.samp_freq = rate_hz
    options.mel_opts.num_bins = mels
    options.mel_opts.high_freq = 0
    kaldi_bank = knf.OnlineFbank(options)
    samples = noise(rate_hz)
    kaldi_bank.accept_waveform(rate_hz, samples.tolist())
    bank = FilterBank(rate_hz, mels, high_hz=0)
    windows = FrameWindows(bank.window_samples, bank.shift_samples)
    windows.push(samples)

    ours = bank.log_mel(windows.peek(windows.ready))

    expected = [kaldi_bank.get_frame(i) for i in range(kaldi_bank.num_frames_ready)]
    assert ours == pytest.approx(np.array(expected), abs=1e-3)
