"""From the source's rate to the model's, whole and resumed."""

import numpy as np
import pytest

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio import AudioDecoder, AudioFormat, resume_point
from cuelight.server.speech.audio.resampling import PRE_ROLL_S
from tests.server.speech.audio.encoded import cut, decoded, noise

RATES_HZ = [8_000, 11_025, 12_345, 16_000, 22_050, 44_100, 48_000]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_duration_stays(rate_hz: int) -> None:
    samples = noise(1.37, rate_hz)

    heard = decoded(cut(samples.tobytes(), range(0, samples.nbytes, 1_237)), AudioFormat("float32", rate_hz), 16_000)

    assert heard.shape[0] == pytest.approx(samples.shape[0] * 16_000 / rate_hz, abs=1)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_tone_stays_where_it_is_in_time(rate_hz: int) -> None:
    source = np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz).astype("<f4")

    heard = decoded([source.tobytes()], AudioFormat("float32", rate_hz), 16_000)

    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert heard[800:-800] == pytest.approx(expected[800:-800], abs=1e-4)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("model_sample", [0, 1, 777, 9_600, 20_001])
def test_a_resumed_stream_goes_on_with_the_samples_of_an_undisturbed_one(rate_hz: int, model_sample: int) -> None:
    samples = noise(2, rate_hz)
    undisturbed = decoded([samples.tobytes()], AudioFormat("float32", rate_hz), 16_000)

    start, drop = resume_point(model_sample, rate_hz, 16_000)
    decoder = AudioDecoder(AudioFormat("float32", rate_hz), 16_000, start_sample=start, drop_samples=drop)
    resumed = decoded(cut(samples[start:].tobytes(), [1_001, 5_003]), AudioFormat(), 16_000, decoder)

    assert resumed.shape == undisturbed[model_sample:].shape
    assert np.abs(resumed - undisturbed[model_sample:]).max() < 1e-5
    assert decoder.source_samples == samples.shape[0]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_a_resumed_stream_is_sent_from_shortly_before(rate_hz: int) -> None:
    start, drop = resume_point(160_000, rate_hz, 16_000)

    assert PRE_ROLL_S <= 10 - start / rate_hz <= PRE_ROLL_S + 0.1
    assert start / rate_hz + drop / 16_000 == pytest.approx(10)


def test_at_equal_rates_a_stream_is_sent_from_where_it_is_needed() -> None:
    assert resume_point(12_345, 16_000, 16_000) == (12_345, 0)


def test_a_container_is_sent_from_its_beginning_and_passed_over() -> None:
    header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\0\0\0\0"
    decoder = AudioDecoder(AudioFormat(), 16_000, drop_samples=3)

    samples = decoded([header, np.arange(5, dtype="<i2").tobytes()], AudioFormat(), 16_000, decoder)

    assert (samples * 32_768).tolist() == [3, 4]


@pytest.mark.parametrize("encoding", ["flac", "unspecified"])
def test_a_container_cannot_go_on_in_the_middle(encoding: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^audio: flac that .*beginning"):
        AudioDecoder(AudioFormat(encoding), 16_000, start_sample=5).feed(b"fLaC")  # type: ignore[arg-type]
