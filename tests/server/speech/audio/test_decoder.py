"""Which encoding a stream is in, and what else holds for all of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio import AudioDecoder, AudioFormat, Encoding
from tests.server.speech.audio.encoded import decoded, noise, opus, written

SAMPLES = noise(0.3, 48_000)
FILES = {
    "wav": written(SAMPLES, 48_000, "WAV", "PCM_16")[0],
    "flac": written(SAMPLES, 48_000, "FLAC", "PCM_16")[0],
    "ogg_opus": opus(SAMPLES, page_ms=100)[0],
}


@pytest.mark.parametrize("encoding", FILES)
def test_a_container_is_sniffed_from_messages_of_one_byte(encoding: Encoding) -> None:
    data = FILES[encoding]

    sniffed = decoded([data[at : at + 1] for at in range(len(data))], AudioFormat(), 16_000)

    assert np.array_equal(sniffed, decoded([data], AudioFormat(encoding), 16_000))
    assert sniffed.shape == (4_800,)


@pytest.mark.parametrize("first", [b"RIF", b"R", b"fLa\0", b"\0\0", b"Og"])
def test_what_has_no_header_is_linear16_if_there_is_a_rate(first: bytes) -> None:
    data = first + bytes(len(first) % 2)

    samples = decoded([data[at : at + 1] for at in range(len(data))], AudioFormat(sample_rate_hz=16_000), 16_000)

    assert (samples * 32_768).tolist() == np.frombuffer(data, "<i2").tolist()


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200)), drop=st.sampled_from([0, 0, 7]))
@example(data=b"OggS", cuts=[], drop=0)
@example(data=b"ID3\x03", cuts=[2], drop=0)
@settings(deadline=None, max_examples=300)
@pytest.mark.parametrize("encoding", ["unspecified", "linear16"])
def test_integers_are_the_samples_that_floats_are(encoding: Encoding, data: bytes, cuts: list[int], drop: int) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    messages = [data[start:end] for start, end in pairwise(places)]

    def outcome(integers: bool) -> object:
        decoder = AudioDecoder(AudioFormat(encoding, 16_000), 16_000, 0, drop, integers)
        try:
            pieces = [piece for message in messages for piece in decoder.pieces(message)]
            pieces = [piece for piece in (*pieces, decoder.finish()) if len(piece)]
        except InvalidRequest as error:  # random bytes may spell the beginning of a container
            assert encoding == "unspecified"
            return error.message
        assert all(piece.dtype == (np.int16 if integers else np.float32) for piece in pieces)
        samples = np.concatenate([np.empty(0, np.float32), *pieces]) * (1 if integers else 32_768)
        return samples.tolist(), decoder.source_samples, decoder.truncated

    assert outcome(integers=True) == outcome(integers=False)


@pytest.mark.parametrize("data", [b"RI", b"OggS"[:2], b"fLa"])
def test_integers_too_few_to_tell_the_encoding_are_heard_at_the_end(data: bytes) -> None:
    decoder = AudioDecoder(AudioFormat(sample_rate_hz=16_000), 16_000, integers=True)

    assert list(decoder.pieces(data)) == []
    assert decoder.finish().tolist() == np.frombuffer(data[:2], "<i2").tolist()
    assert decoder.truncated == (len(data) == 3)


@pytest.mark.parametrize("messages", [[b"hello world"], [b"R"], [b"\0"]])
def test_what_has_neither_header_nor_rate_is_told_what_to_send(messages: list[bytes]) -> None:
    with pytest.raises(InvalidRequest, match=r"^audio: no header of .*, and no audio.sample_rate_hz; send one"):
        decoded(messages, AudioFormat(), 16_000)


@pytest.mark.parametrize(("data", "name"), [(b"\x1aE\xdf\xa3\x9f", "WebM or Matroska"), (b"ID3\x04\0", "MP3")])
def test_containers_that_are_not_taken_are_named(data: bytes, name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^audio: {name}, expected WAV, FLAC, Ogg Opus or raw samples"):
        AudioDecoder(AudioFormat(sample_rate_hz=16_000), 16_000).feed(data)


@pytest.mark.parametrize("encoding", ["unspecified", "linear16", "flac", "ogg_opus", "wav"])
def test_a_stream_without_a_byte_is_no_error(encoding: Encoding) -> None:
    decoder = AudioDecoder(AudioFormat(encoding, 16_000), 48_000)

    assert decoder.feed(b"").shape == (0,)
    assert decoder.finish().shape == (0,)


@given(data=st.binary(max_size=300), encoding=st.sampled_from(list(FILES)), kept=st.integers(0, 120))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_decoded_or_refused(data: bytes, encoding: Encoding, kept: int) -> None:
    decoder = AudioDecoder(AudioFormat(encoding), 16_000)

    try:
        samples = decoded([FILES[encoding][:kept], data], AudioFormat(), 16_000, decoder)
    except InvalidRequest as error:
        assert error.message
    else:
        assert np.isfinite(samples).all()


@given(at=st.integers(0, 5_000), value=st.integers(0, 255), encoding=st.sampled_from(list(FILES)))
@settings(deadline=None, max_examples=200)
def test_one_wrong_byte_is_survived(at: int, value: int, encoding: Encoding) -> None:
    broken = bytearray(FILES[encoding])
    broken[at % len(broken)] = value

    try:
        decoded([bytes(broken)], AudioFormat(encoding), 16_000)
    except InvalidRequest as error:
        assert error.message
