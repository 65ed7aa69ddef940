"""The command line, short of serving: what it refuses, what it imports, what it prints."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest

from cuelight.server.cli import main
from cuelight.server.inference.token_keys import read_keys
from cuelight.server.rpc.envoy_available import envoy_available
from cuelight.server.serve_command import choose_front
from tests.scale_models import golden, scale_model, write_version
from tests.serve_process import FRONTS, environment, run_cuelight, running_server


def run_without(modules: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `cuelight` where importing any of the modules fails as if it were not installed."""
    code = f"import sys; sys.modules.update(dict.fromkeys({modules.split()!r})); from cuelight.server.cli import main"
    return subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(main({list(arguments)!r}))"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )


def test_help_is_there_without_loading_what_serving_needs() -> None:
    ended = run_without("numpy grpc onnxruntime prometheus_client google.protobuf torch", "serve", "--help")

    assert ended.returncode == 0, ended.stderr
    assert "--model-repository" in ended.stdout


def test_every_serve_flag_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])

    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for flag in ("--config FILE.toml", "--front {auto,envoy,grpcio}", "--port PORT", "--tls-client-ca FILE"):
        assert flag in text


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("cuelight ")
    try:
        assert version("cuelight") in shown
    except ModuleNotFoundError:
        assert "unknown" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["serve"],
            "cuelight: error: repository.paths: got none, expected at least one folder (--model-repository DIR)",
        ),
        (["serve", "--model-repository", "no/such"], "cuelight: error: repository.paths: no such folder: no/such"),
        (["serve", "--model-repository", ".", "--port", "70000"], "cuelight: error: server.port: got 70000"),
        (["serve", "--model-repository", ".", "--tls-certificate", "a.pem"], "tls: private_key_file must be set too"),
        (["serve", "--config", "absent.toml"], "cuelight: error: absent.toml: cannot read it"),
        (["serve", "--model-repository", ".", "--load-model", "a"], "repository.load_models: got a, expected nothing"),
        (["models", "--model-repository", "no/such"], "cuelight: error: repository.paths: no such folder: no/such"),
    ],
)
def test_unusable_settings_end_with_code_2_and_one_line(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2

    captured = capsys.readouterr()
    assert told in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not captured.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["serve", "--prot", "1"], "unrecognized arguments: --prot 1"),
        (["serve", "--port", "many"], "argument --port: invalid int value: 'many'"),
        (["serve", "--front", "nginx"], "argument --front: invalid choice: 'nginx'"),
        (["models"], "one of the arguments --url --model-repository is required"),
    ],
)
def test_a_wrong_word_ends_with_code_2(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_key_that_the_file_may_not_have_is_named_with_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cuelight.toml"
    file.write_text("[server]\nprot = 1\n", encoding="utf-8")

    assert main(["serve", "--config", str(file)]) == 2
    assert f"{file}: unknown key server.prot; keys are host, port," in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["torch", "onnx"])
def test_export_without_its_extra_says_what_to_install(missing: str) -> None:
    ended = run_without(missing, "export", "list")

    if ended.returncode == 0:
        pytest.skip(f"`export list` does not need {missing}")
    assert ended.returncode == 2
    assert f"export needs {missing}" in ended.stderr
    assert 'pip install "cuelight[exporters]"' in ended.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_version(folder, "doubling", 1, scale_model(2.0), golden(2.0))
    return folder


def test_an_offline_check_shows_what_would_be_served(repository: Path) -> None:
    ended = run_cuelight("models", "--model-repository", str(repository))

    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["MODEL", "VERSION", "MAX", "BATCH", "RUNS", "ON", "STEP", "PROVEN"]
    assert lines[1].startswith("doubling  1 ")
    assert lines[1].endswith("by 1 golden case")
    assert lines[2] == "    x FP32 [-1,4] -> y FP32 [-1,4]"


def test_an_offline_check_fails_for_a_model_that_does_not_prove_itself(repository: Path) -> None:
    write_version(repository, "wrong", 1, scale_model(2.0), golden(3.0))

    ended = run_cuelight("models", "--model-repository", str(repository))

    assert ended.returncode == 1
    assert any(line.startswith("doubling  1 ") for line in ended.stdout.splitlines())
    assert any(line.startswith("FAILED  wrong 1: ") and "golden" in line for line in ended.stdout.splitlines())


def test_a_running_server_s_models_are_listed_with_the_base_install_alone(repository: Path, tmp_path: Path) -> None:
    write_version(repository, "wrong", 1, scale_model(2.0), golden(3.0))
    with running_server(repository, tmp_path / "log") as server:
        ended = run_without(
            "onnxruntime prometheus_client grpc_health grpc_reflection", "models", "--url", server.target
        )

    assert ended.returncode == 1, ended.stderr
    header, ready, failed = ended.stdout.splitlines()
    assert header.split() == ["MODEL", "VERSION", "STATE", "PLATFORM", "MAX", "BATCH", "REASON"]
    assert ready.split() == ["doubling", "1", "READY", "onnxruntime_onnx", "32"]
    assert failed.split()[:5] == ["wrong", "1", "UNAVAILABLE", "-", "-"]
    assert "golden" in failed


def test_a_certificate_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--url", "127.0.0.1:1", "--tls-ca", "absent.pem"]) == 2

    assert "cuelight: error: absent.pem: cannot read it: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("asked", ["grpcio", "auto"])
def test_the_front_is_chosen_with_a_reason(asked: str) -> None:
    front, reason = choose_front(asked)

    why_no_envoy = envoy_available()
    if asked == "grpcio":
        assert (front, reason) == ("grpcio", "asked for")
    elif why_no_envoy is None:
        assert (front, reason) == ("envoy", "auto: it runs here")
    else:
        assert (front, reason) == ("grpcio", f"auto: {why_no_envoy}")


def test_a_server_that_does_not_answer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--url", "127.0.0.1:1"]) == 1

    assert f"cuelight: error: 127.0.0.1:1: {grpc.StatusCode.UNAVAILABLE.name}" in capsys.readouterr().err


def test_a_new_token_key_is_a_key_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token-key", "first"]) == 0
    assert main(["token-key"]) == 0
    path = tmp_path / "keys.toml"
    path.write_text(capsys.readouterr().out)

    first, second = read_keys(path)

    assert first.id == "first"
    assert second.id.startswith("20")
    assert first.secret != second.secret


@pytest.mark.parametrize("front", FRONTS)
def test_an_unusable_key_file_ends_the_start_with_its_name(tmp_path: Path, front: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "keys.toml").write_text("nonsense")
    repository = ["--model-repository", str(tmp_path / "models"), "--front", front]
    ports = ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"]

    ended = run_cuelight("serve", *repository, *ports, "--token-key-file", str(tmp_path / "keys.toml"))

    assert ended.returncode == 2
    assert f"{tmp_path / 'keys.toml'}: not valid TOML" in ended.stderr
