"""Settings of `cuelight recommender serve`: its own ports, the same rules."""

import json
from pathlib import Path

import pytest

from cuelight.server.config_file import read_toml, to_json
from cuelight.server.errors import ConfigError
from cuelight.server.recommender.cli import main
from cuelight.server.recommender.config import RecommenderConfig, build_recommender_config
from tests.server.test_cli import run_without


def test_ports_are_its_own_where_none_are_set() -> None:
    plain = build_recommender_config({"data": {"folder": Path("d")}})
    moved = build_recommender_config({"data": {"folder": Path("d")}, "server": {"port": 9000, "host": "::1"}})

    assert (plain.server.port, plain.server.metrics_port) == (8003, 8004)
    assert (moved.server.port, moved.server.metrics_port, moved.server.host) == (9000, 8004, "::1")


def test_toml_and_json_lead_to_the_same(tmp_path: Path) -> None:
    file = tmp_path / "recommender.toml"
    file.write_text('[data]\nfolder = "likes"\nmin_value = 4\n[log]\nformat = "json"\n')

    config = build_recommender_config(read_toml(file, RecommenderConfig))

    assert (config.data.folder, config.data.min_value) == (tmp_path / "likes", 4.0)
    rebuilt = build_recommender_config(json.loads(to_json(config)))
    assert (rebuilt.data, rebuilt.server, rebuilt.limits) == (config.data, config.server, config.limits)
    assert rebuilt.log.format == "json"


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({}, "data: folder must be set too"),
        (
            {"data": {"folder": Path("d"), "min_value": float("nan")}},
            "data.min_value: got nan, expected a finite number",
        ),
        ({"data": {"folder": Path("d")}, "engine": {"cores": 1}}, r"unknown section \[engine\]"),
        ({"data": {"folder": Path("d"), "size": 3}}, "unknown key data.size"),
    ],
)
def test_what_cannot_be_is_refused(sections: dict[str, dict[str, object]], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_recommender_config(sections)


@pytest.mark.parametrize("command", ["serve", "import", "fit", "evaluate"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    assert "--data DIR" in capsys.readouterr().out


def test_help_is_there_without_what_the_recommender_needs() -> None:
    ended = run_without("numpy grpc scipy implicit pyarrow rich prometheus_client", "recommender", "serve", "--help")

    assert ended.returncode == 0, ended.stderr
    assert "--min-value" in ended.stdout


def test_what_is_not_installed_is_said_by_name(tmp_path: Path) -> None:
    ended = run_without("scipy", "recommender", "evaluate", "--data", str(tmp_path))

    assert ended.returncode == 2
    assert 'needs scipy, which is not installed: pip install "cuelight[server,recommender]"' in ended.stderr
