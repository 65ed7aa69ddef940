"""Log settings: what they change in the process's log, and what is refused."""

import io
import logging
from collections.abc import Iterator

import pytest

from cuelight.server.config import LogConfig
from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.log_settings import LogSettings, Setting
from cuelight.server.rpc.log_format import LogOutput

DEFAULTS = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "ISO8601",
}


@pytest.fixture
def lines() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def settings(lines: io.StringIO) -> Iterator[LogSettings]:
    logger = logging.getLogger("cuelight")
    level, handlers = logger.level, list(logger.handlers)
    output = LogOutput(LogConfig(), lines)
    logger.addHandler(output._handler)
    yield LogSettings(output)
    logger.handlers[:] = handlers
    logger.setLevel(level)


def logged(lines: io.StringIO) -> list[str]:
    lines.seek(0)
    lines.truncate()
    log = logging.getLogger("cuelight.test")
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(level)
    return [level for level in ("debug", "info", "warning", "error") if f"cuelight.test: {level}" in lines.getvalue()]


def test_the_settings_of_a_new_server_are_shown(settings: LogSettings) -> None:
    assert settings.current() == DEFAULTS == settings.update({})


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ({}, ["info", "warning", "error"]),
        ({"log_verbose_level": 2}, ["debug", "info", "warning", "error"]),
        ({"log_info": False}, ["warning", "error"]),
        ({"log_info": False, "log_warning": False}, ["error"]),
    ],
)
def test_what_is_logged_follows_the_settings(
    settings: LogSettings, lines: io.StringIO, changes: dict[str, Setting | None], levels: list[str]
) -> None:
    shown = settings.update(changes)

    assert logged(lines) == levels
    assert shown == {**DEFAULTS, **changes} == settings.current()


def test_the_format_of_the_lines_follows_the_settings(settings: LogSettings, lines: io.StringIO) -> None:
    settings.update({"log_format": "json"})
    logging.getLogger("cuelight.test").error("trouble")

    assert lines.getvalue().startswith("{")
    assert settings.update({"log_format": "default"})["log_format"] == "ISO8601"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"log_level": 1}, 'log setting "log_level": unknown; known are log_file, log_info'),
        ({"log_info": 1}, 'log setting "log_info": got 1, expected a value of type bool'),
        ({"log_info": None}, 'log setting "log_info": got None'),
        ({"log_verbose_level": True}, "expected a value of type int"),
        ({"log_error": False}, 'log setting "log_error": got False; errors are always logged'),
        ({"log_warning": False}, 'log setting "log_warning": got False beside log_info True'),
        ({"log_file": "/tmp/x"}, 'log setting "log_file": the log goes to stderr'),
        ({"log_format": "xml"}, 'log setting "log_format": got "xml", expected one of default, ISO8601, json'),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    settings: LogSettings, lines: io.StringIO, changes: dict[str, Setting | None], says: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        settings.update({"log_verbose_level": 1, **changes})

    assert says in str(raised.value)
    assert settings.current() == DEFAULTS
    assert logged(lines) == ["info", "warning", "error"]
