"""Log lines: fields beside the message, no line forged by a caller, level and form changed while running."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from cuelight.server.config import LogConfig
from cuelight.server.errors import ConfigError
from cuelight.server.rpc.log_format import JsonFormatter, LogOutput, TextFormatter

CREATED = 1_770_000_000.25  # 2026-02-02 02:40:00.250 UTC


def record(message: str, **fields: str) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "cuelight.rpc", "levelname": "INFO", "levelno": 20, "msg": message, "created": CREATED, "msecs": 250.0}
        | fields
    )


def test_a_text_line_has_time_level_logger_message_and_fields() -> None:
    line = TextFormatter().format(record("call failed", request_id="4f2a", code="NOT_FOUND"))

    assert line == "2026-02-02T02:40:00.250Z INFO    cuelight.rpc: call failed request_id=4f2a code=NOT_FOUND"


def test_a_json_line_has_the_same_as_keys() -> None:
    line = JsonFormatter().format(record('say "x"', request_id="4f2a"))

    assert json.loads(line) == {
        "time": "2026-02-02T02:40:00.250Z",
        "level": "INFO",
        "logger": "cuelight.rpc",
        "message": 'say "x"',
        "request_id": "4f2a",
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_caller_cannot_forge_a_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record("model\n2026 ERROR forged", request_id="a\r\nb\x1b[2J"))

    assert len(line.splitlines()) == 1
    assert line.isprintable()


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_comes_with_the_line(formatter: logging.Formatter) -> None:
    failed = record("call failed")
    error = ValueError("boom")
    failed.exc_info = (type(error), error, None)

    assert "ValueError: boom" in formatter.format(failed)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_what_is_very_long_loses_its_middle(formatter: logging.Formatter) -> None:
    failed = record("begin " + "m" * 1_000_000 + " end", model="first " + "f" * 1_000_000 + " last")
    failed.exc_info = (ValueError, ValueError("t" * 1_000_000 + " at last"), None)
    line = formatter.format(failed)

    assert len(line) < 64 * 1024
    assert all(kept in line for kept in ("begin mmm", "mmm end", "first fff", "fff last", "ValueError: ttt", "at last"))
    assert "of 1000010 bytes cut" in line


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    root, ours = logging.getLogger(), logging.getLogger("cuelight")
    handlers, level = list(root.handlers), ours.level
    yield
    root.handlers[:] = handlers
    ours.setLevel(level)


@pytest.mark.usefixtures("kept_logging")
def test_level_and_form_change_while_running() -> None:
    stream = io.StringIO()
    output = LogOutput(LogConfig(level="warning"), stream)
    output.install()
    logger = logging.getLogger("cuelight.model")

    logger.info("not seen")
    output.set_level("info")
    output.set_format("json")
    logger.info("seen")

    assert json.loads(stream.getvalue())["message"] == "seen"
    assert (output.level, output.format) == ("info", "json")


@pytest.mark.usefixtures("kept_logging")
def test_an_unknown_level_or_form_is_refused_and_changes_nothing() -> None:
    output = LogOutput(LogConfig(), io.StringIO())

    with pytest.raises(ConfigError, match="'loud', expected one of debug"):
        output.set_level("loud")
    with pytest.raises(ConfigError, match="'xml', expected one of text"):
        output.set_format("xml")

    assert (output.level, output.format) == ("info", "text")
