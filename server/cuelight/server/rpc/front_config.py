"""Where a front listens and what it lets in; the same for both fronts."""

import socket
from dataclasses import dataclass

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.tls import TlsFiles

__all__ = ["FrontConfig", "check_port_free", "port_taken"]


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

    @property
    def address(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def ip_address(self) -> str:
        """Return the host as an IP address.

        Raises: ConfigError when its name cannot be resolved.
        """
        try:
            return str(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            raise ConfigError(f"cannot listen on {self.address}: {error.strerror}") from error


def check_port_free(front: FrontConfig) -> None:
    """Fail before anything is loaded, not after; the transport's own check comes last.

    Raises: ConfigError when the address cannot be bound.
    """
    if front.port == 0:
        return
    address = front.ip_address()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, front.port))
            probe.listen()
        except OSError as error:
            raise ConfigError(f"cannot listen on {front.address}: {error.strerror}") from error


def port_taken(front: FrontConfig) -> str:
    """Return what to say when the transport could not bind the address, but not why."""
    return f"cannot listen on {front.address}: is the port in use?"
