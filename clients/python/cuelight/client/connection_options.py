"""How the commands that call a server are told which, and how they find it."""

import argparse
import sys
from collections.abc import Callable
from collections.abc import Sequence as Items
from pathlib import Path

from cuelight.client.channel import Channel, Tls
from cuelight.client.errors import CuelightClientError

__all__ = [
    "DEFAULT_URL",
    "Unusable",
    "add_connection",
    "check_address",
    "exit_code",
    "note_silence",
    "opened",
    "tls_of",
]

DEFAULT_URL = "127.0.0.1:8001"
_SILENCE_S = 1.0
"""How long nobody answers before that is said; trying goes on."""


class Unusable(Exception):
    """The command line asks for what cannot be done."""


def add_connection(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add `--url`, `--tls-ca` and `--tls-identity`; with `several`, `--url` may be repeated and is a list or None."""
    if several:
        parser.add_argument(
            "--url",
            action="append",
            metavar="HOST:PORT",
            help=f"repeat for servers to go on at ({DEFAULT_URL})",
        )
    else:
        parser.add_argument("--url", default=DEFAULT_URL, metavar="HOST:PORT", help=f"default: {DEFAULT_URL}")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="use TLS, trusting this authority (PEM)")
    parser.add_argument(
        "--tls-identity", type=Path, nargs=2, metavar=("CERTIFICATE", "KEY"), help="with --tls-ca: who we are (PEM)"
    )


def tls_of(arguments: argparse.Namespace) -> Tls | None:
    """Return how the connection is to be encrypted, None for not at all. Raises: Unusable for half of it."""
    if arguments.tls_ca is None:
        if arguments.tls_identity is not None:
            raise Unusable("--tls-identity goes with --tls-ca")
        return None
    return Tls(arguments.tls_ca, *(arguments.tls_identity or ()))


def opened(arguments: argparse.Namespace) -> Channel:
    """Return a connection to the one server.

    Raises: OSError for a file that cannot be read; Unusable for what is no address; as `tls_of`.
    """
    check_address(arguments.url)
    return Channel(arguments.url, tls=tls_of(arguments))


def check_address(address: str) -> None:
    """Raise Unusable for a web address: what is asked here is gRPC, which has none."""
    scheme, found, rest = address.partition("://")
    if found and scheme in ("http", "https", "grpc", "grpcs"):
        raise Unusable(f"--url {address}: expected HOST:PORT, such as {rest.strip('/') or DEFAULT_URL}")


def exit_code(run: Callable[[], int | None], *unusable: type[Exception]) -> int:
    """Run a command and return its exit code, having said what went wrong, if anything did.

    2 is for what cannot be used: Unusable, files, and what is `unusable` besides; 1 for what came of the call.
    """
    refused: tuple[type[Exception], ...] = (Unusable, OSError, *unusable)
    try:
        return run() or 0
    except refused as error:
        print(f"cuelight: error: {error}", file=sys.stderr)
        return 2
    except CuelightClientError as error:
        print(f"cuelight: error: {error}", file=sys.stderr)
        return 1


def note_silence(channels: Items[Channel]) -> None:
    """Say so where none of the servers answers for a while."""
    if not any(channel.wait_connected(_SILENCE_S) for channel in channels):
        addresses = ", ".join(channel.address for channel in channels)
        print(f"cuelight: note: no server answers at {addresses} yet; still trying", file=sys.stderr)
