"""Headers as others write them, split anywhere; what is no plain sample is left to the server."""

import io
import struct
import wave

import numpy as np
import pytest

from cuelight.client.speech_options import AudioFormat
from cuelight.client.wav_header import MAX_HEADER_BYTES, SniffedAudio, sniff

soundfile = pytest.importorskip("soundfile")
NOTHING = AudioFormat()


def written(subtype: str, channels: int = 1, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((100, channels), np.float32), 22_050, subtype, format=form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize(
    ("subtype", "encoding", "width"),
    [
        ("PCM_16", "linear16", 2),
        ("PCM_32", "linear32", 4),
        ("FLOAT", "float32", 4),
        ("ULAW", "mulaw", 1),
        ("ALAW", "alaw", 1),
    ],
)
def test_samples_behind_a_header_are_found(subtype: str, encoding: str, width: int, form: str) -> None:
    data = written(subtype, 2, form)

    found = sniff(data, AudioFormat(8000, "linear16", 1, channel=2), False)

    assert found is not None
    assert found.format == AudioFormat(22_050, encoding, 2, 2)  # type: ignore[arg-type]
    assert found.frame_bytes == 2 * width
    assert found.data_bytes == 100 * 2 * width
    assert data[found.header_bytes - 8 : found.header_bytes - 4] == b"data"


def test_a_header_split_anywhere_waits_for_the_rest() -> None:
    data = written("PCM_16")
    whole = sniff(data, NOTHING, False)
    assert whole is not None

    for length in range(whole.header_bytes):
        assert sniff(data[:length], NOTHING, False) is None
    assert sniff(data[: whole.header_bytes], NOTHING, False) == whole


@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_that_was_not_known_when_it_was_written_is_none(length: int) -> None:
    data = bytearray(written("PCM_16"))
    struct.pack_into("<I", data, data.index(b"data") + 4, length)

    found = sniff(bytes(data), NOTHING, False)

    assert found is not None
    assert found.data_bytes is None


def test_chunks_in_front_of_the_samples_are_passed_over() -> None:
    data = written("PCM_16")
    place = data.index(b"data")
    odd = data[:place] + b"LIST\x03\x00\x00\x00abc\x00" + data[place:]

    found = sniff(odd, NOTHING, False)

    assert found is not None
    assert found.header_bytes == place + 8 + 12


@pytest.mark.parametrize(
    "head",
    [
        written("PCM_24"),
        written("PCM_U8"),
        b"fLaC....",
        b"OggS....",
        b"RF64\xff\xff\xff\xffWAVE",
        b"RIFF....WAVEdata....",
    ],
    ids=["24 bit", "8 bit", "flac", "ogg", "rf64", "no format"],
)
def test_what_is_no_plain_sample_goes_to_the_server_as_it_is(head: bytes) -> None:
    assert sniff(head, NOTHING, False) == SniffedAudio(NOTHING, 0)


def test_a_header_without_end_is_left_to_the_server() -> None:
    head = b"RIFF....WAVEjunk" + struct.pack("<I", 10 * MAX_HEADER_BYTES) + bytes(MAX_HEADER_BYTES)

    assert sniff(head, NOTHING, False) == SniffedAudio(NOTHING, 0)


@pytest.mark.parametrize(
    ("said", "frame_bytes"),
    [
        (NOTHING, 2),
        (AudioFormat(8000, "mulaw", 2), 2),
        (AudioFormat(8000, "float32", 3), 12),
        (AudioFormat(0, "flac"), 0),
    ],
)
def test_without_a_header_the_caller_s_word_counts(said: AudioFormat, frame_bytes: int) -> None:
    assert sniff(b"\0\0\0\0", said, False) == SniffedAudio(said, frame_bytes)
    assert sniff(b"\0", said, True) == SniffedAudio(said, frame_bytes)
    assert sniff(b"\0", AudioFormat(16_000), False) is None


def test_what_the_wave_module_writes_is_read() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(b"abcd")

    assert sniff(file.getvalue(), NOTHING, False) == SniffedAudio(AudioFormat(8000, "linear16", 1), 2, 44, 4)
