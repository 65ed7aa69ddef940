"""A model replaced again and again while it is called: no request fails, and what is broken never serves."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from tests.scale_models import golden, scale_model, write_version
from tests.sequence_models import INPUT_SIZE, LSTM_PAIRS, Alone, lstm_model
from tests.serve_process import FRONTS, ServeProcess, running_server

TIMEOUT_S = 60.0
REPLACEMENTS = 20
BROKEN_AFTER = 10
CALLERS = 4


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_version(tmp_path / "models", "scale", 1, scale_model(1.0), golden(1.0))
    return tmp_path / "models"


@pytest.fixture(params=FRONTS)
def server(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Iterator[ServeProcess]:
    explicit = ["--model-control-mode", "explicit", "--load-model", "*"]
    with running_server(repository, tmp_path / "log", front=request.param, arguments=explicit) as running:
        yield running


def ones() -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="scale")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.ones((1, 4), np.float32).tobytes())
    return request


def keep_calling(target: str, stop: threading.Event) -> list[tuple[int, float]]:
    """Call until told to stop; return the version and the answer of every call."""
    answers: list[tuple[int, float]] = []
    with grpc.insecure_channel(target) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        while not stop.is_set():
            response = stub.ModelInfer(ones(), timeout=TIMEOUT_S)
            factor = float(np.frombuffer(response.raw_output_contents[0], np.float32)[0])
            answers.append((int(response.model_version), factor))
    return answers


def test_twenty_replacements_fail_no_request_and_a_broken_one_never_serves(
    server: ServeProcess, repository: Path
) -> None:
    stop = threading.Event()
    with grpc.insecure_channel(server.target) as channel, ThreadPoolExecutor(CALLERS) as callers:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        running = [callers.submit(keep_calling, server.target, stop) for _ in range(CALLERS)]
        try:
            for version in range(2, REPLACEMENTS + 2):
                write_version(repository, "scale", version, scale_model(float(version)), golden(float(version)))
                stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="scale"), timeout=TIMEOUT_S)
                assert stub.ModelInfer(ones(), timeout=TIMEOUT_S).model_version == str(version)
                if version == BROKEN_AFTER:
                    refuse_a_broken_version(stub, repository)
        finally:
            stop.set()
        answers = [answer for caller in running for answer in caller.result()]

    assert all(factor == version for version, factor in answers)
    assert {version for version, _ in answers} <= set(range(1, REPLACEMENTS + 2))
    assert len({version for version, _ in answers}) > REPLACEMENTS // 2


def refuse_a_broken_version(stub: pb_grpc.GRPCInferenceServiceStub, repository: Path) -> None:
    """Publish a version whose golden vectors do not agree, then one that is no model; neither may take traffic."""
    for wrong in (scale_model(-1.0), b"this is no model"):
        folder = write_version(repository, "scale", 1000, wrong, golden(1000.0))
        with pytest.raises(grpc.RpcError) as refused:
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="scale"), timeout=TIMEOUT_S)
        assert "1000" in str(refused.value)
        assert stub.ModelInfer(ones(), timeout=TIMEOUT_S).model_version == str(BROKEN_AFTER)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def lstm_step(x: np.ndarray, start: bool = False) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="lstm")
    request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    request.raw_input_contents.append(x.tobytes())
    request.parameters["sequence_id"].string_param = "new" if start else "old"
    request.parameters["sequence_start"].bool_param = start
    return request


def test_a_live_sequence_goes_on_with_the_model_it_began_with(server: ServeProcess, repository: Path) -> None:
    write_version(repository, "lstm", 1, lstm_model(seed=1))
    steps = [np.full((1, INPUT_SIZE), value, np.float32) for value in (0.1, 0.2, 0.3)]

    with grpc.insecure_channel(server.target) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="lstm"), timeout=TIMEOUT_S)
        first = lstm_step(steps[0])
        first.parameters["sequence_start"].bool_param = True
        answers = [stub.ModelInfer(first, timeout=TIMEOUT_S)]
        write_version(repository, "lstm", 1, lstm_model(seed=2))
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="lstm"), timeout=TIMEOUT_S)
        answers += [stub.ModelInfer(lstm_step(x), timeout=TIMEOUT_S) for x in steps[1:]]
        new = stub.ModelInfer(lstm_step(steps[0], start=True), timeout=TIMEOUT_S)

    old_model, new_model = (Alone(lstm_model(seed=seed), LSTM_PAIRS) for seed in (1, 2))
    state = old_model.begin()
    for x, answer in zip(steps, answers, strict=True):
        want, state = old_model.step(state, {"x": x})
        assert answer.raw_output_contents[0] == want["y"].tobytes()
    want, _ = new_model.step(new_model.begin(), {"x": steps[0]})
    assert new.raw_output_contents[0] == want["y"].tobytes()
