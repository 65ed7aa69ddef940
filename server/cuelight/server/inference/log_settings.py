"""Triton's log settings, in terms of the levels and formats that this server's log has.

    log_verbose_level > 0   debug and up        log_info      info and up
    log_warning             warning and up      log_error     errors, always

Source: Triton's logging extension.
"""

from collections.abc import Mapping
from typing import Protocol

from cuelight.server.errors import InvalidRequest

__all__ = ["LogSettings", "LogSink", "Setting"]

Setting = bool | int | str

_FORMATS = {"default": "text", "ISO8601": "text", "json": "json"}
"""Asked for -> the log's own word. Lines of text begin with an ISO 8601 time."""
_SHOWN = {"text": "ISO8601", "json": "json"}
_KINDS: dict[str, type[Setting]] = {
    "log_file": str,
    "log_info": bool,
    "log_warning": bool,
    "log_error": bool,
    "log_verbose_level": int,
    "log_format": str,
}


class LogSink(Protocol):
    """Where the process logs to: `rpc.log_format.LogOutput`."""

    @property
    def level(self) -> str:
        """The lowest level that is logged: debug, info, warning or error."""
        ...

    @property
    def format(self) -> str:
        """The form of the lines: text or json."""
        ...

    def set_level(self, level: str) -> None:
        """Log records from this level up."""
        ...

    def set_format(self, name: str) -> None:
        """Write lines of this form from now on."""
        ...


class LogSettings:
    """Reads and changes the process's log. Holds nothing but the verbosity that was asked for."""

    def __init__(self, log: LogSink) -> None:
        self._log = log
        self._verbose_level = 1 if log.level == "debug" else 0

    def current(self) -> dict[str, Setting]:
        """Return every setting; `log_file` is empty, for the log goes to stderr."""
        level = self._log.level
        return {
            "log_file": "",
            "log_info": level in ("debug", "info"),
            "log_warning": level != "error",
            "log_error": True,
            "log_verbose_level": self._verbose_level if level == "debug" else 0,
            "log_format": _SHOWN[self._log.format],
        }

    def update(self, changes: Mapping[str, Setting | None]) -> dict[str, Setting]:
        """Apply the changes, all or none, and return every setting.

        Raises: InvalidRequest naming the setting, what came and what is allowed.
        """
        wanted = self.current()
        for name, value in changes.items():
            kind = _KINDS.get(name)
            if kind is None:
                raise InvalidRequest(f'log setting "{name}": unknown; known are {", ".join(_KINDS)}')
            if type(value) is not kind:
                raise InvalidRequest(f'log setting "{name}": got {value!r}, expected a value of type {kind.__name__}')
            wanted[name] = value
        level = _level(wanted)
        log_format = str(wanted["log_format"])
        if wanted["log_file"] != "":
            raise InvalidRequest('log setting "log_file": the log goes to stderr and cannot be moved while serving')
        if log_format not in _FORMATS:
            raise InvalidRequest(f'log setting "log_format": got "{log_format}", expected one of {", ".join(_FORMATS)}')
        self._log.set_level(level)
        self._log.set_format(_FORMATS[log_format])
        self._verbose_level = int(wanted["log_verbose_level"])
        return self.current()


def _level(wanted: Mapping[str, Setting]) -> str:
    """Return the level that a set of switches stands for. The log has one threshold, so not every set has one."""
    if not wanted["log_error"]:
        raise InvalidRequest('log setting "log_error": got False; errors are always logged')
    if wanted["log_info"] and not wanted["log_warning"]:
        raise InvalidRequest('log setting "log_warning": got False beside log_info True; info includes warnings')
    if wanted["log_verbose_level"]:
        return "debug"
    if wanted["log_info"]:
        return "info"
    return "warning" if wanted["log_warning"] else "error"
