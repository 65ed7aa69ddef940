"""What a front hosts: the contract between the composition root and the two launchers.

An application is built from JSON by a factory that is named, not passed: the envoy front builds it inside another
process. The name is `module:function`, the function takes the JSON text and returns the application.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.methods import Service

__all__ = ["Announce", "Application", "build_application"]

Announce = Callable[[int, dict[str, Any]], None]
"""Called once, when the port answers, with the port and with what `Application.describe` returned."""


class Application(Protocol):
    """Everything behind the port. Its coroutines run on the loop that serves the calls."""

    services: tuple[Service, ...]
    ledger: CallLedger

    async def start(self) -> None:
        """Become ready to serve; the port opens afterwards.

        Raises: ConfigError when the configuration turns out unusable.
        """
        ...

    async def failure(self) -> BaseException:
        """Return what broke a part of the server that it cannot do without; wait for ever while nothing did.

        The front then drains and the process exits with code 1.
        """
        ...

    async def drain(self) -> None:
        """Report NOT_SERVING, refuse new calls and return once those in flight have ended."""
        ...

    async def stop(self) -> None:
        """Release everything. Called once, whether `drain` finished or ran out of time."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what is served, as JSON values, for the startup message."""
        ...


def build_application(factory: str, config_json: str) -> Application:
    """Call the factory named `module:function`.

    Raises: ConfigError from the factory, or when the name leads nowhere.
    """
    module_name, separator, function_name = factory.partition(":")
    if not separator:
        raise ConfigError(f'application factory "{factory}": expected module:function')
    try:
        build = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f'application factory "{factory}": {error}') from error
    application: Application = build(config_json)
    return application
