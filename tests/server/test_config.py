"""Settings: what is refused, and with which words; TOML, flags and JSON lead to the same values."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from cuelight.server.config import EngineConfig, LimitsConfig, LogConfig, RepositoryConfig, ServeConfig, ServerConfig
from cuelight.server.config_file import Sections, build_config, from_json, merge, read_toml, to_json
from cuelight.server.errors import ConfigError


@pytest.mark.parametrize(
    ("section", "fields", "told"),
    [
        (ServerConfig, {"port": 65_536}, "server.port: got 65536, expected 0 .* to 65535"),
        (ServerConfig, {"port": -1}, "server.port: got -1"),
        (ServerConfig, {"metrics_port": 70_000}, "server.metrics_port: got 70000"),
        (ServerConfig, {"port": 8002}, "server.metrics_port: got 8002, expected a port other than server.port"),
        (ServerConfig, {"host": ""}, "server.host: got , expected a host name"),
        (ServerConfig, {"front": "nginx"}, "server.front: got 'nginx', expected one of auto, envoy, grpcio"),
        (ServerConfig, {"grace_period_s": -1.0}, "server.grace_period_s: got -1.0, expected 0 or more seconds"),
        (ServerConfig, {"grace_period_s": float("nan")}, "server.grace_period_s: got nan"),
        (RepositoryConfig, {}, "repository.paths: got none, expected at least one folder"),
        (RepositoryConfig, {"paths": (Path("no/such"),)}, "repository.paths: no such folder: no/such"),
        (RepositoryConfig, {"paths": (Path(),), "control_mode": "auto"}, "repository.control_mode: got 'auto'"),
        (RepositoryConfig, {"paths": (Path(),), "load_models": ("a", "b")}, "repository.load_models: got a, b"),
        (RepositoryConfig, {"paths": (Path(),), "poll_interval_s": 0.0}, "repository.poll_interval_s: got 0.0"),
        (EngineConfig, {"cores": 0}, "engine.cores: got 0, expected 1 or more"),
        (EngineConfig, {"device": "tpu"}, "engine.device: got 'tpu', expected one of auto, cpu, cuda"),
        (EngineConfig, {"device_ids": ()}, r"engine.device_ids: got \[\]"),
        (EngineConfig, {"device_ids": (0, -1)}, r"engine.device_ids: got \[0, -1\]"),
        (LimitsConfig, {"max_message_bytes": 10}, "limits.max_message_bytes: got 10, expected 1024 to 2147483647"),
        (LimitsConfig, {"max_calls_in_flight": 0}, "limits.max_calls_in_flight: got 0"),
        (LimitsConfig, {"max_queue_size": 0}, "limits.max_queue_size: got 0"),
        (LimitsConfig, {"max_stream_in_flight": 0}, "limits.max_stream_in_flight: got 0"),
        (LogConfig, {"level": "loud"}, "log.level: got 'loud', expected one of debug, info, warning, error"),
        (LogConfig, {"max_call_lines_per_s": 0}, "log.max_call_lines_per_s: got 0, expected 1 or more"),
        (LogConfig, {"format": "xml"}, "log.format: got 'xml', expected one of text, json"),
    ],
)
def test_a_bad_value_is_refused_with_field_value_and_what_is_allowed(
    section: Any, fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        section(**fields)


@pytest.mark.parametrize(
    "section", [ServerConfig, RepositoryConfig, EngineConfig, LimitsConfig, LogConfig, ServeConfig]
)
def test_settings_are_values_that_nothing_changes(section: Any) -> None:
    assert section.__dataclass_params__.frozen
    assert section.__slots__ == tuple(field.name for field in dataclasses.fields(section))


def test_two_free_ports_may_both_be_asked_for() -> None:
    assert ServerConfig(port=0, metrics_port=0).metrics_port == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path


def write(folder: Path, text: str) -> Path:
    file = folder / "cuelight.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_toml_file_sets_fields_and_leaves_the_rest_at_their_defaults(folder: Path) -> None:
    file = write(
        folder,
        """
        [server]
        port = 9000
        grace_period_s = 5
        [repository]
        paths = ["models"]
        [engine]
        device_ids = [0, 1]
        """,
    )

    config = build_config(read_toml(file))

    assert config.server == ServerConfig(port=9000, grace_period_s=5.0)
    assert config.repository == RepositoryConfig(paths=(folder / "models",))
    assert config.engine.device_ids == (0, 1)
    assert config.limits == LimitsConfig()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[serve]\n",
            r"unknown section \[serve\]; sections are repository, server, engine, limits, sequences, speech, text, "
            "vision, log, tls",
        ),
        ("[server]\nprot = 1\n", "unknown key server.prot; keys are host, port, metrics_port, front, grace_period_s"),
        ("port = 1\n", r"unknown section \[port\]"),
        ("server = 1\n", "server must be a section, got 1"),
        ('[server]\nport = "8001"\n', "server.port: expected an integer, got '8001'"),
        ("[server]\nport = true\n", "server.port: expected an integer, got True"),
        ("[server]\nport = 80.5\n", "server.port: expected an integer, got 80.5"),
        ('[log]\naccess_log = "yes"\n', "log.access_log: expected true or false, got 'yes'"),
        ('[repository]\npaths = "models"\n', "repository.paths: expected a list, got 'models'"),
        ("[repository]\npaths = [1]\n", "repository.paths: expected a path, got 1"),
        ("[server\n", "not valid TOML"),
    ],
)
def test_what_does_not_belong_in_the_file_is_refused_and_the_file_named(folder: Path, text: str, told: str) -> None:
    file = write(folder, text)

    with pytest.raises(ConfigError, match=told) as raised:
        read_toml(file)

    assert str(raised.value).startswith(str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot read it: No such file"):
        read_toml(tmp_path / "absent.toml")


def test_half_of_a_tls_section_is_refused_with_what_is_missing(folder: Path) -> None:
    sections: Sections = {"repository": {"paths": [folder]}, "tls": {"certificate_file": folder / "a.pem"}}

    with pytest.raises(ConfigError, match="tls: private_key_file must be set too"):
        build_config(sections)


def test_flags_win_over_the_file_field_by_field() -> None:
    merged = merge({"server": {"port": 1, "host": "a"}, "log": {"level": "debug"}}, {"server": {"port": 2}})

    assert merged == {"server": {"port": 2, "host": "a"}, "log": {"level": "debug"}}


def test_json_brings_every_field_into_another_process(folder: Path) -> None:
    for name in ("certificate.pem", "key.pem"):
        (folder / name).write_text("", encoding="utf-8")
    sections: Sections = {
        "server": {"host": "::1", "port": 0, "metrics_port": 9, "front": "grpcio", "grace_period_s": 1.5},
        "repository": {"paths": [folder / "models"], "control_mode": "explicit", "load_models": ["*"]},
        "engine": {"cores": 3, "device": "cuda", "device_ids": [1]},
        "limits": {"max_message_bytes": 2048},
        "log": {"level": "error", "format": "json", "access_log": True, "trace_folder": folder},
        "tls": {"certificate_file": folder / "certificate.pem", "private_key_file": folder / "key.pem"},
    }
    config = build_config(sections)

    assert from_json(to_json(config)) == config
