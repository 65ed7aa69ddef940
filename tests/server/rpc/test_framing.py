"""Length-prefixed messages: cut anywhere, bounded, and refused when they are not what they say."""

import gzip
import struct

import pytest

from cuelight.server.errors import InvalidRequest, MessageTooLarge, Unsupported
from cuelight.server.rpc.framing import FrameDecoder, deflate, frame, inflate

LIMIT = 1000
MESSAGES = [b"", b"a", b"bc" * 100, b"d" * LIMIT]
BODY = b"".join(b"\0" + struct.pack(">I", len(message)) + message for message in MESSAGES)


def decoded(chunks: list[bytes]) -> list[bytes]:
    decoder = FrameDecoder(LIMIT)
    messages = [message for chunk in chunks for _, message in decoder.feed(chunk)]
    decoder.finish()
    return messages


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 100, 1005, len(BODY)])
def test_a_body_may_be_cut_anywhere(size: int) -> None:
    chunks = [BODY[start : start + size] for start in range(0, len(BODY), size)]

    assert decoded(chunks) == MESSAGES


def test_a_frame_is_a_flag_a_length_and_the_bytes() -> None:
    assert frame(b"abc") == b"\0\0\0\0\3abc"
    assert frame(b"abc", compressed=True) == b"\1\0\0\0\3abc"


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(MessageTooLarge, match=r"1001.*1000"):
        list(FrameDecoder(LIMIT).feed(b"\0" + struct.pack(">I", LIMIT + 1)))


def test_what_came_before_a_bad_prefix_is_handed_on() -> None:
    messages = []
    with pytest.raises(InvalidRequest, match="flag byte of a gRPC message is 0 or 1, got 2"):
        for _, message in FrameDecoder(LIMIT).feed(frame(b"good") + b"\2\0\0\0\0"):
            messages.append(message)

    assert messages == [b"good"]


@pytest.mark.parametrize("end", [1, 4, 7])
def test_a_body_that_ends_inside_a_message_is_refused(end: int) -> None:
    decoder = FrameDecoder(LIMIT)
    assert list(decoder.feed(frame(b"abcdef")[:end])) == []

    with pytest.raises(InvalidRequest, match=f"{end} bytes of it came"):
        decoder.finish()


def test_gzip_is_what_gzip_itself_writes_and_reads() -> None:
    assert gzip.decompress(deflate(b"abc" * 100)) == b"abc" * 100
    assert inflate(gzip.compress(b"abc" * 100), "gzip", LIMIT) == b"abc" * 100


@pytest.mark.parametrize(
    ("message", "encoding", "error", "text"),
    [
        (gzip.compress(b"x" * (LIMIT + 1)), "gzip", MessageTooLarge, "1000"),
        (gzip.compress(b"x" * 10_000_000), "gzip", MessageTooLarge, "1000"),
        (gzip.compress(b"abc")[:-4], "gzip", InvalidRequest, "end inside the gzip stream"),
        (b"no gzip", "gzip", InvalidRequest, "are not gzip"),
        (b"abc", "identity", InvalidRequest, "names no grpc-encoding"),
        (b"abc", "snappy", Unsupported, 'grpc-encoding "snappy"'),
    ],
)
def test_a_compressed_message_is_bounded_and_checked(
    message: bytes, encoding: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        inflate(message, encoding, LIMIT)
