"""The private line between the launcher and the application inside Envoy: JSON objects, one a line, over a socket pair.

    launcher -> worker   {"command": "start", "factory": ..., "config_json": ..., "max_message_bytes": ...}
                         {"command": "drain", "grace_s": ...}
    worker -> launcher   {"event": "ready", "description": {...}}
                         {"event": "loaded", "description": {...}}
                         {"event": "died", "configuration": false, "message": ...}
                         {"event": "failed", "configuration": true, "message": ...}
                         {"event": "drained", "in_flight": ...}

The end of the line in the worker means that the launcher died, by whatever signal. The worker then ends the whole
process at once: nobody would be left to drain it, and an orphan would hold the port. A thread of its own reads the
line, so that this works while the event loop is busy.
"""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["CONTROL_FD_VARIABLE", "WorkerLine"]

CONTROL_FD_VARIABLE = "CUELIGHT_CONTROL_FD"


class WorkerLine:
    """The worker's end. `on_command` runs on the reading thread."""

    def __init__(self, fd: int, on_command: Callable[[dict[str, Any]], None]) -> None:
        self._socket = socket.socket(fileno=fd)
        self._on_command = on_command
        threading.Thread(target=self._read, name="cuelight-control", daemon=True).start()

    def send(self, event: dict[str, Any]) -> None:
        """Tell the launcher; silently in vain when it is gone, which ends this process anyway."""
        try:
            self._socket.sendall(json.dumps(event).encode() + b"\n")
        except OSError:
            return

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._on_command(json.loads(line))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
