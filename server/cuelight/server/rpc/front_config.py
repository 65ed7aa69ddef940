"""Where a front listens and what it lets in; the same for both fronts."""

from dataclasses import dataclass

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.tls import TlsFiles

__all__ = ["FrontConfig"]


@dataclass(frozen=True, slots=True)
class FrontConfig:
    """One listening address. `port` 0 takes a free one; `max_message_bytes` bounds messages both ways."""

    host: str
    port: int
    max_message_bytes: int
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port: expected 0 to 65535, got {self.port}")
        if not 1 <= self.max_message_bytes <= 2**31 - 1:
            raise ConfigError(f"max_message_bytes: expected 1 to 2147483647, got {self.max_message_bytes}")
