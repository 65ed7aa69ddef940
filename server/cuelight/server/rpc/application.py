"""What a front hosts: the contract between the composition root and the two launchers.

An application is built from JSON by a factory that is named, not passed: the envoy front builds it inside another
process. The name is `module:function`, the function takes the JSON text and returns the application.
"""

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.methods import Service

__all__ = ["Announce", "Application", "build_application"]


class Announce(Protocol):
    """What the launcher tells the user. `description` is what `Application.describe` returns at that time."""

    def listening(self, port: int, description: Mapping[str, Any]) -> None:
        """The port answers."""
        ...

    def loaded(self, description: Mapping[str, Any]) -> None:
        """The port answers, and what is loaded at the start has been loaded or has failed."""
        ...


class Application(Protocol):
    """Everything behind the port. Its coroutines run on the loop that serves the calls."""

    services: tuple[Service, ...]
    ledger: CallLedger

    async def start(self) -> None:
        """Become able to answer, and begin to load in the background; the port opens afterwards.

        Raises: ConfigError when the configuration turns out unusable.
        """
        ...

    async def loaded(self) -> None:
        """Return once what is loaded at the start has been loaded or has failed."""
        ...

    async def failure(self) -> BaseException:
        """Return the error of a part that died while serving; the server then drains and ends.

        A ConfigError means that the configuration turned out unusable.
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
