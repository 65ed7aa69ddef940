"""Triton's trace settings as values: what each may be, and what a set of changes makes of them. No clock, no file.

Source: Triton's trace extension.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cuelight.server.errors import InvalidRequest, Unsupported

__all__ = ["TraceSettings", "updated"]


_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """One in `rate` requests is traced until `count` traces are left to take (-1: no end).

    Traces go to `file`, a name inside the server's trace folder, when tracing ends; with `log_frequency` above 0, after
    every so many traces to `file`.0, `file`.1 and so on.
    """

    timestamps: bool = False
    rate: int = 1000
    count: int = -1
    log_frequency: int = 0
    file: str = "trace.json"

    def shown(self) -> dict[str, list[str]]:
        """Return the settings under their names on the wire."""
        return {
            "trace_level": ["TIMESTAMPS" if self.timestamps else "OFF"],
            "trace_rate": [str(self.rate)],
            "trace_count": [str(self.count)],
            "log_frequency": [str(self.log_frequency)],
            "trace_file": [self.file],
        }


def updated(settings: TraceSettings, changes: Mapping[str, Sequence[str]], defaults: TraceSettings) -> TraceSettings:
    """Return the settings after the changes; a setting without a value goes back to that of `defaults`.

    Raises: InvalidRequest naming the setting, what came and what is allowed; Unsupported for level TENSORS.
    """
    values: dict[str, Any] = {}
    for name, given in changes.items():
        field = _FIELDS.get(name)
        if field is None:
            raise InvalidRequest(f'trace setting "{name}": unknown; known are {", ".join(_FIELDS)}')
        attribute, parse = field
        values[attribute] = parse(name, given) if given else getattr(defaults, attribute)
    return replace(settings, **values)


def _level(name: str, given: Sequence[str]) -> bool:
    for level in given:
        if level == "TENSORS":
            raise Unsupported(f'trace setting "{name}": TENSORS is not offered, TIMESTAMPS is')
        if level not in ("OFF", "TIMESTAMPS"):
            raise _error(name, given, "OFF or TIMESTAMPS")
    return "TIMESTAMPS" in given


def _at_least(least: int) -> Callable[[str, Sequence[str]], int]:
    def parse(name: str, given: Sequence[str]) -> int:
        try:
            (text,) = given
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise _error(name, given, f"a whole number from {least} on")
        return value

    return parse


def _file(name: str, given: Sequence[str]) -> str:
    # Any caller may set it: a path would let them overwrite whatever the server can write.
    if len(given) != 1 or not _FILE_NAME.fullmatch(given[0]):
        raise _error(name, given, "a file name of letters, digits, _, - and ., which lies in the server's trace folder")
    return given[0]


def _error(name: str, given: Sequence[str], allowed: str) -> InvalidRequest:
    return InvalidRequest(f'trace setting "{name}": got {", ".join(given)}, expected {allowed}')


_FIELDS: dict[str, tuple[str, Callable[[str, Sequence[str]], Any]]] = {
    "trace_level": ("timestamps", _level),
    "trace_rate": ("rate", _at_least(1)),
    "trace_count": ("count", _at_least(-1)),
    "log_frequency": ("log_frequency", _at_least(0)),
    "trace_file": ("file", _file),
}
