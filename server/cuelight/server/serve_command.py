"""`cuelight serve`: choose the front, say what happens, serve, return the exit code."""

from typing import Any, Protocol

from cuelight.server.announcement import StartAnnouncement
from cuelight.server.config import ServeConfig
from cuelight.server.config_file import to_json
from cuelight.server.errors import ConfigError
from cuelight.server.rpc.application import Announce
from cuelight.server.rpc.envoy_available import envoy_available
from cuelight.server.rpc.front_config import FrontConfig
from cuelight.server.rpc.log_format import LogOutput

__all__ = ["FrontAnnouncement", "choose_front", "serve", "serve_on_front"]

_FACTORY = "cuelight.server.app:build"


class FrontAnnouncement(Announce, Protocol):
    """Tells the user what the front and the application tell, and first of all which front it is."""

    def front(self, version: str, front: str, reason: str) -> None:
        """The front was chosen."""
        ...


def serve(config: ServeConfig, version: str) -> int:
    """Serve until asked to stop, and return the exit code. Raises: ConfigError."""
    announcement = StartAnnouncement(config, lambda line: print(line, flush=True))
    return serve_on_front(config, version, _FACTORY, announcement)


def serve_on_front(config: Any, version: str, factory: str, announcement: FrontAnnouncement) -> int:
    """Serve what `factory` builds of a configuration until asked to stop, and return the exit code.

    The configuration is a dataclass with `log`, `server`, `limits` and `tls`, whatever else it has.

    Raises: ConfigError.
    """
    LogOutput(config.log).install()
    front, reason = choose_front(config.server.front)
    announcement.front(version, front, reason)
    where = FrontConfig(config.server.host, config.server.port, config.limits.max_message_bytes, config.tls)
    if front == "envoy":
        from cuelight.server.rpc.envoy_front import run_envoy as run  # noqa: PLC0415
    else:
        from cuelight.server.rpc.grpcio_server import run_grpcio as run  # noqa: PLC0415
    return run(
        where,
        factory=factory,
        config_json=to_json(config),
        grace_s=config.server.grace_period_s,
        announce=announcement,
    )


def choose_front(asked: str) -> tuple[str, str]:
    """Return the front to serve with and why. Raises: ConfigError when envoy was asked for and cannot run here."""
    if asked == "grpcio":
        return asked, "asked for"
    why_not = envoy_available()
    if asked == "envoy":
        if why_not is not None:
            raise ConfigError(f"server.front: envoy cannot run here: {why_not}")
        return asked, "asked for"
    return ("envoy", "auto: it runs here") if why_not is None else ("grpcio", f"auto: {why_not}")
