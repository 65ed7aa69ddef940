"""What the settings of `cuelight serve` do to a running server, on both fronts: TLS, logs, control modes, limits."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from tests.certificates import OPENSSL, Certificates, make_certificates
from tests.scale_models import golden, scale_model, write_version
from tests.serve_process import FRONTS, ServeProcess, run_cuelight, running_server

TIMEOUT_S = 30.0
SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

Start = Callable[..., AbstractContextManager[ServeProcess]]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_version(folder, "doubling", 1, scale_model(2.0), golden(2.0))
    return folder


@pytest.fixture(params=FRONTS)
def start(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Start:
    """Start a server with further arguments."""

    @contextmanager
    def started(*arguments: str) -> Iterator[ServeProcess]:
        with running_server(repository, tmp_path / "log", front=str(request.param), arguments=arguments) as server:
            yield server

    return started


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if OPENSSL is None:
        pytest.skip("needs the openssl command to make certificates")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def live(channel: grpc.Channel) -> bool:
    return bool(pb_grpc.GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=TIMEOUT_S).live)


def test_tls_serves_clients_that_trust_its_authority(start: Start, certificates: Certificates) -> None:
    files = ("--tls-certificate", str(certificates.server), "--tls-private-key", str(certificates.server_key))
    trust = grpc.ssl_channel_credentials(certificates.ca.read_bytes())

    with start(*files) as server:
        with grpc.secure_channel(server.target, trust) as channel:
            assert live(channel)
        with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as refused:
            live(channel)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_with_a_client_authority_only_clients_it_signed_get_in(start: Start, certificates: Certificates) -> None:
    serving = ("--tls-certificate", str(certificates.server), "--tls-private-key", str(certificates.server_key))
    trust = certificates.ca.read_bytes()
    known = grpc.ssl_channel_credentials(trust, certificates.client_key.read_bytes(), certificates.client.read_bytes())
    unknown = grpc.ssl_channel_credentials(trust)

    with start(*serving, "--tls-client-ca", str(certificates.ca)) as server:
        with grpc.secure_channel(server.target, known) as channel:
            assert live(channel)
        files = (certificates.ca, certificates.client, certificates.client_key)
        ca, certificate, key = (str(file) for file in files)
        listed = run_cuelight("models", "--url", server.target, "--tls-ca", ca, "--tls-identity", certificate, key)
        asked = run_cuelight("embed", "a", "--url", server.target, "--tls-ca", ca, "--tls-identity", certificate, key)
        with grpc.secure_channel(server.target, unknown) as channel, pytest.raises(grpc.RpcError) as refused:
            live(channel)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert listed.returncode == 0, listed.stderr
    assert "doubling" in listed.stdout
    # It got in, and was told that there is nothing that embeds text.
    assert asked.returncode == 1
    assert "no model" in asked.stderr


def log_lines(server: ServeProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.whole_log().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("sent", [(), (("x-request-id", "4f2a"),)])
def test_a_failed_call_and_its_log_line_share_a_request_id(start: Start, sent: tuple[tuple[str, str], ...]) -> None:
    with start("--log-format", "json") as server, grpc.insecure_channel(server.target) as channel:
        infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        with pytest.raises(grpc.RpcError) as failed:
            infer(pb.ModelInferRequest(model_name="absent"), metadata=sent, timeout=TIMEOUT_S)
        told = {pair.key: str(pair.value) for pair in failed.value.trailing_metadata() or ()}
        (line,) = (line for line in log_lines(server) if line.get("request_id") == told["x-request-id"])

    assert line["method"] == "/inference.GRPCInferenceService/ModelInfer"
    assert line["code"] == "NOT_FOUND"
    assert line["peer"].startswith("ipv4:127.0.0.1:")
    assert not sent or told["x-request-id"] == "4f2a"


def test_the_log_level_changes_while_it_runs(start: Start) -> None:
    with start("--log-level", "error") as server, grpc.insecure_channel(server.target) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        fail = {"level error": False, "level info": True}
        for name, raise_level in fail.items():
            if raise_level:
                changes = pb.LogSettingsRequest()
                changes.settings["log_info"].bool_param = True
                changes.settings["log_warning"].bool_param = True
                stub.LogSettings(changes, timeout=TIMEOUT_S)
            with pytest.raises(grpc.RpcError):
                stub.ModelInfer(pb.ModelInferRequest(model_name=name), timeout=TIMEOUT_S)
        text = server.whole_log()

    assert 'model "level error"' not in text
    assert 'model "level info"' in text


def test_the_access_log_has_a_line_for_every_call(start: Start) -> None:
    with start("--access-log", "--log-format", "json") as server, grpc.insecure_channel(server.target) as channel:
        assert live(channel)
        assert live(channel)
        lines = [line for line in log_lines(server) if line.get("logger") == "cuelight.access"]

    assert len(lines) == 2
    assert {line["method"] for line in lines} == {"/inference.GRPCInferenceService/ServerLive"}
    assert {line["code"] for line in lines} == {"OK"}


def test_explicit_mode_loads_on_request_and_health_watchers_see_it(start: Start) -> None:
    with start("--model-control-mode", "explicit") as server, grpc.insecure_channel(server.target) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="doubling"), timeout=TIMEOUT_S
        )
        assert next(watch).status == SERVICE_UNKNOWN

        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="doubling"), timeout=TIMEOUT_S)

        assert any(response.status == SERVING for response in watch)
        assert stub.ModelReady(pb.ModelReadyRequest(name="doubling"), timeout=TIMEOUT_S).ready
        watch.cancel()


def test_poll_mode_serves_what_is_added_to_the_folder(start: Start, repository: Path) -> None:
    arguments = ("--model-control-mode", "poll", "--poll-interval", "0.05")
    with start(*arguments) as server, grpc.insecure_channel(server.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="late"), timeout=TIMEOUT_S
        )
        assert next(watch).status == SERVICE_UNKNOWN

        write_version(repository, "late", 1, scale_model(3.0), golden(3.0))

        assert any(response.status == SERVING for response in watch)
        watch.cancel()


def test_a_file_s_limits_hold_and_flags_win_over_it(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "cuelight.toml"
    file.write_text('[limits]\nmax_message_bytes = 4096\n[log]\nlevel = "debug"\n', encoding="utf-8")
    large = pb.ModelInferRequest(model_name="doubling", raw_input_contents=[bytes(8192)])

    with start("--config", str(file), "--log-level", "error") as server:
        with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as refused:
            pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(large, timeout=TIMEOUT_S)
        text = server.whole_log()

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "DEBUG" not in text


def test_a_limit_of_calls_refuses_the_next_one_and_health_still_answers(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "cuelight.toml"
    file.write_text("[limits]\nmax_calls_in_flight = 1\n", encoding="utf-8")
    with start("--config", str(file)) as server, grpc.insecure_channel(server.target) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        requests: SimpleQueue[pb.ModelInferRequest | None] = SimpleQueue()
        requests.put(pb.ModelInferRequest(model_name="absent"))
        held = stub.ModelStreamInfer(iter(requests.get, None), timeout=TIMEOUT_S)
        assert next(held).error_message, "the stream is inside"

        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelConfig(pb.ModelConfigRequest(name="doubling"), timeout=TIMEOUT_S)

        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "1 calls are in flight, the limit is 1" in str(refused.value.details())
        assert live(channel)
        requests.put(None)
        assert list(held) == []
