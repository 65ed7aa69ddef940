"""Vision as its users have it: the real process on both fronts, both clients, and what happens when things end."""

import asyncio
import json
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cuelight.client import (
    AsyncChannel,
    AsyncVisionClient,
    Channel,
    DeadlineExceeded,
    ExplainOptions,
    Frame,
    InferenceClient,
    InvalidRequest,
    NotFound,
    RetryPolicy,
    Unavailable,
    VisionClient,
    classify,
)
from cuelight.inference.v2 import open_inference_pb2
from cuelight.inference.v2 import open_inference_pb2_grpc as inference_grpc
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.vision_models import LABELS, SIZE, metadata, photo, plain, write_colors

ONCE = RetryPolicy(max_attempts=1)
TIMEOUT_S = 30.0


@pytest.fixture(params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServeProcess]:
    write_colors(tmp_path / "models")
    explicit = ["--model-control-mode", "explicit", "--load-model", "*"]
    with running_server(tmp_path / "models", tmp_path / "log", front=str(request.param), arguments=explicit) as running:
        yield running


@pytest.fixture
def client(server: ServeProcess) -> Iterator[VisionClient]:
    with Channel(server.target, retries=ONCE) as channel:
        yield VisionClient(channel)


class Camera:
    """Frames that a test hands over one by one."""

    def __init__(self) -> None:
        self._frames: SimpleQueue[Frame | None] = SimpleQueue()

    def show(self, number: int, color: str) -> None:
        self._frames.put(Frame(photo(color), number, number * 40))

    def stop(self) -> None:
        self._frames.put(None)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames.get, None)


def counted(server: ServeProcess, line: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=TIMEOUT_S) as answer:
        text = answer.read().decode()
    return float(next(found for found in text.splitlines() if found.startswith(f"{line} ")).split()[-1])


def test_photos_pixels_and_vectors(server: ServeProcess, client: VisionClient, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(photo("red"))
    sources: list[Any] = [tmp_path / "red.png", str(tmp_path / "red.png"), photo("green"), plain("blue"), b"nonsense"]

    named = client.classify_many(sources * 8, top_k=1)
    vectors = client.embed_many([plain("red"), np.full((9, 9), 255, np.uint8)], normalize=True)

    names = [result.labels[0].label if result.error is None else type(result.error) for result in named]
    assert names == ["red", "red", "green", "blue", InvalidRequest] * 8
    assert [result.info and result.info.format for result in named[:5]] == ["PNG", "PNG", "PNG", "RAW", None]
    np.testing.assert_allclose(vectors[0].vector, [1, 0, 0])
    np.testing.assert_allclose(vectors[1].vector, np.ones(3) / np.sqrt(3), rtol=1e-6)
    assert counted(server, 'cuelight_images_total{outcome="decoded"}') == 34
    assert counted(server, 'cuelight_images_total{outcome="refused"}') == 8
    assert counted(server, "cuelight_images_inside") == 0
    with pytest.raises(InvalidRequest, match="image 0: expected a JPEG, PNG or WebP file"):
        client.classify(b"nonsense")
    with pytest.raises(NotFound, match="mauve"):
        client.classify(photo("red"), model="mauve")
    with pytest.raises(InvalidRequest, match=r"\(4,\) uint8"):
        client.classify(np.zeros(4, np.uint8))


def test_why_and_the_models(server: ServeProcess, client: VisionClient) -> None:
    [model] = client.models()
    why = client.explain(photo("red"), ExplainOptions(target="red"))
    masks = client.explain(photo("red"), ExplainOptions(target=2, method="rise", masks=20, seed=3, overlay=False))

    assert (model.name, model.class_count, model.height, model.is_default) == ("colors", 3, SIZE, True)
    assert (why.method, why.values.shape, why.overlay_png[1:4]) == ("class_activation", (SIZE, SIZE), b"PNG")
    np.testing.assert_allclose(why.values, 10.0)
    assert (masks.method, masks.label.label, masks.runs, masks.overlay_png) == ("rise", "blue", 21, b"")
    assert counted(server, 'cuelight_explanations_total{method="rise"}') == 1
    with grpc.insecure_channel(server.target) as channel:
        asked = health_pb2.HealthCheckRequest(service="cuelight.vision.v1.VisionService")
        assert health_pb2_grpc.HealthStub(channel).Check(asked, timeout=TIMEOUT_S).status == 1


def test_an_image_prepared_by_the_caller_has_the_same_labels(tmp_path: Path) -> None:
    how = {"kind": "image", "layout": "NHWC", "datatype": "UINT8", "color": "BGR", "resize": {"size": [SIZE, SIZE]}}
    said = metadata(preprocessing=json.dumps(how), scores="probabilities")
    write_colors(tmp_path / "models", tail="softmax", said=said, takes_bytes=True)

    with running_server(tmp_path / "models", tmp_path / "log") as running, Channel(running.target) as channel:
        by_tensors = classify(InferenceClient(channel), photo("red"), model="colors")
        by_the_server = VisionClient(channel).classify(photo("red")).labels

    powers = np.exp([12.0, 1.0, 0.0])  # blue, for the model takes BGR: 10 * 1 + 2
    for labels in (by_tensors, list(by_the_server)):
        assert [guess.label for guess in labels] == ["blue", "green", "red"]
        np.testing.assert_allclose([guess.probability for guess in labels], powers / powers.sum(), rtol=1e-5)


def test_the_clients_answer_alike(server: ServeProcess, client: VisionClient) -> None:
    async def scenario() -> list[Any]:
        async def frames() -> AsyncIterator[Frame]:
            yield Frame(photo("green"), 7, 280)

        async with AsyncChannel(server.target) as channel:
            other = AsyncVisionClient(channel)
            async with aclosing(other.classify_frames(frames(), top_k=2)) as stream:
                answers = [answer async for answer in stream]
            return [
                await other.classify(photo("red")),
                await other.classify_many([photo("red"), plain("blue")]),
                (await other.embed(photo("red"))).vector.tolist(),
                (await other.explain(photo("red"))).values.tolist(),
                await other.models(),
                answers,
            ]

    mine = [
        client.classify(photo("red")),
        client.classify_many([photo("red"), plain("blue")]),
        client.embed(photo("red")).vector.tolist(),
        client.explain(photo("red")).values.tolist(),
        client.models(),
        list(client.classify_frames([Frame(photo("green"), 7, 280)], top_k=2)),
    ]

    assert asyncio.run(scenario()) == mine


def test_a_stream_of_frames_takes_the_version_that_serves(
    server: ServeProcess, client: VisionClient, tmp_path: Path
) -> None:
    camera = Camera()
    answers = client.classify_frames(camera)
    camera.show(1, "red")
    first = next(answers)
    why = client.explain(photo("red"))
    write_colors(tmp_path / "models", version=2, said=metadata(labels='["rot", "grün", "blau"]'))
    with grpc.insecure_channel(server.target) as channel:
        load = inference_grpc.GRPCInferenceServiceStub(channel).RepositoryModelLoad
        load(open_inference_pb2.RepositoryModelLoadRequest(model_name="colors"), timeout=TIMEOUT_S)
    camera.show(2, "green")
    second = next(answers)
    camera.stop()

    assert list(answers) == []
    assert (first.id, first.result.labels[0].label, first.result.model_version) == (1, "red", 1)
    assert (second.id, second.result.labels[0].label, second.result.model_version) == (2, "grün", 2)
    assert (why.model_version, client.explain(photo("red")).model_version) == (1, 2)


def test_streams_of_frames_end_with_the_server_and_it_ends_in_peace(server: ServeProcess, client: VisionClient) -> None:
    camera = Camera()
    answers = client.classify_frames(camera)
    camera.show(1, "blue")
    assert next(answers).result.labels[0].label == "blue"

    server.signal(signal.SIGTERM)

    with pytest.raises(Unavailable, match="shutting down; go on elsewhere"):
        next(answers)
    camera.stop()
    assert server.exit_code() == 0
    assert "Traceback" not in server.log_text()


def test_whoever_gives_up_harms_nobody(server: ServeProcess, client: VisionClient) -> None:
    long = ExplainOptions(method="rise", masks=4096)
    cameras = [Camera() for _ in range(3)]
    streams = [client.classify_frames(camera) for camera in cameras]
    for camera, color in zip(cameras, LABELS, strict=True):
        camera.show(1, color)
    assert [next(stream).result.labels[0].label for stream in streams] == list(LABELS)

    with pytest.raises(DeadlineExceeded):
        client.explain(photo("red"), long, timeout_s=0.05)
    streams[0].close()  # type: ignore[attr-defined]
    for camera in cameras:
        camera.show(2, "green")
        camera.stop()

    assert [next(stream).id for stream in streams[1:]] == [2, 2]
    assert client.classify(photo("red")).labels[0].label == "red"
    assert "Traceback" not in server.whole_log()


def test_what_no_option_allows_is_refused_at_the_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], run_serve: Callable[..., int]
) -> None:
    assert run_serve("--max-pixels", "0") == 2
    assert "vision.max_pixels: got 0, expected 1 or more" in capfd.readouterr().err


@pytest.fixture
def run_serve(tmp_path: Path) -> Callable[..., int]:
    """Return what runs `cuelight serve` in this process, for settings that it refuses."""
    from cuelight.server.cli import main  # noqa: PLC0415

    write_colors(tmp_path / "models")
    return lambda *words: main(["serve", "--model-repository", str(tmp_path / "models"), *words])
