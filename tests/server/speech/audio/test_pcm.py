"""Raw samples."""

import io
import re

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio import AudioDecoder, AudioFormat, Encoding
from cuelight.server.speech.audio.pcm import alaw_table, mulaw_table
from tests.server.speech.audio.encoded import cut, cuts, decoded, noise

STEREO = noise(0.02, 16_000, channels=2)


@pytest.mark.parametrize(("table", "subtype"), [(mulaw_table(), "ULAW"), (alaw_table(), "ALAW")])
def test_g711_is_what_libsndfile_reads(table: np.ndarray, subtype: str) -> None:
    file = io.BytesIO(bytes(range(256)))

    read, _ = soundfile.read(file, dtype="float32", format="RAW", subtype=subtype, channels=1, samplerate=8_000)

    assert table.tolist() == read.tolist()


def test_integers_are_given_as_they_are_where_nothing_has_to_be_done() -> None:
    data = np.arange(-500, 500, dtype="<i2")
    for rate_hz, channels, kind in ((16_000, 1, np.int16), (8_000, 1, np.float32), (16_000, 2, np.float32)):
        decoder = AudioDecoder(AudioFormat("linear16", rate_hz, channels), 16_000, integers=True)
        given = [decoder.feed(data.tobytes()[:333]), decoder.feed(data.tobytes()[333:]), decoder.finish()]

        assert {piece.dtype for piece in given if len(piece)} == {np.dtype(kind)}
        if kind is np.int16:
            assert np.array_equal(np.concatenate([piece for piece in given if len(piece)]), data)


def test_g711_has_the_ends_of_its_scale() -> None:
    """Source: ITU-T G.711, tables 1a and 2a: the outermost decoder outputs are 4,032 of 4,096 and 8,031 of 8,192."""
    assert alaw_table().max() == 4_032 / 4_096
    assert mulaw_table().max() == np.float32(8_031 / 8_192)


@pytest.mark.parametrize(
    ("encoding", "data", "expected"),
    [
        ("linear16", np.array([-32_768, 0, 16_384], "<i2").tobytes(), [-1, 0, 0.5]),
        ("linear32", np.array([-(2**31), 0, 2**30], "<i4").tobytes(), [-1, 0, 0.5]),
        ("float32", np.array([-1.5, 0, 0.5], "<f4").tobytes(), [-1.5, 0, 0.5]),
        ("mulaw", b"\xff\x7f", [0, 0]),
    ],
)
def test_full_scale_is_one(encoding: Encoding, data: bytes, expected: list[float]) -> None:
    assert decoded([data], AudioFormat(encoding, 16_000), 16_000).tolist() == expected


@given(at=cuts(STEREO.size * 4))
@settings(deadline=None, max_examples=50)
def test_samples_split_anywhere_are_the_same(at: list[int]) -> None:
    messages = cut(STEREO.tobytes(), at)

    samples = decoded(messages, AudioFormat("float32", 16_000, 2, channel=2), 16_000)

    assert np.array_equal(samples, STEREO[:, 1])


@pytest.mark.parametrize(("channel", "expected"), [(0, STEREO.mean(axis=1)), (1, STEREO[:, 0]), (2, STEREO[:, 1])])
def test_one_channel_is_heard_or_the_mean_of_all(channel: int, expected: np.ndarray) -> None:
    samples = decoded([STEREO.tobytes()], AudioFormat("float32", 16_000, 2, channel), 16_000)

    assert samples == pytest.approx(expected, abs=1e-7)


def test_part_of_a_sample_at_the_end_is_told_and_not_heard() -> None:
    decoder = AudioDecoder(AudioFormat("linear16", 16_000), 16_000)

    samples = decoder.feed(bytes(5))
    decoder.finish()

    assert (samples.shape, decoder.truncated, decoder.source_samples) == ((2,), True, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_float_that_is_no_sample_is_named(value: float) -> None:
    samples = np.zeros((100, 2), "<f4")
    samples[42, 1] = value
    decoder = AudioDecoder(AudioFormat("float32", 16_000, 2), 16_000, start_sample=1_000)
    decoder.feed(bytes(8 * 10))

    message = re.escape(f"audio: sample 1052 of channel 2 is {value:g}, expected a finite number")
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        decoder.feed(samples.tobytes())


def test_clipping_and_silence_are_no_errors() -> None:
    samples = np.array([0] * 100 + [32_767, -32_768] * 50, "<i2")

    heard = decoded([samples.tobytes()], AudioFormat("linear16", 48_000), 16_000)

    assert np.isfinite(heard).all() and heard.shape == (67,)


def test_a_large_message_comes_in_pieces() -> None:
    decoder = AudioDecoder(AudioFormat("linear16", 48_000), 16_000)

    longest = max(piece.shape[0] for piece in decoder.pieces(bytes(10_000_000)))

    assert (longest < 48_000, decoder.source_samples) == (True, 5_000_000)
