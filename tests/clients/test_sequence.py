"""`Sequence` against servers that misbehave on purpose: each output comes once and in order, whatever happens."""

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from cuelight.client import Channel, InferenceClient, InvalidRequest, NotActive, ResumePolicy, Sequence, Unavailable
from cuelight.client._open_inference import SERVICE, message
from cuelight.client.replay import Reading, ReplayBuffer

FAST = ResumePolicy(token_every_steps=3, token_every_s=3600, window=4, max_kept=10, give_up_after_s=0.5)


class SummingServer:
    """Keeps the running sum of `x` per stream; a token is the sum and the count. `trouble(step)` may raise or abort."""

    def __init__(self, trouble: Callable[[int, grpc.ServicerContext], str | None]) -> None:
        self._trouble = trouble
        self.taken: list[float] = []
        self.started = 0

    def stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        total, count = 0.0, 0
        for request in requests:
            answer = message("ModelStreamInferResponse")()
            if "resume_token" in request.parameters:
                text = base64.b64decode(request.parameters["resume_token"].string_param).decode()
                total, count = float(text.split()[0]), int(text.split()[1])
            elif "sequence_start" in request.parameters:
                total, count, self.started = 0.0, 0, self.started + 1
            what = self._trouble(count + 1, context)
            if what == "move":
                answer.infer_response.parameters["sequence_handover"].bool_param = True
                self._add_token(answer, total, count)
                yield answer
                context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")
            if what is not None:
                answer.error_message = f"trouble: {what}"
                answer.infer_response.parameters["status"].string_param = what
                yield answer
                continue
            value = float(np.frombuffer(request.raw_input_contents[0], np.float32)[0])
            self.taken.append(value)
            total, count = total + value, count + 1
            answer.infer_response.outputs.add(name="y", datatype="FP32", shape=[1])
            answer.infer_response.raw_output_contents.append(np.float32(total).tobytes())
            if "return_resume_token" in request.parameters:
                self._add_token(answer, total, count)
            yield answer

    def _add_token(self, answer: Any, total: float, count: int) -> None:
        token = base64.b64encode(f"{total} {count}".encode()).decode()
        answer.infer_response.parameters["resume_token"].string_param = token
        answer.infer_response.parameters["sequence_steps"].int64_param = count


@contextmanager
def served(server: SummingServer) -> Iterator[InferenceClient]:
    handler: Any = grpc.stream_stream_rpc_method_handler(
        server.stream,
        request_deserializer=message("ModelInferRequest").FromString,
        response_serializer=lambda answer: answer.SerializeToString(),
    )
    grpc_server = grpc.server(futures.ThreadPoolExecutor(8))
    grpc_server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"ModelStreamInfer": handler}),)
    )
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    try:
        with Channel(f"127.0.0.1:{port}") as channel:
            yield InferenceClient(channel)
    finally:
        grpc_server.stop(0).wait()


def steps(count: int) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        yield {"x": np.array([number], np.float32)}


def sums(count: int) -> list[float]:
    return [float(total) for total in np.cumsum(np.arange(1, count + 1))]


def outputs(sequence: Sequence, count: int) -> list[float]:
    return [float(given["y"][0]) for given in sequence.run(steps(count))]


def no_trouble(step: int, context: grpc.ServicerContext) -> str | None:
    return None


def once(
    at: int, what: Callable[[grpc.ServicerContext], str | None]
) -> Callable[[int, grpc.ServicerContext], str | None]:
    """Return trouble that comes at one step, the first time it is taken."""
    left = [1]

    def trouble(step: int, context: grpc.ServicerContext) -> str | None:
        if step == at and left[0]:
            left[0] -= 1
            return what(context)
        return None

    return trouble


def cut(context: grpc.ServicerContext) -> str | None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


def test_without_trouble_every_step_is_taken_once() -> None:
    server = SummingServer(no_trouble)
    with served(server) as client:
        sequence = Sequence(client, "m", policy=FAST)
        assert outputs(sequence, 20) == sums(20)

    assert server.taken == list(range(1, 21))
    assert sequence.resumes == 0
    assert sequence.token is not None
    assert sequence.token.steps == 18


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 12, 20])
def test_a_server_that_dies_is_followed_by_the_next(at: int) -> None:
    first, second = SummingServer(once(at, cut)), SummingServer(no_trouble)
    with served(first) as one, served(second) as two:
        sequence = Sequence([one, two], "m", policy=FAST)
        assert outputs(sequence, 20) == sums(20)

    assert sequence.resumes == 1
    # What was taken twice is what no token covered, and no more.
    assert len(first.taken) + len(second.taken) <= 20 + FAST.token_every_steps + FAST.window
    assert second.started == (1 if at == 1 else 0)


def test_a_server_that_hands_over_is_left_with_its_token() -> None:
    first, second = SummingServer(once(8, lambda context: "move")), SummingServer(no_trouble)
    with served(first) as one, served(second) as two:
        assert outputs(Sequence([one, two], "m", policy=FAST), 20) == sums(20)

    assert first.taken == list(range(1, 8))
    assert second.taken == list(range(8, 21))


def test_a_server_that_has_forgotten_the_sequence_gets_it_back() -> None:
    server = SummingServer(once(9, lambda context: "FAILED_PRECONDITION"))
    with served(server) as client:
        sequence = Sequence(client, "m", policy=FAST)
        assert outputs(sequence, 15) == sums(15)

    assert sequence.resumes == 1


def test_a_step_the_model_cannot_take_is_the_caller_s_to_see() -> None:
    with served(SummingServer(once(5, lambda context: "INVALID_ARGUMENT"))) as client:
        got: list[float] = []
        with pytest.raises(InvalidRequest, match="step 5: trouble: INVALID_ARGUMENT"):
            got.extend(float(given["y"][0]) for given in Sequence(client, "m", policy=FAST).run(steps(20)))

        assert got == sums(4)


def test_a_state_that_no_token_can_bring_back_is_lost_loudly() -> None:
    with (
        served(SummingServer(lambda step, context: "FAILED_PRECONDITION")) as client,
        pytest.raises(NotActive, match="step 1: trouble"),
    ):
        list(Sequence(client, "m", policy=FAST).run(steps(3)))


def test_it_gives_up_when_no_server_answers() -> None:
    with served(SummingServer(lambda step, context: cut(context))) as client, pytest.raises(Unavailable):
        list(Sequence([client, client], "m", policy=FAST).run(steps(3)))


def test_a_token_kept_elsewhere_goes_on_in_another_process() -> None:
    with served(SummingServer(no_trouble)) as client:
        first = Sequence(client, "m", policy=ResumePolicy(token_every_steps=1))
        assert outputs(first, 4) == sums(4)

        second = Sequence(client, "m", policy=FAST, token=first.token)
        assert outputs(second, 3) == [11.0, 13.0, 16.0]
        assert second.token is not None
        assert second.token.steps >= 5


def test_what_the_caller_s_iterable_raises_reaches_the_caller() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from steps(3)
        raise OSError("the microphone is gone")

    got: list[float] = []
    with served(SummingServer(no_trouble)) as client, pytest.raises(OSError, match="the microphone is gone"):
        got.extend(float(given["y"][0]) for given in Sequence(client, "m", policy=FAST).run(broken()))

    assert got == [1.0, 3.0, 6.0]


def test_leaving_the_iteration_ends_the_stream_and_the_reading() -> None:
    taken = threading.Event()

    def endless() -> Iterator[dict[str, Any]]:
        number = 0
        while True:
            number += 1
            taken.set()
            yield {"x": np.array([number], np.float32)}

    with served(SummingServer(no_trouble)) as client:
        running = Sequence(client, "m", policy=FAST).run(endless())
        assert float(next(running)["y"][0]) == 1.0
        running.close()  # type: ignore[attr-defined]

    assert taken.is_set()


def test_a_policy_that_could_never_free_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="max_kept must be at least token_every_steps"):
        ResumePolicy(token_every_steps=100, window=10, max_kept=50)


def test_the_buffer_keeps_what_no_token_covers_and_reads_no_further() -> None:
    pulled: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            pulled.append(number)
            yield number

    buffer = ReplayBuffer(source(), max_kept=5)
    buffer.start()
    reading = Reading(0, window=100)
    read = buffer.read(0, reading)
    assert [next(read) for _ in range(5)] == [(number, number) for number in range(5)]
    assert len(pulled) <= 6
    buffer.forget(3)
    again = buffer.read(3, Reading(3, window=100))

    assert [next(again)[0] for _ in range(5)] == [3, 4, 5, 6, 7]
    buffer.close()
    assert list(read) == []


def test_the_window_bounds_what_is_sent_ahead() -> None:
    buffer = ReplayBuffer(range(100), max_kept=100)
    buffer.start()
    reading = Reading(0, window=3)
    read = buffer.read(0, reading)
    assert [next(read)[0] for _ in range(3)] == [0, 1, 2]

    def answer() -> None:
        reading.answered = 1
        buffer.wake()

    threading.Timer(0.05, answer).start()

    assert next(read)[0] == 3
    reading.over = True
    buffer.wake()
    assert list(read) == []
