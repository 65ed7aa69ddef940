"""gRPC's headers as tables: timeouts, metadata, statuses. Expected values come from the specification."""

import pytest

from cuelight.server.errors import InvalidRequest
from cuelight.server.rpc.status import Status, StatusCode
from cuelight.server.rpc.wire import (
    encode_metadata,
    is_grpc_content_type,
    parse_metadata,
    parse_timeout_s,
    percent_encode,
    status_headers,
)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"Application/gRPC; charset=utf-8", True),
        (b"application/grpc+json", False),
        (b"application/grpc-web", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_only_grpc_with_protobuf_is_taken(content_type: bytes, expected: bool) -> None:
    assert is_grpc_content_type(content_type) is expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"1500m", 1.5),
        (b"250000u", 0.25),
        (b"99999999n", 0.099999999),
        (b"0S", 0.0),
    ],
)
def test_a_timeout_is_digits_and_a_unit(value: bytes, seconds: float) -> None:
    assert parse_timeout_s(value) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("value", [b"", b"S", b"1", b"1s", b"-1S", b"1.5S", b"123456789S", b"1 S", b"\xff\xffS"])
def test_any_other_timeout_is_the_callers_mistake(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="grpc-timeout: expected up to 8 digits"):
        parse_timeout_s(value)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-request-id", b"7")], (("x-request-id", "7"),)),
        ([(b"trace-bin", b"AAEC")], (("trace-bin", b"\x00\x01\x02"),)),
        ([(b"trace-bin", b"AAE=")], (("trace-bin", b"\x00\x01"),)),
        ([(b"trace-bin", b"AAE")], (("trace-bin", b"\x00\x01"),)),
        ([(b"trace-bin", b"AAE,AAEC")], (("trace-bin", b"\x00\x01"), ("trace-bin", b"\x00\x01\x02"))),
        ([(b"a", b"1"), (b"a", b"2")], (("a", "1"), ("a", "2"))),
        ([(b":path", b"/x"), (b"te", b"trailers"), (b"grpc-timeout", b"1S"), (b"content-type", b"x")], ()),
        ([(b"user-agent", b"grpc-python")], (("user-agent", "grpc-python"),)),
    ],
)
def test_metadata_is_what_does_not_belong_to_the_transport(
    headers: list[tuple[bytes, bytes]], expected: tuple[tuple[str, str | bytes], ...]
) -> None:
    assert parse_metadata(headers) == expected


def test_binary_metadata_that_is_not_base64_is_named() -> None:
    with pytest.raises(InvalidRequest, match='metadata "trace-bin": the value is not base64'):
        parse_metadata([(b"trace-bin", b"!!!!")])


def test_binary_metadata_is_sent_without_padding() -> None:
    assert encode_metadata([("trace-bin", b"\x00\x01"), ("Plain", "x y")]) == [
        (b"trace-bin", b"AAE"),
        (b"plain", b"x y"),
    ]


@pytest.mark.parametrize("pair", [("grpc-status", "0"), ("host", "x"), ("line", "a\nb"), ("accent", "ü")])
def test_metadata_that_cannot_be_a_header_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        encode_metadata([pair])


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ("plain text", b"plain text"),
        ("100%", b"100%25"),
        ("line\nbreak", b"line%0Abreak"),
        ("ü", b"%C3%BC"),
        ("", b""),
    ],
)
def test_a_status_message_is_percent_encoded_utf8(message: str, encoded: bytes) -> None:
    assert percent_encode(message) == encoded


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (Status(StatusCode.OK, "ignored"), [(b"grpc-status", b"0")]),
        (Status(StatusCode.NOT_FOUND, "no"), [(b"grpc-status", b"5"), (b"grpc-message", b"no")]),
        (
            Status(StatusCode.UNAVAILABLE, "x", (("k", "v"),)),
            [(b"grpc-status", b"14"), (b"grpc-message", b"x"), (b"k", b"v")],
        ),
    ],
)
def test_a_status_becomes_trailers(status: Status, headers: list[tuple[bytes, bytes]]) -> None:
    assert status_headers(status) == headers
