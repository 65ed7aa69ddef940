"""Runs the probe service on one front, as a process of its own: `python -m tests.server.rpc.host FRONT OPTIONS`, with
options as JSON.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.envoy_front import run_envoy
from cuelight.server.rpc.front_config import FrontConfig
from cuelight.server.rpc.grpcio_server import run_grpcio
from cuelight.server.rpc.tls import TlsFiles


class PrintedPort:
    """Tells the port as a line of JSON, and nothing else."""

    def listening(self, port: int, description: Mapping[str, Any]) -> None:
        """Print the port with what is served."""
        print(json.dumps([port, dict(description)]), flush=True)

    def loaded(self, description: Mapping[str, Any]) -> None:
        """Say nothing: the probe service loads nothing."""


RUN = {"envoy": run_envoy, "grpcio": run_grpcio}


def main(front: str, options_json: str) -> int:
    """Serve until a signal ends it."""
    options: dict[str, Any] = json.loads(options_json)
    try:
        tls = TlsFiles(*options["tls"]) if "tls" in options else None
        return RUN[front](
            FrontConfig("127.0.0.1", options["port"], options["max_message_bytes"], tls),
            factory=options["factory"],
            config_json=options["config_json"],
            grace_s=options["grace_s"],
            announce=PrintedPort(),
        )
    except ConfigError as error:
        print(f"cuelight: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
