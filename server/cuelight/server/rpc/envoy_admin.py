"""Questions to Envoy's admin interface, over its private socket.

Envoy has no way to tell when its listener is up or its last bytes are out, so both are asked for until they are.
"""

import asyncio
import json
import socket
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

__all__ = ["answers_sent", "listening_port"]

_ASK_AGAIN_S = 0.005
_PORT_TIMEOUT_S = 30.0
_SENT_TIMEOUT_S = 5.0
_SENT_GAUGES = "downstream_rq_active|downstream_cx_tx_bytes_buffered"


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=5.0)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket at the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


async def listening_port(admin_socket: Path) -> int:
    """Return the port that Envoy listens on, once it does.

    Raises: TimeoutError when it does not within half a minute.
    """
    async with asyncio.timeout(_PORT_TIMEOUT_S):
        while True:
            with suppress(OSError):
                for listener in (await _ask(admin_socket, "/listeners?format=json")).get("listener_statuses", ()):
                    return int(listener["local_address"]["socket_address"]["port_value"])
            await asyncio.sleep(_ASK_AGAIN_S)


async def answers_sent(admin_socket: Path) -> None:
    """Return once no request is open and no byte waits to be sent, or after five seconds."""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_SENT_TIMEOUT_S):
            while True:
                stats = await _ask(admin_socket, f"/stats?format=json&type=Gauges&filter=ingress_http.({_SENT_GAUGES})")
                if not any(stat.get("value") for stat in stats["stats"]):
                    return
                await asyncio.sleep(_ASK_AGAIN_S)


async def _ask(admin_socket: Path, path: str) -> dict[str, Any]:
    return await asyncio.to_thread(_ask_blocking, admin_socket, path)


def _ask_blocking(admin_socket: Path, path: str) -> dict[str, Any]:
    connection = _UnixConnection(admin_socket)
    try:
        connection.request("GET", path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()
