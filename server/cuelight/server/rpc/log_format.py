"""Log lines: one record, one line, with the fields the code put into `extra` (request id, method, model, ...).

    text    2026-01-31T09:30:00.123Z INFO    cuelight.rpc: call failed: ... request_id=4f2a code=NOT_FOUND
    json    {"time": "...", "level": "INFO", "logger": "cuelight.rpc", "message": "...", "request_id": "4f2a", ...}

Control characters that came from a caller are escaped, so that no request can forge a line; whatever is very long loses
its middle, so that none can fill the log.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from cuelight.server.config import LogConfig
from cuelight.server.errors import ConfigError
from cuelight.server.rpc.cut_text import cut_middle
from cuelight.server.rpc.log_limit import CallLineLimit

__all__ = ["JsonFormatter", "LogOutput", "TextFormatter"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_MESSAGE_BYTES = 16 * 1024
_FIELD_BYTES = 1024
_TRACEBACK_BYTES = 32 * 1024
_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback where the record has one."""
        fields = "".join(f" {key}={_escaped(_cut(str(value)))}" for key, value in _extra(record))
        line = f"{_time(record)} {record.levelname:7} {record.name}: {_escaped(_message(record))}{fields}"
        if record.exc_info:
            line += "\n" + cut_middle(self.formatException(record.exc_info), _TRACEBACK_BYTES)
        return line


class JsonFormatter(logging.Formatter):
    """Lines for log collectors: one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line; a traceback is its field `traceback`."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            **{key: _cut(value) if isinstance(value, str) else value for key, value in _extra(record)},
        }
        if record.exc_info:
            line["traceback"] = cut_middle(self.formatException(record.exc_info), _TRACEBACK_BYTES)
        return json.dumps(line, default=str)


class LogOutput:
    """Where this process logs to. Level and format may change while it runs (RPC LogSettings)."""

    def __init__(self, config: LogConfig, stream: TextIO | None = None) -> None:
        self._handler = logging.StreamHandler(stream or sys.stderr)
        self._handler.addFilter(CallLineLimit(config.max_call_lines_per_s))
        self.set_format(config.format)
        self.set_level(config.level)

    def install(self) -> None:
        """Send every record of the process here, in place of what was installed before."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
        root.addHandler(self._handler)

    @property
    def level(self) -> str:
        """The lowest level that is logged: debug, info, warning or error."""
        return self._level

    @property
    def format(self) -> str:
        """The form of the lines: text or json."""
        return self._format

    def set_level(self, level: str) -> None:
        """Log records from this level up. Raises: ConfigError for an unknown level."""
        if level not in _LEVELS:
            raise ConfigError(f"log.level: got {level!r}, expected one of {', '.join(_LEVELS)}")
        self._level = level
        logging.getLogger("cuelight").setLevel(_LEVELS[level])

    def set_format(self, name: str) -> None:
        """Write lines of this form from now on. Raises: ConfigError for an unknown form."""
        if name not in _FORMATTERS:
            raise ConfigError(f"log.format: got {name!r}, expected one of {', '.join(_FORMATTERS)}")
        self._format = name
        self._handler.setFormatter(_FORMATTERS[name]())


_FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}


def _time(record: logging.LogRecord) -> str:
    """Return the record's time in UTC, to the millisecond. Source: RFC 3339."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in record.__dict__.items() if key not in _STANDARD_FIELDS)


def _message(record: logging.LogRecord) -> str:
    return cut_middle(record.getMessage(), _MESSAGE_BYTES)


def _cut(field: str) -> str:
    return cut_middle(field, _FIELD_BYTES)


def _escaped(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
