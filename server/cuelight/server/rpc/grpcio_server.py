"""A whole server on the grpcio front: one process, from start to exit code."""

import asyncio
import logging
import os
import sys
import threading

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.application import Announce, Application, build_application
from cuelight.server.rpc.front_config import FrontConfig, check_port_free
from cuelight.server.rpc.grpcio_front import GrpcioFront
from cuelight.server.rpc.lifecycle import STOP_S, ExitSignals

__all__ = ["run_grpcio"]

_LINGER_S = 0.1
"""After the last call: grpcio cancels what reaches it while it stops, and calls on their way deserve UNAVAILABLE."""

_log = logging.getLogger("cuelight.lifecycle")


def run_grpcio(front: FrontConfig, *, factory: str, config_json: str, grace_s: float, announce: Announce) -> int:
    """Serve the application that `factory` builds until a signal ends it, and return the exit code.

    0 after a drain, 128 + the signal when ended at once, 1 when a part of the application died. `factory` is
    `module:function`, called with `config_json`. Calls in flight get `grace_s` seconds to end.

    Raises: ConfigError when the port is taken, or from the application's start.
    """
    check_port_free(front)
    code = asyncio.run(_serve(front, factory, config_json, grace_s, announce))
    _leave_stuck_threads(code)
    return code


async def _serve(config: FrontConfig, factory: str, config_json: str, grace_s: float, announce: Announce) -> int:
    signals = ExitSignals()
    signals.install()
    application = build_application(factory, config_json)
    front = GrpcioFront(config, application.services, application.ledger)
    try:
        await application.start()
        await front.start()
        announce.listening(front.port, application.describe())
        code = await _until_asked_or_failed(signals, application, announce)
        if await _drained(application, grace_s):
            await asyncio.sleep(_LINGER_S)
            await front.stop(STOP_S)
        return code
    finally:
        await front.stop(0)
        await _stop(application)


async def _until_asked_or_failed(signals: ExitSignals, application: Application, announce: Announce) -> int:
    async with asyncio.TaskGroup() as waiting:
        asked = waiting.create_task(signals.asked.wait())
        failed = waiting.create_task(application.failure())
        loading = waiting.create_task(_tell_loaded(application, announce))
        await asyncio.wait((asked, failed), return_when=asyncio.FIRST_COMPLETED)
        for task in (asked, failed, loading):
            task.cancel()
    error = None if failed.cancelled() else failed.result()
    if isinstance(error, ConfigError):
        raise error
    if error is not None:
        _log.critical("a background task died; the server stops", exc_info=error)
    return 0 if error is None else 1


async def _tell_loaded(application: Application, announce: Announce) -> None:
    await application.loaded()
    announce.loaded(application.describe())


async def _drained(application: Application, grace_s: float) -> bool:
    """Return whether every call ended within the grace period; their answers may still be on their way out."""
    try:
        async with asyncio.timeout(grace_s):
            await application.drain()
    except TimeoutError:
        _log.warning("%d calls cut: the grace period of %g s is over", application.ledger.in_flight, grace_s)
        return False
    return True


async def _stop(application: Application) -> None:
    try:
        async with asyncio.timeout(STOP_S):
            await application.stop()
    except TimeoutError:
        _log.warning("models still compute or load; leaving without them")


def _leave_stuck_threads(code: int) -> None:
    """End the process if a thread still computes: the interpreter would wait for it, however long that takes."""
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    if any(not thread.daemon for thread in others):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
