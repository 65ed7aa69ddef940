"""Texts that are not UTF-8, found in messages that do not parse."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from cuelight.server.rpc.invalid_text import invalid_text
from cuelight.text.v1 import text_pb2 as pb

GOOD = "größer 😀".encode()
BAD = b"caf\xe9"


def field(number: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([number << 3 | 2, len(body)]) + body


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (pb.EmbedRequest, field(1, BAD), "model: expected UTF-8, got byte 0xe9 at 3"),
        (pb.EmbedRequest, field(2, GOOD) + field(2, BAD), "texts[1]: expected UTF-8, got byte 0xe9 at 3"),
        # overlong = 1 (a number) comes between, and attention, a message, before.
        (
            pb.EmbedRequest,
            field(5, b"\x10\x01") + field(2, GOOD) + b"\x18\x01" + field(2, b"\x80"),
            "texts[1]: expected UTF-8, got byte 0x80 at 0",
        ),
        (
            pb.SimilarityRequest,
            field(2, field(1, GOOD)) + field(2, field(1, GOOD) + field(2, BAD)),
            "pairs[1].second: expected UTF-8, got byte 0xe9 at 3",
        ),
        # Fields of the future, of every kind, are passed over.
        (
            pb.EmbedRequest,
            field(15, BAD) + b"\x75" + bytes(4) + b"\x71" + bytes(8) + field(2, BAD),
            "texts[0]: expected UTF-8, got byte 0xe9 at 3",
        ),
    ],
)
def test_the_text_at_fault_is_named(kind: type[pb.EmbedRequest], body: bytes, said: str) -> None:
    with pytest.raises(DecodeError):
        kind.FromString(body)

    assert invalid_text(body, kind.DESCRIPTOR) == said


@pytest.mark.parametrize("body", [b"\x12", b"\x12\x7fabc"[:1], b"\xff" * 30, b"\x13\x01"], ids=repr)
def test_what_is_no_message_has_no_text_at_fault(body: bytes) -> None:
    with pytest.raises(DecodeError):
        pb.EmbedRequest.FromString(body)

    assert invalid_text(body, pb.EmbedRequest.DESCRIPTOR) is None


@given(st.binary(max_size=60))
def test_no_bytes_break_it(body: bytes) -> None:
    said = invalid_text(body, pb.SimilarityRequest.DESCRIPTOR)

    assert said is None or ": expected UTF-8, got byte 0x" in said


@given(st.lists(st.text(max_size=20), max_size=5))
def test_a_message_that_parses_has_no_text_at_fault(texts: list[str]) -> None:
    body = pb.EmbedRequest(model="m", texts=texts).SerializeToString()

    assert invalid_text(body, pb.EmbedRequest.DESCRIPTOR) is None


def test_megabytes_of_one_number_without_end_are_no_message() -> None:
    # Reading on, a byte at a time, would take hours: the number grows with every byte.
    assert invalid_text(b"\xff" * 20_000_000, pb.EmbedRequest.DESCRIPTOR) is None


def test_a_text_behind_more_fields_than_are_looked_at_is_not_named() -> None:
    near, far = field(2, b"") * 9_000 + field(2, BAD), field(2, b"") * 11_000 + field(2, BAD)
    nested = field(2, field(1, b"")) * 6_000 + field(2, field(1, BAD))

    assert invalid_text(near, pb.EmbedRequest.DESCRIPTOR) == "texts[9000]: expected UTF-8, got byte 0xe9 at 3"
    assert invalid_text(far, pb.EmbedRequest.DESCRIPTOR) is None
    assert invalid_text(nested, pb.SimilarityRequest.DESCRIPTOR) is None
