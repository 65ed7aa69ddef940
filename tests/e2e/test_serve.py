"""`cuelight serve` as users run it: a process, on both fronts, from its first line to its exit code."""

import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client.parser import text_string_to_metric_families

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from tests.scale_models import golden, scale_model, write_version
from tests.serve_process import FRONTS, ServeProcess, run_cuelight, running_server

TIMEOUT_S = 30.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_version(folder, "doubling", 1, scale_model(2.0), golden(2.0))
    return folder


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(front: str, repository: Path, tmp_path: Path) -> Iterator[ServeProcess]:
    with running_server(repository, tmp_path / "log", front=front) as running:
        yield running


@pytest.fixture
def channel(server: ServeProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target) as open_channel:
        yield open_channel


def doubling_request(value: float, rows: int = 1) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="doubling", id=str(value))
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    request.raw_input_contents.append(np.full((rows, 4), value, np.float32).tobytes())
    return request


def first_output(response: pb.ModelInferResponse) -> float:
    return float(np.frombuffer(response.raw_output_contents[0], np.float32)[0])


def get(server: ServeProcess, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}{path}", timeout=TIMEOUT_S) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Scrape:
    """One answer of /metrics, as Prometheus's own parser reads it."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        (sample,) = (s for s in self._samples if s.name == name and labels.items() <= s.labels.items())
        return float(sample.value)


class OpenStream:
    """A bidirectional call held open: it is inside the server for as long as the test wants."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: SimpleQueue[pb.ModelInferRequest | None] = SimpleQueue()
        self._call = pb_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(
            iter(self._requests.get, None), timeout=TIMEOUT_S
        )

    def double(self, value: float) -> float:
        self._requests.put(doubling_request(value))
        return first_output(next(self._call).infer_response)

    def half_close(self) -> grpc.StatusCode:
        self._requests.put(None)
        assert list(self._call) == []
        return self._call.code()

    def ended_with(self) -> grpc.StatusCode:
        with pytest.raises(grpc.RpcError) as raised:
            next(self._call)
        self._requests.put(None)
        return raised.value.code()


def watch_until(channel: grpc.Channel, status: int) -> None:
    """Return when the server as a whole reports this status."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert any(response.status == status for response in watch)
    watch.cancel()


def test_it_says_what_it_serves_and_where(server: ServeProcess, front: str) -> None:
    text = "".join(server.printed)

    assert f"front       {front} (asked for)" in text
    assert f"gRPC        127.0.0.1:{server.port} (no TLS)" in text
    assert re.search(r"^doubling  1  .* CPU x1, .* ms  by 1 golden case$", text, re.MULTILINE)
    assert "    x FP32 [-1,4] -> y FP32 [-1,4]\n" in text
    assert server.printed[-1].startswith("READY after ")


def test_it_answers_inference_health_and_the_operations_port(server: ServeProcess, channel: grpc.Channel) -> None:
    inference = pb_grpc.GRPCInferenceServiceStub(channel)
    health = health_pb2_grpc.HealthStub(channel)

    assert first_output(inference.ModelInfer(doubling_request(21.0), timeout=TIMEOUT_S)) == 42.0
    assert inference.ServerLive(pb.ServerLiveRequest(), timeout=TIMEOUT_S).live
    assert inference.ServerReady(pb.ServerReadyRequest(), timeout=TIMEOUT_S).ready
    for name in ("", "doubling", "inference.GRPCInferenceService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S).status == SERVING
    assert get(server, "/health/live")[0] == 200
    assert get(server, "/health/ready")[0] == 200


def test_the_scrape_tells_what_happened(server: ServeProcess, channel: grpc.Channel) -> None:
    inference = pb_grpc.GRPCInferenceServiceStub(channel)
    requests = [doubling_request(1.0, rows) for rows in (1, 3)]
    answers = [inference.ModelInfer(request, timeout=TIMEOUT_S) for request in requests]
    refused = pb.ModelInferRequest(model_name="tripling")
    with pytest.raises(grpc.RpcError):
        inference.ModelInfer(refused, timeout=TIMEOUT_S)

    # A caller may have its answer a moment before the call is counted.
    scrapes = (Scrape(get(server, "/metrics")[1]) for _ in range(1000))
    infer = "inference.GRPCInferenceService/ModelInfer"
    value = next(scrape for scrape in scrapes if scrape("cuelight_requests_in_flight", method=infer) == 0)

    assert value("cuelight_requests_total", method=infer, code="OK") == 2
    assert value("cuelight_requests_total", method=infer, code="NOT_FOUND") == 1
    assert value("cuelight_request_seconds_count", method=infer) == 3
    assert value("cuelight_received_messages_total", method=infer) == 3
    assert value("cuelight_received_bytes_total", method=infer) == sum(r.ByteSize() for r in (*requests, refused))
    assert value("cuelight_sent_messages_total", method=infer) == 2
    assert value("cuelight_sent_bytes_total", method=infer) == sum(answer.ByteSize() for answer in answers)
    assert value("cuelight_model_inferences_total", model="doubling", version="1") == 4
    assert value("cuelight_model_requests_total", model="doubling", version="1", outcome="success") == 2
    assert value("cuelight_model_loaded", model="doubling", provider="CPUExecutionProvider") == 1
    assert value("process_resident_memory_bytes") > 0


def test_reflection_describes_every_service(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)

    learned = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")

    assert set(database.get_services()) == {
        "cuelight.inference.v1.SequenceService",
        "cuelight.speech.v1.SpeechService",
        "cuelight.text.v1.TextService",
        "cuelight.vision.v1.VisionService",
        "nvidia.riva.asr.RivaSpeechRecognition",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    }
    assert learned.methods_by_name["ModelStreamInfer"].server_streaming


def test_sigterm_finishes_what_is_inside_refuses_what_is_new_and_exits_0(
    server: ServeProcess, channel: grpc.Channel
) -> None:
    stream = OpenStream(channel)
    assert stream.double(1.0) == 2.0

    server.signal(signal.SIGTERM)
    watch_until(channel, NOT_SERVING)

    with pytest.raises(grpc.RpcError) as refused:
        pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(doubling_request(1.0), timeout=TIMEOUT_S)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in str(refused.value.details())
    assert get(server, "/health/ready")[0] == 503
    assert get(server, "/health/live")[0] == 200
    assert stream.double(4.0) == 8.0
    assert stream.half_close() is grpc.StatusCode.OK
    assert server.exit_code() == 0


def test_whoever_watches_health_learns_of_the_end_and_does_not_hold_it_up(
    server: ServeProcess, channel: grpc.Channel
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert next(watch).status == SERVING

    server.signal(signal.SIGTERM)

    assert next(watch).status == NOT_SERVING
    with pytest.raises(grpc.RpcError) as ended:
        next(watch)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert ended.value.details() == "the server has shut down"
    assert server.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_leaves_at_once(server: ServeProcess, number: signal.Signals) -> None:
    server.signal(number)

    assert server.exit_code() == 0


def test_after_the_grace_period_calls_are_cut_and_it_exits_0(front: str, repository: Path, tmp_path: Path) -> None:
    arguments = ["--grace-period", "0.1"]
    with (
        running_server(repository, tmp_path / "log", front=front, arguments=arguments) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stream = OpenStream(channel)
        stream.double(1.0)

        server.signal(signal.SIGTERM)

        assert stream.ended_with() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert server.exit_code() == 0


def test_a_second_signal_ends_it_at_once(server: ServeProcess, channel: grpc.Channel) -> None:
    stream = OpenStream(channel)
    stream.double(1.0)
    server.signal(signal.SIGTERM)
    watch_until(channel, NOT_SERVING)

    server.signal(signal.SIGTERM)

    assert server.exit_code() == 128 + signal.SIGTERM
    assert stream.ended_with() is grpc.StatusCode.UNAVAILABLE


def test_kill_leaves_nothing_behind_that_holds_the_port(server: ServeProcess) -> None:
    server.signal(signal.SIGKILL)

    assert server.exit_code() == -signal.SIGKILL
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def test_a_model_that_fails_keeps_the_server_from_being_ready_and_is_named(
    front: str, repository: Path, tmp_path: Path
) -> None:
    write_version(repository, "wrong", 1, scale_model(2.0), golden(3.0))
    with (
        running_server(repository, tmp_path / "log", front=front) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        inference = pb_grpc.GRPCInferenceServiceStub(channel)

        assert server.printed[-1].startswith("NOT READY after ")
        assert any(line.startswith("NOT SERVED  wrong 1: ") for line in server.printed)
        assert first_output(inference.ModelInfer(doubling_request(1.0), timeout=TIMEOUT_S)) == 2.0
        assert not inference.ServerReady(pb.ServerReadyRequest(), timeout=TIMEOUT_S).ready
        assert get(server, "/health/ready")[0] == 503


@pytest.mark.parametrize("which", ["--port", "--metrics-port"])
def test_a_port_in_use_ends_with_code_2_and_names_it(front: str, repository: Path, which: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {"--port": "0", "--metrics-port": "0", which: str(port)}
        words = [word for pair in ports.items() for word in pair]

        ended = run_cuelight(
            "serve", "--model-repository", str(repository), "--host", "127.0.0.1", "--front", front, *words
        )

    assert ended.returncode == 2
    assert f"cuelight: error: cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_model_to_load_that_does_not_exist_ends_with_code_2(front: str, repository: Path) -> None:
    ports = ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--front", front]

    ended = run_cuelight(
        "serve",
        "--model-repository",
        str(repository),
        *ports,
        "--model-control-mode",
        "explicit",
        "--load-model",
        "absent",
    )

    assert ended.returncode == 2
    assert 'cuelight: error: repository.load_models: no model "absent"' in ended.stderr
