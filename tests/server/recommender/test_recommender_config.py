"""Settings of `cuelight recommender serve`: its own ports, the same rules."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from cuelight.server.config_file import merge, read_toml, to_json
from cuelight.server.errors import ConfigError
from cuelight.server.recommender.cli import main
from cuelight.server.recommender.config import RecommenderConfig, build_recommender_config
from cuelight.server.recommender.model_set import ModelSettings
from cuelight.server.recommender.models_config import ModelsConfig
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


def test_what_models_are_fitted_with_reaches_the_process_that_fits_them(tmp_path: Path) -> None:
    file = tmp_path / "recommender.toml"
    file.write_text("[data]\nfolder = 'd'\n[models]\nneighbours = 7\nals_alpha = 3\nhybrid = { als = 1, ease = 0.5 }\n")

    config = build_recommender_config(read_toml(file, RecommenderConfig))
    rebuilt = build_recommender_config(json.loads(to_json(config)))

    assert (
        rebuilt.models == config.models == ModelsConfig(neighbours=7, als_alpha=3.0, hybrid={"als": 1.0, "ease": 0.5})
    )
    assert rebuilt.models.half_life_s == math.inf
    settings = ModelSettings.of(config.models, 9)
    assert (settings.neighbours, settings.als_alpha, settings.max_liked_items) == (7, 3.0, 9)
    assert settings.hybrid == {"als": 1.0, "ease": 0.5}


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({}, "data: folder must be set too"),
        (
            {"data": {"folder": Path("d"), "min_value": float("nan")}},
            "data.min_value: got nan, expected a finite number",
        ),
        *(
            (
                {"data": {"folder": Path("d")}, "models": {name: value}},
                f"models.{name}: got {value}, expected {allowed}",
            )
            for name, value, allowed in (
                ("half_life_s", 0.0, "more than 0 seconds, or inf"),
                ("half_life_s", float("nan"), "more than 0 seconds, or inf"),
                ("neighbours", 0, "1 or more"),
                ("shrinkage", -1.0, "0 or more"),
                ("ease_regularization", 0.0, "a number above 0"),
                ("als_factors", 0, "1 or more"),
                ("als_regularization", 0.0, "a number above 0"),
                ("als_alpha", float("inf"), "a number above 0"),
                ("als_iterations", 0, "1 or more"),
            )
        ),
        ({"data": {"folder": Path("d")}, "models": {"hybrid": {}}}, "models.hybrid: got nothing, expected weights by"),
        (
            {"data": {"folder": Path("d")}, "models": {"hybrid": {"eas": 1}}},
            'models.hybrid: got "eas", expected some of',
        ),
        ({"data": {"folder": Path("d")}, "models": {"hybrid": {"ease": "x"}}}, "models.hybrid.ease: expected a number"),
        (
            {"data": {"folder": Path("d")}, "models": {"neighbors": 3}},
            "unknown key models.neighbors; keys are half_life_s",
        ),
        ({"data": {"folder": Path("d")}, "engine": {"cores": 1}}, r"unknown section \[engine\]"),
        ({"data": {"folder": Path("d"), "size": 3}}, "unknown key data.size"),
    ],
)
def test_what_cannot_be_is_refused(sections: dict[str, dict[str, object]], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_recommender_config(sections)


def test_the_file_that_the_documentation_shows_has_every_key_at_its_default(tmp_path: Path) -> None:
    """Of `folder`, `min_value` and [tls], which have no default, the documentation speaks beside it."""
    page = (Path(__file__).parents[3] / "docs" / "recommender.md").read_text()
    shown = page.split("## The configuration file")[1].split("```toml\n")[1].split("```")[0]
    (tmp_path / "recommender.toml").write_text(shown)

    told = read_toml(tmp_path / "recommender.toml", RecommenderConfig)

    data = {"folder": Path("d")}
    assert build_recommender_config(merge(told, {"data": data, "log": {"trace_folder": Path()}})) == (
        build_recommender_config({"data": data})
    )
    plain = build_recommender_config({"data": data})
    for section in ("models", "server", "limits", "log"):
        assert list(told[section]) == [field.name for field in dataclasses.fields(getattr(plain, section))]
    assert set(told["data"]) == {field.name for field in dataclasses.fields(plain.data)} - {"folder", "min_value"}
    assert set(told) == {"data", "models", "server", "limits", "log"}


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
