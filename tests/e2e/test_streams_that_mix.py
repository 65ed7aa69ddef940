"""Streams on which requests of every kind follow each other: answers keep their order, whichever way each one took."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from tests.scale_models import scale_model, write_version
from tests.serve_process import FRONTS, ServeProcess, running_server

TIMEOUT_S = 60.0
STREAMS = 12
REQUESTS = 150
ERROR = -1.0


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("mix")
    write_version(folder / "models", "inline", 1, scale_model(2.0))
    write_version(folder / "models", "other", 1, scale_model(3.0))
    write_version(folder / "models", "queued", 1, scale_model(5.0, dims=("batch", "length")))
    with running_server(folder / "models", folder / "log", front=request.param) as running:
        yield running


def one(dice: random.Random, value: int) -> tuple[pb.ModelInferRequest, float]:
    """Return a request of some kind, and the first value of its answer, or ERROR."""
    model, factor = dice.choice([("inline", 2.0)] * 4 + [("other", 3.0), ("queued", 5.0), ("nothing", 0.0)])
    rows, width = dice.choice([(1, 4)] * 6 + [(3, 4), (1, 5)])
    request = pb.ModelInferRequest(model_name=model, id=str(value))
    request.inputs.add(name="x", datatype="FP32", shape=[rows, width])
    if dice.random() < 0.1:
        request.inputs[0].contents.fp32_contents.extend([float(value)] * rows * width)
    else:
        request.raw_input_contents.append(np.full((rows, width), value, np.float32).tobytes())
    wrong = model == "nothing" or (width == 5 and model != "queued")
    return request, ERROR if wrong else factor * value


def a_stream(target: str, seed: int) -> None:
    dice = random.Random(seed)
    requests, expected = zip(*(one(dice, value) for value in range(REQUESTS)), strict=True)
    with grpc.insecure_channel(target) as channel:
        answers = list(pb_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(requests), timeout=TIMEOUT_S))

    assert [answer.infer_response.id for answer in answers] == [str(value) for value in range(REQUESTS)]
    assert [first_value(answer) for answer in answers] == list(expected)


def first_value(answer: pb.ModelStreamInferResponse) -> float:
    if answer.error_message:
        return ERROR
    return float(np.frombuffer(answer.infer_response.raw_output_contents[0], np.float32)[0])


def test_answers_keep_their_order_on_every_stream(server: ServeProcess) -> None:
    with ThreadPoolExecutor(STREAMS) as streams:
        running = [streams.submit(a_stream, server.target, seed) for seed in range(STREAMS)]

    for stream in running:
        stream.result()
