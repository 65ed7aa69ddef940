"""RIFF WAVE."""

import numpy as np
import pytest
from hypothesis import given, settings

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio import AudioDecoder, AudioFormat
from tests.server.speech.audio.encoded import cut, cuts, decoded, fmt, noise, wav, written

SAMPLES = noise(0.02, 16_000, channels=2)
INTEGERS = (SAMPLES[:, 0] * 20_000).astype("<i2")
EXPECTED = INTEGERS / np.float32(32_768)
MONO16 = fmt(1, 1, 16_000, 16)
CHUNKS = [(b"LIST", b"INFOodd"), (b"fact", bytes(4)), (b"junk", bytes(1_000))]
WITH_CHUNKS = wav(MONO16, CHUNKS, INTEGERS.tobytes()) + b"LIST" + (4).to_bytes(4, "little") + b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        *[("WAV", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW")],
        *[("WAVEX", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW")],
    ],
)
def test_every_sample_type_is_read_as_libsndfile_reads_it(container: str, subtype: str) -> None:
    data, expected = written(SAMPLES, 16_000, container, subtype)

    samples = decoded([data], AudioFormat("wav", channel=2), 16_000)

    assert samples == pytest.approx(expected[:, 1], abs=1e-7)


@given(at=cuts(len(WITH_CHUNKS)))
@settings(deadline=None, max_examples=100)
def test_a_header_split_anywhere_is_sniffed(at: list[int]) -> None:
    decoder = AudioDecoder(AudioFormat(sample_rate_hz=8_000), 16_000)

    samples = decoded(cut(WITH_CHUNKS, at), AudioFormat(), 16_000, decoder)

    assert np.array_equal(samples, EXPECTED)
    assert (decoder.source_rate_hz, decoder.source_samples, decoder.truncated) == (16_000, 320, False)


def test_the_header_comes_byte_by_byte() -> None:
    decoder = AudioDecoder(AudioFormat(), 16_000)
    header = len(WITH_CHUNKS) - INTEGERS.nbytes - 12

    nothing = [decoder.feed(WITH_CHUNKS[at : at + 1]).shape[0] for at in range(header)]

    assert (sum(nothing), decoder.source_rate_hz, decoder.source_samples) == (0, 16_000, 0)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_audio_of_unknown_length_goes_on_to_the_end(size: int) -> None:
    data = wav(MONO16, [], INTEGERS.tobytes(), size)

    assert np.array_equal(decoded([data], AudioFormat(), 16_000), EXPECTED)


def test_audio_shorter_than_announced_is_heard_and_told() -> None:
    decoder = AudioDecoder(AudioFormat(), 16_000)

    samples = decoded([wav(MONO16, [], INTEGERS.tobytes(), 10_000)], AudioFormat(), 16_000, decoder)

    assert (np.array_equal(samples, EXPECTED), decoder.truncated) == (True, True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello world, how are you", r"WAV: expected b'RIFF' first, got b'hello world, how', which is text"),
        (b"\0\1\2\3", r"WAV: expected b'RIFF' first, got b'\\x00\\x01\\x02\\x03'$"),
        (b"RIFF\0\0\0\0AVI LIST", r"WAV: expected b'WAVE' after b'RIFF', got b'AVI '"),
        (wav(fmt(2, 1, 16_000, 4), [], b""), "WAV: format tag 0x0002 of 4 bits, expected PCM of 8, 16, 24"),
        (wav(fmt(3, 1, 16_000, 64), [], b""), "WAV: format tag 0x0003 of 64 bits"),
        (wav(fmt(1, 1, 96_000, 16), [], b""), "WAV: sample rate: 96000, expected 8000 to 48000"),
        (wav(fmt(1, 0, 16_000, 16), [], b""), "WAV: channels: 0, expected 1 to 8"),
        (wav(fmt(1, 9, 16_000, 16), [], b""), "WAV: channels: 9, expected 1 to 8"),
        (wav(MONO16[:12] + b"\3\0" + MONO16[14:], [], b""), "WAV: 3 bytes a block, expected 2"),
        (wav(b"\1\0", [], b""), "WAV: a fmt chunk of 2 bytes, expected at least 16"),
        (wav(MONO16, [(b"LIST", b"")] * 64, b""), "WAV: no audio in the first 64 chunks"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "WAV: the data chunk comes before the fmt chunk"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        AudioDecoder(AudioFormat("wav"), 16_000).feed(data)


def test_a_stream_that_ends_within_the_header_is_an_error() -> None:
    decoder = AudioDecoder(AudioFormat("wav"), 16_000)
    decoder.feed(WITH_CHUNKS[:100])

    with pytest.raises(InvalidRequest, match=r"^WAV: the stream ends within the header"):
        decoder.finish()


def test_a_channel_that_the_file_does_not_have_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match=r"^audio.channel: 2, expected 0 to 1"):
        AudioDecoder(AudioFormat(channel=2), 16_000).feed(WITH_CHUNKS)
