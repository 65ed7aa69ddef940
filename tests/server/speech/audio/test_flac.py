"""FLAC."""

import io
import random

import av
import numpy as np
import pytest
from hypothesis import given, settings

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio import AudioDecoder, AudioFormat
from tests.server.speech.audio.encoded import SPEECH, cut, cuts, decoded, noise, written

STEREO, STEREO_EXPECTED = written(noise(1.1, 16_000, channels=2), 16_000, "FLAC", "PCM_16")
FRAME = 4_096


@given(at=cuts(len(STEREO)))
@settings(deadline=None, max_examples=50)
def test_a_stream_split_anywhere_is_lossless(at: list[int]) -> None:
    decoder = AudioDecoder(AudioFormat(channel=2), 16_000)

    samples = decoded(cut(STEREO, at), AudioFormat(), 16_000, decoder)

    assert np.array_equal(samples, STEREO_EXPECTED[:, 1])
    assert (decoder.source_rate_hz, decoder.source_samples, decoder.truncated) == (16_000, samples.size, False)


@pytest.mark.parametrize(("subtype", "rate_hz"), [("PCM_S8", 8_000), ("PCM_16", 44_100), ("PCM_24", 48_000)])
def test_every_width_is_read_as_libsndfile_reads_it(subtype: str, rate_hz: int) -> None:
    data, expected = written(noise(0.5, rate_hz), rate_hz, "FLAC", subtype)

    samples = decoded(cut(data, range(0, len(data), 333)), AudioFormat("flac"), rate_hz)

    assert samples == pytest.approx(expected[:, 0], abs=1e-7)


@pytest.mark.parametrize("samples", [np.zeros((200_000, 1)), np.tile([[0.5], [-0.5]], (100_000, 1))])
def test_frames_of_a_few_bytes_are_told_apart(samples: np.ndarray) -> None:
    data, expected = written(samples.astype(np.float32), 16_000, "FLAC", "PCM_16")

    heard = decoded(cut(data, range(0, len(data), 5)), AudioFormat("flac"), 16_000)

    assert np.array_equal(heard, expected[:, 0])


def test_blocks_of_varying_length_are_numbered_by_their_first_sample() -> None:
    header = STEREO.index(b"\xff\xf8")
    frames = split_frames(STEREO)
    varying = b"".join(with_sample_number(frame, number * FRAME) for number, frame in enumerate(frames))

    samples = decoded(cut(STEREO[:header] + varying, range(0, len(STEREO), 100)), AudioFormat(channel=1), 16_000)

    assert np.array_equal(samples, STEREO_EXPECTED[:, 0])


def split_frames(data: bytes) -> list[bytes]:
    """Return the frames, told apart by where FFmpeg's own splitter finds them."""
    with av.open(io.BytesIO(data), "r") as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def with_sample_number(frame: bytes, number: int) -> bytes:
    """Return the frame of a fixed-length stream, of a number below 128, as one of a stream of varying lengths."""
    extra = {6: 1, 7: 2}.get(frame[2] >> 4, 0)
    coded = chr(number).encode()  # FLAC codes numbers as UTF-8 codes characters
    head = b"\xff\xf9" + frame[2:4] + coded + frame[5 : 5 + extra]
    body = head + bytes([crc(head, 8, 0x07)]) + frame[5 + extra + 1 : -2]
    return body + crc(body, 16, 0x8005).to_bytes(2, "big")


def crc(data: bytes, bits: int, polynomial: int) -> int:
    """Return FLAC's checksums. Source: RFC 9639, section 9.1.8 and 9.3."""
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) & 1 else 0)) & ((1 << bits) - 1)
    return value


def test_many_frames_have_longer_numbers() -> None:
    """Frame numbers are coded in one byte up to 127, in two up to 2,047, then in three."""
    samples = noise(26, 48_000)
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=48_000)
        stream.layout = "mono"
        stream.codec_context.options = {"frame_size": "576"}
        for begin in range(0, len(samples), 576):
            integers = (samples[begin : begin + 576].T * 20_000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(integers, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48_000, begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    heard = decoded([file.getvalue()], AudioFormat("flac"), 48_000)

    assert np.array_equal(heard, (samples[:, 0] * 20_000).astype(np.int16) / np.float32(32_768))


def test_a_frame_is_heard_as_soon_as_the_next_one_begins() -> None:
    decoder = AudioDecoder(AudioFormat("flac", channel=1), 16_000)
    heard = [decoder.feed(STEREO[at : at + 16]).shape[0] for at in range(0, len(STEREO), 16)]

    at_once = [samples for samples in heard if samples]

    assert at_once == [FRAME] * (len(STEREO_EXPECTED) // FRAME)


def test_a_last_frame_that_is_cut_off_is_told_and_not_heard() -> None:
    decoder = AudioDecoder(AudioFormat("flac", channel=1), 16_000)

    samples = decoded([STEREO[:-100]], AudioFormat(), 16_000, decoder)

    whole = len(STEREO_EXPECTED) // FRAME * FRAME
    assert (np.array_equal(samples, STEREO_EXPECTED[:whole, 0]), decoder.truncated) == (True, True)


@pytest.mark.parametrize("kept", [20, 5_000])
def test_a_stream_without_one_whole_frame_is_an_error(kept: int) -> None:
    decoder = AudioDecoder(AudioFormat("flac"), 16_000)
    decoder.feed(STEREO[:kept])

    with pytest.raises(InvalidRequest, match=r"^FLAC: the stream ends (in the middle of a frame|within the header)"):
        decoder.finish()


def test_a_header_alone_is_silence() -> None:
    last_metadata = b"\x81\0\0\0"

    assert decoded([STEREO[:42] + last_metadata], AudioFormat("flac"), 16_000).shape == (0,)


def test_a_tag_behind_the_audio_is_passed_over() -> None:
    samples = decoded([STEREO + b"TAG" + bytes(125)], AudioFormat("flac", channel=1), 16_000)

    assert np.array_equal(samples, STEREO_EXPECTED[:, 0])


def test_a_wrong_byte_within_a_frame_is_an_error() -> None:
    broken = bytearray(STEREO)
    broken[len(STEREO) // 2] ^= 0x10

    with pytest.raises(InvalidRequest, match=r"^FLAC: frame \d+ cannot be decoded"):
        decoded([bytes(broken)], AudioFormat("flac"), 16_000)


def test_bytes_that_never_become_a_frame_are_given_up() -> None:
    decoder = AudioDecoder(AudioFormat("flac"), 16_000)
    header = STEREO.index(b"\xff\xf8")
    decoder.feed(STEREO[: header + 16])

    with pytest.raises(InvalidRequest, match=r"^FLAC: frame 0 does not end within \d+ bytes"):
        for _ in range(100):
            decoder.feed(bytes(1_000))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello world, how are you", "FLAC: expected b'fLaC' first, got b'hello world, how', which is text"),
        (b"fLaC\1\0\0\x22" + bytes(34), "FLAC: expected STREAMINFO of 34 bytes first, got block 1 of 34 bytes"),
        (b"fLaC\x80\0\0\x22" + bytes(34), "FLAC: sample rate: 0, expected 8000 to 48000"),
        (STEREO[:42] + b"\x81\0\0\0" + b"not a frame at all", "FLAC: expected the header of a frame, got b'not a"),
        (STEREO[:42] + b"\1\0\0\0" * 200, "FLAC: no audio after 128 metadata blocks"),
    ],
)
def test_what_is_wrong_with_a_stream_is_said(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        AudioDecoder(AudioFormat("flac"), 16_000).feed(data)


def test_real_speech_is_lossless_whatever_its_splits() -> None:
    files = sorted((SPEECH / "ljspeech").glob("*.flac"))[:3]
    if not files:
        pytest.skip("../shared/data/speech is not here")
    for file in files:
        data = file.read_bytes()
        expected = decoded([data], AudioFormat(), 16_000)
        at = random.Random(1).sample(range(len(data)), 200)

        with av.open(str(file)) as container:
            read = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])

        assert np.array_equal(expected, read / np.float32(32_768))
        assert np.array_equal(decoded(cut(data, at), AudioFormat(), 16_000), expected)
