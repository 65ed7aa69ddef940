"""Applications that end in unusual ways, and a process that serves one: `python -m tests.server.rpc.ending_application
FRONT HOW`.

HOW is the reason of the end: `dies` (a background task raises), `unusable` (it finds the configuration unusable),
`dies at the start` and `unusable at the start` (neither gets to serve), `stuck` (a thread computes for ever, and the
server is asked to leave), `talks` (as `unusable`, after writing to stderr more than any pipe holds), `babbles` (on the
envoy front: it tells the launcher what is no event).
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.control import CONTROL_FD_VARIABLE
from cuelight.server.rpc.envoy_front import run_envoy
from cuelight.server.rpc.front_config import FrontConfig
from cuelight.server.rpc.grpcio_server import run_grpcio
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.methods import Service

ERRORS = {"dies": ValueError("the part is gone"), "unusable": ConfigError("no such thing: unicorns")}
ERRORS["talks"] = ERRORS["unusable"]
LONG_LINE_BYTES = 1 << 20
LINES = 20_000
AT_THE_START = " at the start"


class EndingApplication:
    """Has no services; `how` decides what `failure` tells."""

    def __init__(self, how: str) -> None:
        self.services: tuple[Service, ...] = ()
        self.ledger = CallLedger(1)
        self._how = how

    async def start(self) -> None:
        """Begin to compute for ever, raise, write or tell, where that is asked for."""
        if error := ERRORS.get(self._how.removesuffix(AT_THE_START)) if self._how.endswith(AT_THE_START) else None:
            raise error
        if self._how == "stuck":
            threading.Thread(target=threading.Event().wait).start()
        if self._how == "talks":
            sys.stderr.write("x" * LONG_LINE_BYTES + "\n")
            for number in range(LINES):
                sys.stderr.write(f"line {number}\n")
        if self._how == "babbles":
            os.write(int(os.environ[CONTROL_FD_VARIABLE]), b"blah\n")

    async def loaded(self) -> None:
        """Return at once."""

    async def failure(self) -> BaseException:
        """Return the error at once, or never."""
        if self._how not in ERRORS:
            await asyncio.Event().wait()
        return ERRORS[self._how]

    async def drain(self) -> None:
        """Return at once: there are no calls."""

    async def stop(self) -> None:
        """Say that it was stopped, and never return where a thread is stuck."""
        print("stopped", flush=True)
        if self._how == "stuck":
            await asyncio.Event().wait()

    def describe(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


def build(how: str) -> EndingApplication:
    """Return the application; the name that fronts call."""
    return EndingApplication(how)


class AskToLeave:
    """Sends the process SIGTERM as soon as it serves."""

    def listening(self, port: int, description: Mapping[str, Any]) -> None:
        """Ask."""
        os.kill(os.getpid(), signal.SIGTERM)

    def loaded(self, description: Mapping[str, Any]) -> None:
        """Say nothing."""


class SayNothing(AskToLeave):
    """Leaves the end to the application."""

    def listening(self, port: int, description: Mapping[str, Any]) -> None:
        """Say nothing."""


def main(front: str, how: str) -> int:
    """Serve until the application ends."""
    run = {"envoy": run_envoy, "grpcio": run_grpcio}[front]
    announce = AskToLeave() if how == "stuck" else SayNothing()
    factory = "tests.server.rpc.ending_application:build"
    try:
        return run(
            FrontConfig("127.0.0.1", 0, 1 << 20), factory=factory, config_json=how, grace_s=5.0, announce=announce
        )
    except ConfigError as error:
        print(f"unusable: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
