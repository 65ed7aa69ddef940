"""Clients that leave in mid-call: the others get their answers, and nothing of the leavers stays behind."""

import random
from collections.abc import Iterator
from threading import Event

import grpc
import numpy as np
import pytest

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from tests.compat.identity_models import slow_model
from tests.e2e.figures import Figures, scrape, settled, total
from tests.scale_models import scale_model, write_version
from tests.serve_process import FRONTS, ServeProcess, running_server

TIMEOUT_S = 120.0
LEAVERS = 200
STAYERS = 200
MEMORY = "process_resident_memory_bytes"
GROWTH_LIMIT = 1.1


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("leavers")
    write_version(folder / "models", "queued", 1, scale_model(2.0, dims=("batch", "length")))
    write_version(folder / "models", "slow", 1, slow_model(steps=60))
    with running_server(folder / "models", folder / "log", front=request.param) as running:
        yield running


@pytest.fixture
def stub(server: ServeProcess) -> Iterator[pb_grpc.GRPCInferenceServiceStub]:
    with grpc.insecure_channel(server.target) as channel:
        yield pb_grpc.GRPCInferenceServiceStub(channel)


def request(model: str, value: float) -> pb.ModelInferRequest:
    result = pb.ModelInferRequest(model_name=model, id=str(value))
    result.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    result.raw_input_contents.append(np.full((1, 4), value, np.float32).tobytes())
    return result


def value_of(response: pb.ModelInferResponse) -> float:
    return float(np.frombuffer(response.raw_output_contents[0], np.float32)[0])


def a_round(stub: pb_grpc.GRPCInferenceServiceStub, seed: int) -> None:
    """Send both kinds of callers at once; the leavers go by cancellation or by a deadline that is too short."""
    dice = random.Random(seed)
    leavers, stayers = [], []
    for index in range(LEAVERS):
        model, factor = dice.choice([("slow", 1.0), ("queued", 2.0)])
        if dice.random() < 0.5:
            leavers.append(stub.ModelInfer.future(request(model, index), timeout=dice.uniform(0.001, 0.05)))
        else:
            leavers.append(stub.ModelInfer.future(request(model, index), timeout=TIMEOUT_S))
            if dice.random() < 0.5:
                leavers[-1].cancel()
        stayers.append((factor * index, stub.ModelInfer.future(request(model, index), timeout=TIMEOUT_S)))
    for leaver in leavers:
        leaver.cancel()
    assert len(stayers) == STAYERS
    assert [value_of(stayer.result()) for _, stayer in stayers] == [expected for expected, _ in stayers]


def is_empty(figures: Figures) -> bool:
    model_calls = total(
        figures, "cuelight_requests_in_flight", method="inference.GRPCInferenceService/ModelInfer"
    ) + total(figures, "cuelight_requests_in_flight", method="inference.GRPCInferenceService/ModelStreamInfer")
    return model_calls == 0 and total(figures, "cuelight_queue_depth") == 0


def test_everyone_else_is_answered_and_nothing_is_left(
    server: ServeProcess, stub: pb_grpc.GRPCInferenceServiceStub
) -> None:
    a_round(stub, seed=0)
    before = scrape(server)
    for seed in range(1, 5):
        a_round(stub, seed)

    after = settled(server, is_empty, lambda: stub.ModelInfer(request("queued", 1.0), timeout=TIMEOUT_S))

    assert is_empty(after)
    assert total(after, MEMORY) < total(before, MEMORY) * GROWTH_LIMIT


def test_streams_that_break_off_leave_nothing(server: ServeProcess, stub: pb_grpc.GRPCInferenceServiceStub) -> None:
    for index in range(50):
        never = Event()

        def requests(model: str = ("slow", "queued")[index % 2], wait: Event = never) -> Iterator[pb.ModelInferRequest]:
            for value in range(20):
                yield request(model, value)
            wait.wait(TIMEOUT_S)

        call = stub.ModelStreamInfer(requests(), timeout=TIMEOUT_S)
        for _ in range(index % 3):
            next(call)
        call.cancel()
        never.set()

    after = settled(server, is_empty, lambda: stub.ModelInfer(request("queued", 1.0), timeout=TIMEOUT_S))

    assert is_empty(after)
    assert value_of(stub.ModelInfer(request("queued", 21.0), timeout=TIMEOUT_S)) == 42.0
