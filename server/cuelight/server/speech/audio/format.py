"""What a caller says its audio is, checked as it is said."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from cuelight.server.errors import InvalidRequest

__all__ = [
    "CONTAINERS",
    "MAX_CHANNELS",
    "MAX_RATE_HZ",
    "MIN_RATE_HZ",
    "AudioFormat",
    "Encoding",
    "check_channel",
    "check_channel_count",
    "check_rate",
]

Encoding = Literal["unspecified", "linear16", "linear32", "float32", "mulaw", "alaw", "flac", "ogg_opus", "wav"]

CONTAINERS: Final[frozenset[Encoding]] = frozenset({"flac", "ogg_opus", "wav"})
"""The encodings whose own header says rate and channels."""

MIN_RATE_HZ: Final = 8_000
MAX_RATE_HZ: Final = 48_000
MAX_CHANNELS: Final = 8


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How samples are written. A header wins over what is said here.

    `sample_rate_hz` and `channel_count` are 0 where a header says them; without a header no channel count means one.
    `channel` is the one to listen to, from 1 on; 0 takes the mean of all.

    Raises: InvalidRequest for a value out of range, or raw samples without a rate.
    """

    encoding: Encoding = "unspecified"
    sample_rate_hz: int = 0
    channel_count: int = 0
    channel: int = 0

    def __post_init__(self) -> None:
        if self.encoding not in get_args(Encoding):
            raise InvalidRequest(f"audio.encoding: {self.encoding!r}, expected one of {', '.join(get_args(Encoding))}")
        if self.sample_rate_hz != 0:
            check_rate(self.sample_rate_hz, "audio.sample_rate_hz")
        elif self.encoding not in CONTAINERS and self.encoding != "unspecified":
            raise InvalidRequest(
                f"audio.sample_rate_hz: 0, expected {MIN_RATE_HZ} to {MAX_RATE_HZ}: "
                f"{self.encoding} has no header that says it"
            )
        if self.channel_count != 0:
            check_channel_count(self.channel_count, "audio.channel_count")
        known = self.channel_count != 0 or (self.encoding not in CONTAINERS and self.encoding != "unspecified")
        check_channel(self.channel, max(self.channel_count, 1) if known else MAX_CHANNELS)


def check_rate(rate_hz: int, name: str) -> None:
    """Raise InvalidRequest, naming `name`, unless audio of this rate is taken."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidRequest(f"{name}: {rate_hz}, expected {MIN_RATE_HZ} to {MAX_RATE_HZ}")


def check_channel_count(count: int, name: str) -> None:
    """Raise InvalidRequest, naming `name`, unless audio of so many channels is taken."""
    if not 1 <= count <= MAX_CHANNELS:
        raise InvalidRequest(f"{name}: {count}, expected 1 to {MAX_CHANNELS}")


def check_channel(channel: int, channel_count: int) -> None:
    """Raise InvalidRequest unless `channel` is 0, for the mean, or one of the channels there are."""
    if not 0 <= channel <= channel_count:
        raise InvalidRequest(f"audio.channel: {channel}, expected 0 to {channel_count}, the number of channels")
