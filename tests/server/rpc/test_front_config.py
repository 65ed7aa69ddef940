"""Where a front listens: addresses as transports take them, and ports that are taken."""

import socket

import pytest

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.front_config import FrontConfig, check_port_free


def config(host: str = "127.0.0.1", port: int = 0) -> FrontConfig:
    return FrontConfig(host, port, 1 << 20)


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("models.example", "models.example:80")]
)
def test_an_address_has_its_ipv6_host_in_brackets(host: str, address: str) -> None:
    assert config(host, 80).address == address


@pytest.mark.parametrize(("host", "ip_addresses"), [("localhost", {"127.0.0.1", "::1"}), ("0.0.0.0", {"0.0.0.0"})])
def test_a_host_is_resolved(host: str, ip_addresses: set[str]) -> None:
    assert config(host).ip_address() in ip_addresses


def test_a_host_that_cannot_be_resolved_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot listen on no such host:80: "):
        config("no such host", 80).ip_address()


def test_a_port_that_is_taken_is_named_with_the_reason() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            check_port_free(config(port=port))


def test_any_free_port_is_always_free() -> None:
    check_port_free(config("no such host", 0))


@pytest.mark.parametrize(("port", "size"), [(-1, 1), (65_536, 1), (0, 0), (0, 2**31)])
def test_values_out_of_range_are_refused(port: int, size: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        FrontConfig("127.0.0.1", port, size)
