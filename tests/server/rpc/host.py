"""Runs the probe service on one front, as a process of its own: `python -m tests.server.rpc.host FRONT FACTORY CONFIG`.

Options are JSON: port, grace_s and max_message_bytes. Prints the port as soon as it answers.
"""

import json
import sys
from typing import Any

from cuelight.server.rpc.grpcio_runner import run_grpcio

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.envoy_front import run_envoy
from cuelight.server.rpc.front_config import FrontConfig
from cuelight.server.rpc.tls import TlsFiles

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
            announce=lambda port, description: print(json.dumps([port, description]), flush=True),
        )
    except ConfigError as error:
        print(f"cuelight: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
