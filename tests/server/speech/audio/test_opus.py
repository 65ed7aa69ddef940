"""Ogg and Opus."""

import struct
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio import AudioDecoder, AudioFormat
from cuelight.server.speech.audio.ogg import PacketAssembler, PageSplitter, page_crc
from tests.server.speech.audio.encoded import Samples, cut, cuts, decoded, noise, opus, written

MONO, MONO_EXPECTED = opus(noise(1.3, 48_000), page_ms=100)
FIRST, LAST, CONTINUED = 2, 4, 1
HEAD = b"OpusHead\1\1\0\0" + struct.pack("<IhB", 48_000, 0, 0)
TAGS = b"OpusTags" + bytes(8)
SILENCE = b"\xfc\xff\xfe"
"""20 ms of CELT silence."""


def page(flags: int, granule: int, packets: Iterable[bytes], serial: int = 1, open_end: bool = False) -> bytes:
    """Return a page; `open_end`: its last packet, of a multiple of 255 bytes, goes on on the next page."""
    packets = list(packets)
    lacing = bytearray()
    for packet in packets:
        lacing += bytes([255] * (len(packet) // 255)) + bytes([len(packet) % 255])
    if open_end:
        assert lacing.pop() == 0
    head = b"OggS\0" + struct.pack("<BqIII", flags, granule, serial, 0, 0)
    body = head + bytes([len(lacing)]) + bytes(lacing) + b"".join(packets)
    return body[:22] + struct.pack("<I", page_crc(body)) + body[26:]


def heard(data: bytes) -> Samples:
    return decoded([data], AudioFormat("ogg_opus"), 48_000)


@given(at=cuts(len(MONO)))
@settings(deadline=None, max_examples=30)
def test_a_stream_split_anywhere_is_what_ffmpeg_decodes(at: list[int]) -> None:
    decoder = AudioDecoder(AudioFormat(), 48_000)

    samples = decoded(cut(MONO, at), AudioFormat(), 48_000, decoder)

    assert samples.shape == (62_400,)
    assert np.abs(samples - MONO_EXPECTED[:, 0]).max() < 1e-3
    assert (decoder.source_rate_hz, decoder.source_samples, decoder.truncated) == (48_000, 62_400, False)


@pytest.mark.parametrize("page_ms", [20, 1_000])
@pytest.mark.parametrize("frame_ms", [10, 60])
def test_pages_and_packets_of_any_length_are_joined(page_ms: int, frame_ms: int) -> None:
    data, expected = opus(noise(1.01, 48_000), page_ms, frame_ms)

    samples = heard(data)

    assert samples.shape == expected[:, 0].shape
    assert np.abs(samples - expected[:, 0]).max() < 1e-3


def test_stereo_is_read_as_libsndfile_reads_it() -> None:
    data, expected = written(noise(0.7, 48_000, channels=2), 48_000, "OGG", "OPUS")

    samples = decoded([data], AudioFormat(channel=2), 48_000)

    assert samples.shape == expected[:, 1].shape
    assert np.abs(samples - expected[:, 1]).max() < 1e-4


def test_the_tone_is_at_its_place_after_resampling() -> None:
    samples = decoded([MONO], AudioFormat(), 16_000)

    assert samples.shape == (20_800,)
    spectrum = np.abs(np.fft.rfft(samples[:16_000]))
    assert int(spectrum.argmax()) == 440


def test_the_end_is_where_the_last_page_says() -> None:
    data = page(FIRST, 0, [HEAD]) + page(0, 0, [TAGS]) + page(0, 1_920, [SILENCE] * 2) + page(LAST, 2_000, [SILENCE])

    assert heard(data).shape == (2_000,)


def test_a_stream_joined_late_keeps_its_last_page_right() -> None:
    late = page(0, 9_601_920, [SILENCE] * 2) + page(LAST, 9_602_000, [SILENCE])

    assert heard(page(FIRST, 0, [HEAD]) + page(0, 0, [TAGS]) + late).shape == (2_000,)


def test_samples_before_the_pre_skip_are_not_heard() -> None:
    head = HEAD[:10] + struct.pack("<H", 1_000) + HEAD[12:]
    data = page(FIRST, 0, [head]) + page(0, 0, [TAGS]) + page(0, 960, [SILENCE]) + page(LAST, 1_920, [SILENCE])

    assert heard(data).shape == (920,)


def test_one_stream_may_follow_another() -> None:
    audio = page(FIRST, 0, [HEAD]) + page(0, 0, [TAGS]) + page(LAST, 960, [SILENCE])
    other = page(FIRST, 0, [HEAD], 2) + page(0, 0, [TAGS], 2) + page(LAST, 900, [SILENCE], 2)

    assert heard(audio + other).shape == (1_860,)


def test_other_streams_beside_it_are_passed_over() -> None:
    skeleton = page(FIRST, 0, [b"fishead\0" + bytes(56)], 9)
    beside = page(FIRST, 0, [b"\x80theora"], 8) + page(0, 0, [bytes(100)], 8)
    data = skeleton + page(FIRST, 0, [HEAD]) + beside + page(0, 0, [TAGS]) + page(LAST, 960, [SILENCE])

    assert heard(data).shape == (960,)


def test_a_picture_in_the_comments_goes_over_many_pages() -> None:
    parts = [TAGS + bytes(255 * 255 - len(TAGS)), *[bytes(255 * 255)] * 40]
    pages = [page(CONTINUED if at else 0, -1, [part], open_end=True) for at, part in enumerate(parts)]
    tags = b"".join(pages) + page(CONTINUED, 0, [b"\0"])

    assert heard(page(FIRST, 0, [HEAD]) + tags + page(LAST, 960, [SILENCE])).shape == (960,)


def test_a_packet_whose_beginning_was_lost_is_left_out() -> None:
    (only,) = PageSplitter().feed(page(CONTINUED, 0, [b"rest", b"whole"]))

    assert list(PacketAssembler().packets(only)) == [b"whole"]


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 510, 1_000])
def test_packets_of_any_size_are_laced(size: int) -> None:
    packets = [bytes([7]) * size, b"next"]
    (only,) = PageSplitter().feed(page(0, 0, packets))

    assert list(PacketAssembler().packets(only)) == packets


def test_a_stream_cut_off_is_heard_and_told() -> None:
    decoder = AudioDecoder(AudioFormat(), 48_000)

    samples = decoded([MONO[:-50]], AudioFormat(), 48_000, decoder)

    assert (samples.shape[0] > 48_000, decoder.truncated) == (True, True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello world, how are you", r"Ogg: expected b'OggS\\x00' first, got b'hello world, how', which is text"),
        (written(noise(0.1, 16_000), 16_000, "OGG", "VORBIS")[0], "Ogg: expected Opus, got Vorbis"),
        (page(FIRST, 0, [b"\x7fFLAC\1\0"]), "Ogg: expected Opus, got FLAC in Ogg"),
        (page(FIRST, 0, [b"Speex   1.2"]), "Ogg: expected Opus, got Speex"),
        (page(FIRST, 0, [b"something"]), "Ogg: expected Opus, got b'somethin'"),
        (page(FIRST, 0, [HEAD[:12]]), "Ogg Opus: expected a header of version 1"),
        (page(FIRST, 0, [HEAD[:9] + b"\0" + HEAD[10:]]), "Ogg Opus: channels: 0, expected 1 to 8"),
        (page(FIRST, 0, [HEAD]) + page(0, 0, [SILENCE]), "Ogg Opus: expected b'OpusTags' in the second packet"),
        (MONO[:2_000] + bytes([MONO[2_000] ^ 1]) + MONO[2_001:], r"Ogg: page \d+ has checksum 0x"),
    ],
)
def test_what_is_wrong_with_a_stream_is_said(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        heard(data)


def test_a_stream_that_ends_within_the_header_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match=r"^Ogg: the stream ends within the header"):
        heard(MONO[:20])


def test_hours_in_a_small_message_come_in_pieces() -> None:
    """255 packets of 120 ms, of two bytes each, are half a minute in a page of 800 bytes."""
    long = bytes([0xFF, 0x06])
    pages = b"".join(page(0, -1, [long] * 255) for _ in range(20))
    decoder = AudioDecoder(AudioFormat("ogg_opus"), 16_000)
    decoder.feed(page(FIRST, 0, [HEAD]) + page(0, 0, [TAGS]))

    pieces = [piece.shape[0] for piece in decoder.pieces(pages)]

    assert (max(pieces) < 16_000, sum(pieces) > 590 * 16_000) == (True, True)
