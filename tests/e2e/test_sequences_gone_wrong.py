"""What callers get wrong about sequences, over the wire: each is told, and no one else notices."""

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from cuelight.inference.v1 import sequences_pb2 as seq
from cuelight.inference.v1 import sequences_pb2_grpc as seq_grpc
from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from tests.e2e.figures import scrape, settled, total
from tests.scale_models import scale_model, write_version
from tests.sequence_models import TOLD_CONFIG, running_sum, sum_over_table, told_model
from tests.serve_process import FRONTS, ServeProcess, running_server

TIMEOUT_S = 60.0
CAPACITY = 100


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("wrong")
    for name in ("sum", "other"):
        write_version(folder / "models", name, 1, running_sum(0 if name == "sum" else 1))
    write_version(folder / "models", "table", 1, sum_over_table())
    write_version(folder / "models", "told", 1, told_model())
    (folder / "models" / "told" / "config.pbtxt").write_text(TOLD_CONFIG)
    write_version(folder / "models", "stateless", 1, scale_model(2.0))
    (folder / "serve.toml").write_text(f"[sequences]\nmax_sequences = {CAPACITY}\n")
    arguments = ["--config", str(folder / "serve.toml")]
    with running_server(folder / "models", folder / "log", front=request.param, arguments=arguments) as running:
        yield running


@pytest.fixture
def channel(server: ServeProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target) as opened:
        yield opened


@pytest.fixture
def infer(channel: grpc.Channel) -> Callable[..., pb.ModelInferResponse]:
    stub = pb_grpc.GRPCInferenceServiceStub(channel)
    return lambda *args, **kwargs: stub.ModelInfer(step(*args, **kwargs), timeout=TIMEOUT_S)


def step(
    sequence_id: Any = None, value: float = 1.0, model: str = "sum", rows: int = 1, **parameters: Any
) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    request.raw_input_contents.append(np.full((rows, 2), value, np.float32).tobytes())
    for name, given in {"sequence_id": sequence_id, **parameters}.items():
        if given is None:
            continue
        kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(given)]
        setattr(request.parameters[name], kind, given)
    return request


def value_of(response: pb.ModelInferResponse) -> float:
    return float(np.frombuffer(response.raw_output_contents[0], np.float32)[0])


def refused(code: str, text: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        call(*args, **kwargs)
    error: Any = raised.value
    assert error.code().name == code, error
    assert text in error.details()


@pytest.mark.parametrize("nothing", [None, 0, ""])
def test_a_step_without_an_id_is_refused(infer: Any, nothing: Any) -> None:
    refused("INVALID_ARGUMENT", "sequence_id must be a number other than 0 or a string", infer, nothing)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"sequence_id": 1.5}, "sequence_id: expected an integer or a string, got double_param"),
        ({"sequence_id": -3}, "sequence_id: expected 1 to 9223372036854775807, got -3"),
        ({"sequence_id": "abc", "model": "told"}, "'abc' is a string; model \"told\" takes UINT64"),
        ({"sequence_id": "x" * 257}, "sequence_id: expected at most 256 bytes, got 257"),
        ({"sequence_id": 1, "sequence_start": "yes"}, "sequence_start: expected a bool, got string_param"),
        ({"sequence_id": 1, "resume_token": "?"}, "resume_token: not base64"),
        ({"sequence_id": 1, "resume_token": 5}, "resume_token: expected a string in base64"),
        ({"sequence_id": 1, "resume_token": "AAAA"}, "resume_token: 3 bytes that are no token"),
        (
            {"sequence_id": 1, "resume_token": "AAAA", "sequence_start": True},
            "resume_token: came with sequence_start; a sequence starts anew or goes on, not both",
        ),
    ],
)
def test_a_parameter_that_is_wrong_is_named(infer: Any, parameters: dict[str, Any], text: str) -> None:
    refused("INVALID_ARGUMENT", text, infer, **parameters)


def test_a_wrong_shape_in_the_middle_leaves_the_state_untouched(infer: Any) -> None:
    infer("middle", 1.0, sequence_start=True)
    refused("INVALID_ARGUMENT", "a step of a sequence has 1 row, got 2", infer, "middle", 50.0, rows=2)

    assert value_of(infer("middle", 2.0, sequence_end=True)) == 3.0


def test_a_token_of_another_model_is_refused_with_both_names(infer: Any, channel: grpc.Channel) -> None:
    answer = infer("t", sequence_start=True, return_resume_token=True)
    token = answer.parameters["resume_token"].string_param

    refused("FAILED_PRECONDITION", 'made by model "sum" version 1', infer, "t", model="other", resume_token=token)
    assert value_of(infer("u", 5.0, resume_token=token)) == 6.0


def test_export_and_import_by_call(infer: Any, channel: grpc.Channel) -> None:
    sequences = seq_grpc.SequenceServiceStub(channel)
    infer(77, 1.0, sequence_start=True)
    exported = sequences.ExportSequence(
        seq.ExportSequenceRequest(model_name="sum", sequence_id=seq.SequenceId(number=77)), timeout=TIMEOUT_S
    )
    infer(77, 10.0)
    imported = sequences.ImportSequence(
        seq.ImportSequenceRequest(resume_token=exported.resume_token, sequence_id=seq.SequenceId(text="copy")),
        timeout=TIMEOUT_S,
    )

    assert (exported.steps, imported.steps) == (1, 1)
    assert (imported.model_name, imported.model_version, imported.sequence_id.text) == ("sum", "1", "copy")
    assert exported.expires.ToSeconds() > 0
    assert value_of(infer("copy", 5.0)) == 6.0
    assert value_of(infer(77, 5.0)) == 16.0


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"model_name": "sum"}, "INVALID_ARGUMENT", "sequence_id: expected a number other than 0"),
        ({"model_name": "none", "sequence_id": {"number": 1}}, "NOT_FOUND", 'model "none"'),
        ({"model_name": "sum", "sequence_id": {"text": "no"}}, "FAILED_PRECONDITION", "'no' is not active"),
        ({"model_name": "stateless", "sequence_id": {"number": 1}}, "UNIMPLEMENTED", "it keeps no sequences"),
    ],
)
def test_an_export_that_cannot_be_is_refused(
    channel: grpc.Channel, request_: dict[str, Any], code: str, text: str
) -> None:
    call = seq_grpc.SequenceServiceStub(channel).ExportSequence

    refused(code, text, call, seq.ExportSequenceRequest(**request_), timeout=TIMEOUT_S)


def test_an_import_of_garbage_is_refused(channel: grpc.Channel) -> None:
    call = seq_grpc.SequenceServiceStub(channel).ImportSequence

    for garbage in (b"", b"\0" * 100, base64.b64decode("Q0xUMQ==") + b"\xff" * 300):
        refused("INVALID_ARGUMENT", "resume_token", call, seq.ImportSequenceRequest(resume_token=garbage))


def test_thousands_of_starts_and_no_end_are_bounded(server: ServeProcess, channel: grpc.Channel) -> None:
    stub = pb_grpc.GRPCInferenceServiceStub(channel)
    alive = total(scrape(server), "cuelight_sequences_live", model="sum")

    def requests() -> Iterator[pb.ModelInferRequest]:
        for number in range(10_000):
            yield step(f"flood {number}", sequence_start=True)

    answers = list(stub.ModelStreamInfer(requests(), timeout=TIMEOUT_S))

    right = [answer for answer in answers if not answer.error_message]
    full = [answer for answer in answers if "as many as it holds" in answer.error_message]
    assert len(answers) == 10_000
    assert len(right) == CAPACITY - alive
    assert len(full) == 10_000 - len(right)
    assert full[0].infer_response.parameters["status"].string_param == "RESOURCE_EXHAUSTED"
    figures = settled(server, lambda f: total(f, "cuelight_sequences_live", model="sum") == alive, lambda: None)
    assert total(figures, "cuelight_sequences_live", model="sum") == alive
    assert total(figures, "cuelight_sequence_slots_used", model="sum") == alive


def test_a_stream_s_sequence_cannot_be_stepped_by_others(channel: grpc.Channel, infer: Any) -> None:
    stub = pb_grpc.GRPCInferenceServiceStub(channel)
    may_end = threading.Event()

    def requests() -> Iterator[pb.ModelInferRequest]:
        yield step("owned", 1.0, sequence_start=True)
        may_end.wait(TIMEOUT_S)
        yield step("owned", 2.0)

    answers = stub.ModelStreamInfer(requests(), timeout=TIMEOUT_S)
    assert value_of(next(answers).infer_response) == 1.0
    refused("FAILED_PRECONDITION", "'owned' belongs to another stream", infer, "owned", 50.0)
    may_end.set()

    assert value_of(next(answers).infer_response) == 3.0
    assert list(answers) == []


def test_a_stream_that_sends_and_never_reads_is_held_back(server: ServeProcess, infer: Any) -> None:
    """What it may have inside the server is bounded; memory stays level, and others are served."""
    size = 20_000
    sent = [0]
    over = threading.Event()

    def requests() -> Iterator[pb.ModelInferRequest]:
        while not over.is_set() and sent[0] < size:
            message = step("greedy", sequence_start=not sent[0], return_resume_token=True)
            message.id = "x" * 4000
            sent[0] += 1
            yield message

    memory = total(scrape(server), "process_resident_memory_bytes")
    with grpc.insecure_channel(server.target, options=[("grpc.http2.lookahead_bytes", 65_536)]) as channel:
        call = pb_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests(), timeout=TIMEOUT_S)
        for number in range(300):
            assert value_of(infer("other", 1.0, sequence_start=number == 0)) == number + 1
        taken = total(scrape(server), "cuelight_sequence_step_seconds_count", model="sum")
        grown = total(scrape(server), "process_resident_memory_bytes") - memory
        over.set()
        call.cancel()
    infer("other", sequence_end=True)

    assert sent[0] < size
    assert taken < size
    assert grown < 100e6


def test_a_step_the_model_fails_on_harms_neither_its_own_sequence_nor_others(
    server: ServeProcess, channel: grpc.Channel
) -> None:
    """Plain steps of live streams share a batch as bytes; one that fails it is found and told."""
    stub = pb_grpc.GRPCInferenceServiceStub(channel)
    rounds, offends_in = 20, 7
    turn = threading.Barrier(4)

    def look_up(name: str, number: int, start: bool) -> pb.ModelInferRequest:
        request = pb.ModelInferRequest(model_name="table")
        request.inputs.add(name="index", datatype="INT64", shape=[1, 1])
        request.raw_input_contents.append(np.array([[number]], np.int64).tobytes())
        request.parameters["sequence_id"].string_param = name
        if start:
            request.parameters["sequence_start"].bool_param = True
        return request

    def run(name: str, offends: bool) -> list[float | str]:
        def requests() -> Iterator[pb.ModelInferRequest]:
            for number in range(rounds):
                turn.wait(TIMEOUT_S)
                yield look_up(name, 99 if offends and number == offends_in else 1, number == 0)

        answers = list(stub.ModelStreamInfer(requests(), timeout=TIMEOUT_S))
        return [answer.error_message or value_of(answer.infer_response) for answer in answers]

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(run, f"t{index}", index == 2) for index in range(4)]
        right = [10.0 * (number + 1) for number in range(rounds)]
        for index, result in enumerate(results):
            if index == 2:
                *before, failed = result.result()[: offends_in + 1]
                assert before == right[:offends_in]
                assert failed == 'model "table" failed to run this request'
                assert result.result()[offends_in + 1 :] == right[offends_in:-1]
            else:
                assert result.result() == right
