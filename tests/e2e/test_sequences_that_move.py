"""Sequences that outlive their server: killed, shut down, restarted under load. The client sees one iterator."""

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.client import Channel, InferenceClient, ResumePolicy, Sequence, speech_probabilities
from cuelight.client.audio import read_wav
from cuelight.exporters.samples import RECORDING
from cuelight.server.inference.token_keys import new_key_entry
from tests.scale_models import write_version
from tests.sequence_models import INPUT_SIZE, LSTM_PAIRS, Alone, lstm_model
from tests.serve_process import FRONTS, ServeProcess, running_server

CHUNK_SAMPLES = 512
RATE_HZ = 16_000
POLICY = ResumePolicy(token_every_steps=10, token_every_s=60.0, give_up_after_s=60.0)
STREAMS = 200


class Fleet:
    """Servers of one repository that share their token keys; one that ends may be started again, on its old port."""

    def __init__(self, folder: Path, front: str, stack: ExitStack) -> None:
        self._folder, self._front, self._stack = folder, front, stack
        (folder / "keys.toml").write_text(new_key_entry("test"))
        (folder / "serve.toml").write_text('[sequences]\ntoken_key_file = "keys.toml"\n')
        self._logs = itertools.count()

    def start(self, port: int = 0) -> ServeProcess:
        arguments = ["--config", str(self._folder / "serve.toml"), *(["--port", str(port)] if port else [])]
        log = self._folder / f"log{next(self._logs)}"
        return self._stack.enter_context(
            running_server(self._folder / "models", log, front=self._front, arguments=arguments)
        )


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


def clients(stack: ExitStack, *servers: ServeProcess) -> list[InferenceClient]:
    return [InferenceClient(stack.enter_context(Channel(server.target))) for server in servers]


def alone(steps: list[NDArray[Any]]) -> list[NDArray[Any]]:
    model = Alone(lstm_model(), LSTM_PAIRS)
    state, outputs = model.begin(), []
    for x in steps:
        given, state = model.step(state, {"x": x})
        outputs.append(given["y"])
    return outputs


def noise(seed: int, count: int) -> list[NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((1, INPUT_SIZE)).astype(np.float32) for _ in range(count)]


def set_after_exit(server: ServeProcess, event: threading.Event) -> None:
    server.exit_code()
    event.set()


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_a_killed_server_does_not_interrupt_a_voice_stream(
    front: str, tmp_path: Path, cache_dir: Path, stack: ExitStack, repository_of: Callable[..., Path]
) -> None:
    (tmp_path / "models").symlink_to(repository_of("silero_vad"))
    samples = read_wav(RECORDING.fetch(cache_dir), RATE_HZ)
    chunks = [samples[i : i + CHUNK_SAMPLES] for i in range(0, len(samples) - CHUNK_SAMPLES, CHUNK_SAMPLES)]
    fleet = Fleet(tmp_path, front, stack)
    first, second = fleet.start(), fleet.start()
    undisturbed = list(speech_probabilities(clients(stack, second), chunks))

    disturbed: list[float] = []
    source = iter(chunks)
    for probability in speech_probabilities(clients(stack, first, second), source, policy=POLICY):
        disturbed.append(probability)
        if len(disturbed) == len(chunks) // 2:
            first.signal(signal.SIGKILL)

    assert disturbed == undisturbed
    assert max(undisturbed) > 0.9


@pytest.mark.parametrize("front", FRONTS)
def test_a_stream_that_waits_for_its_next_step_moves_too(front: str, tmp_path: Path, stack: ExitStack) -> None:
    write_version(tmp_path / "models", "lstm", 1, lstm_model())
    fleet = Fleet(tmp_path, front, stack)
    first, second = fleet.start(), fleet.start()
    steps = noise(1, 40)
    may_go_on = threading.Event()

    def live() -> Iterator[dict[str, NDArray[Any]]]:
        for index, x in enumerate(steps):
            if index == 25:
                may_go_on.wait()
            yield {"x": x}

    sequence = Sequence(clients(stack, first, second), "lstm", policy=POLICY)
    outputs = []
    for given in sequence.run(live()):
        outputs.append(given["y"])
        if len(outputs) == 25:
            first.signal(signal.SIGKILL)
            first.exit_code()
            may_go_on.set()

    assert np.array_equal(outputs, alone(steps))
    assert sequence.resumes == 1


@pytest.mark.parametrize("front", FRONTS)
def test_a_server_that_shuts_down_hands_its_streams_over(front: str, tmp_path: Path, stack: ExitStack) -> None:
    write_version(tmp_path / "models", "lstm", 1, lstm_model())
    fleet = Fleet(tmp_path, front, stack)
    first, second = fleet.start(), fleet.start()
    steps = noise(2, 40)
    # Tokens are due never: only the hand-over can bring one that is later than the first step's.
    policy = ResumePolicy(token_every_steps=900, token_every_s=3600.0)
    told = threading.Event()

    def live() -> Iterator[dict[str, NDArray[Any]]]:
        for index, x in enumerate(steps):
            if index == 25:
                told.wait()
            yield {"x": x}

    sequence = Sequence(clients(stack, first, second), "lstm", policy=policy)
    outputs = []
    for given in sequence.run(live()):
        outputs.append(given["y"])
        if len(outputs) == 25:
            first.signal(signal.SIGTERM)
            threading.Thread(target=set_after_exit, args=(first, told)).start()

    assert first.process.returncode == 0
    assert np.array_equal(outputs, alone(steps))
    assert sequence.resumes == 1
    assert sequence.token is not None
    assert sequence.token.steps >= 25


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_a_rolling_restart_under_200_live_streams(front: str, tmp_path: Path, stack: ExitStack) -> None:
    write_version(tmp_path / "models", "lstm", 1, lstm_model())
    fleet = Fleet(tmp_path, front, stack)
    servers = [fleet.start(), fleet.start()]
    both = clients(stack, *servers)
    restarted = threading.Event()
    running = threading.Semaphore(0)

    def stream(index: int) -> bool:
        """Run one live stream until the restarts are over and then a little longer; return whether it was right."""
        generator = np.random.default_rng(index)
        steps: list[NDArray[Any]] = []

        def live() -> Iterator[dict[str, NDArray[Any]]]:
            after = 0
            while after < 5:
                after += restarted.is_set()
                steps.append(generator.standard_normal((1, INPUT_SIZE)).astype(np.float32))
                yield {"x": steps[-1]}
                time.sleep(0.05)

        ours = both if index % 2 else both[::-1]
        outputs = []
        for given in Sequence(ours, "lstm", policy=POLICY).run(live()):
            outputs.append(given["y"])
            if len(outputs) == 5:
                running.release()
        return len(outputs) == len(steps) and np.array_equal(outputs, alone(steps))

    with ThreadPoolExecutor(STREAMS) as pool:
        results = [pool.submit(stream, index) for index in range(STREAMS)]
        for _ in range(STREAMS):
            running.acquire()
        for place, server in enumerate(servers):
            server.signal(signal.SIGTERM)
            assert server.exit_code() == 0
            servers[place] = fleet.start(server.port)
        restarted.set()
        right = [result.result() for result in results]

    assert right == [True] * STREAMS
