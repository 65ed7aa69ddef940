"""What may be said about audio, and what may not."""

from typing import Any

import pytest

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio import AudioFormat


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoding": "mp3"}, "audio.encoding: 'mp3', expected one of unspecified, linear16"),
        ({"sample_rate_hz": 7_999}, "audio.sample_rate_hz: 7999, expected 8000 to 48000"),
        ({"sample_rate_hz": 48_001}, "audio.sample_rate_hz: 48001, expected 8000 to 48000"),
        ({"sample_rate_hz": -1}, "audio.sample_rate_hz: -1"),
        ({"encoding": "mulaw"}, "audio.sample_rate_hz: 0, expected 8000 to 48000: mulaw has no header"),
        ({"channel_count": 9}, "audio.channel_count: 9, expected 1 to 8"),
        ({"channel_count": -1}, "audio.channel_count: -1"),
        ({"channel_count": 2, "channel": 3}, "audio.channel: 3, expected 0 to 2"),
        ({"channel": -1}, "audio.channel: -1"),
        ({"encoding": "linear16", "sample_rate_hz": 8_000, "channel": 2}, "audio.channel: 2, expected 0 to 1"),
        ({"channel": 9}, "audio.channel: 9, expected 0 to 8"),
    ],
)
def test_what_is_out_of_range_is_named_with_what_is_allowed(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        AudioFormat(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"encoding": "linear16", "sample_rate_hz": 8_000, "channel_count": 8, "channel": 8},
        {"encoding": "wav", "channel": 8},
        {"sample_rate_hz": 48_000, "channel": 3},
    ],
)
def test_what_a_header_may_still_say_is_left_open(fields: dict[str, Any]) -> None:
    AudioFormat(**fields)
