"""VisionService over the wire, on both fronts, by models whose answers follow from a formula."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cuelight.vision.v1 import vision_pb2 as pb
from cuelight.vision.v1 import vision_pb2_grpc as pb_grpc
from tests.scale_models import scale_model, write_version
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.vision_models import (
    LABELS,
    PREPROCESSING,
    SIZE,
    WEIGHT,
    encoded,
    metadata,
    photo,
    plain,
    write_colors,
)

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED
SETTINGS = """
[repository]
paths = []
[vision]
default_model = "colors"
max_image_bytes = 20000
max_pixels = 40000
max_images = 4
max_masks = 100
"""


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("vision")
    models = folder / "models"
    write_colors(models, "colors")
    write_colors(models, "alone", batch=1, said=metadata(max_batch_size=None))
    write_colors(models, "unpooled", tail="unpooled")
    write_colors(models, "bytes", takes_bytes=True)
    write_colors(models, "misbytes", takes_bytes=True, said=metadata())
    write_colors(models, "certain", tail="softmax", said=metadata(scores="probabilities"))
    write_colors(models, "hidden")
    (models / "hidden" / "config.pbtxt").write_text('output [{name: "logits" data_type: TYPE_FP32 dims: [3]}]')
    write_colors(models, "unlabelled", said=metadata(labels=None))
    write_colors(models, "undescribed", said=metadata(preprocessing=None))
    write_colors(models, "misdescribed", said=metadata(preprocessing='{"kind": "image"}'))
    write_colors(models, "tasted", said=metadata(task="wine_tasting"))
    write_colors(models, "five", said=metadata(labels='["a", "b", "c", "d", "e"]'))
    write_version(models, "scale", 1, scale_model(2.0))
    (folder / "settings.toml").write_text(SETTINGS)
    arguments = ["--config", str(folder / "settings.toml")]
    with running_server(models, folder / "log", front=request.param, arguments=arguments) as running:
        yield running


@pytest.fixture
def stub(server: ServeProcess) -> Iterator[pb_grpc.VisionServiceStub]:
    with grpc.insecure_channel(server.target) as channel:
        yield pb_grpc.VisionServiceStub(channel)


def image(data: bytes) -> pb.Image:
    return pb.Image(encoded=data)


def failed(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code(), caught.value.details() or ""


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(logits)
    powers /= powers.sum()
    return powers


def logits_of(red: float, green: float, blue: float) -> NDArray[np.float64]:
    return WEIGHT * np.array([red, green, blue]) + np.arange(3)


@pytest.mark.parametrize("model", ["colors", "alone", "unpooled", "certain", "bytes"])
@pytest.mark.parametrize("color", LABELS)
def test_a_color_has_its_name_and_its_probability(stub: pb_grpc.VisionServiceStub, model: str, color: str) -> None:
    response = stub.Classify(pb.ClassifyRequest(model=model, images=[image(photo(color))]))

    (result,) = response.results
    expected = softmax(logits_of(*(float(label == color) for label in LABELS)))
    assert (response.model, response.model_version) == (model, 1)
    assert result.labels[0].name == color
    assert [label.index for label in result.labels] == np.argsort(-expected).tolist()
    np.testing.assert_allclose([label.score for label in result.labels], np.sort(expected)[::-1], rtol=1e-5)
    assert (result.info.format, result.info.width, result.info.height, result.info.frame_count) == ("PNG", 16, 16, 1)


def test_results_come_in_the_order_of_the_images_and_errors_in_their_place(stub: pb_grpc.VisionServiceStub) -> None:
    images = [image(photo("green")), image(b"\0" * 99), pb.Image(), image(photo("red"))]

    results = stub.Classify(pb.ClassifyRequest(images=images, top_k=1)).results

    assert [result.labels[0].name if result.labels else result.error.code for result in results] == [
        "green",
        3,
        3,
        "red",
    ]
    assert results[2].error.message == "image 2: expected encoded or raw, got neither"
    assert not results[1].HasField("info") and not results[0].HasField("error")


def test_raw_pixels_need_no_encoding(stub: pb_grpc.VisionServiceStub) -> None:
    blue = np.zeros((20, 30, 4), np.uint8)
    blue[..., 0] = 255
    raw = pb.RawPixels(data=blue.tobytes(), width=30, height=20, format=pb.BGRX8)

    (result,) = stub.Classify(pb.ClassifyRequest(images=[pb.Image(raw=raw)])).results

    assert (result.labels[0].name, result.info.format) == ("blue", "RAW")


def too_wide() -> bytes:
    return encoded(np.zeros((1, 30_000, 3), np.uint8))


BAD_IMAGES = [
    (b"x" * 20_001, "a file of 20001 bytes, the limit is 20000 bytes"),
    (encoded(np.zeros((201, 200, 3), np.uint8)), "200 x 201 pixels are 40200, the limit is 40000"),
    (too_wide(), "30000 x 1 pixels would be resized to 240000 x 8, the limit is 40000 pixels"),
    (photo("red")[:-30], "a PNG file that cannot be decoded"),
]


@pytest.mark.parametrize(("data", "expected"), BAD_IMAGES, ids=[expected[:30] for _, expected in BAD_IMAGES])
def test_the_limits_are_those_of_the_settings(stub: pb_grpc.VisionServiceStub, data: bytes, expected: str) -> None:
    (result,) = stub.Classify(pb.ClassifyRequest(images=[image(data)])).results

    assert result.error.message.startswith(f"image 0: {expected}"), result.error.message


REFUSED = [
    ({"images": 0}, INVALID, "images: got 0, expected 1 to 4"),
    ({"images": 5}, INVALID, "images: got 5, expected 1 to 4"),
    ({"top_k": -1}, INVALID, "top_k: got -1"),
    ({"model": "nothing"}, grpc.StatusCode.NOT_FOUND, '"nothing"'),
    ({"model_version": 7}, grpc.StatusCode.NOT_FOUND, "no version 7"),
    ({"model_version": -7}, INVALID, "model_version: got -7"),
    ({"model": "scale"}, INVALID, 'metadata "cuelight.task" is missing'),
    ({"model": "tasted"}, INVALID, '"wine_tasting", expected the task "image_classification"'),
    ({"model": "unlabelled"}, MISSING, 'metadata "cuelight.labels" is missing'),
    ({"model": "undescribed"}, MISSING, 'metadata "cuelight.preprocessing" is missing'),
    ({"model": "misdescribed"}, MISSING, 'metadata "cuelight.preprocessing": "layout" is missing'),
    ({"model": "five"}, MISSING, 'metadata "cuelight.labels" has 5 labels, output "logits" is FP32 [-1,3]'),
]


@pytest.mark.parametrize(("options", "code", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_a_call_that_cannot_be_answered_says_why(
    stub: pb_grpc.VisionServiceStub, options: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    asked = {**options, "images": [image(photo("red"))] * options.get("images", 1)}

    got, details = failed(stub.Classify, pb.ClassifyRequest(**asked))

    assert (got, words in details) == (code, True), details


def test_an_image_becomes_a_vector(stub: pb_grpc.VisionServiceStub) -> None:
    images = [image(encoded(np.full((9, 9, 3), (51, 102, 0), np.uint8))), image(b"?"), image(photo("blue"))]

    plainly = stub.Embed(pb.EmbedRequest(images=images))
    scaled = stub.Embed(pb.EmbedRequest(images=images, normalize=True))

    assert plainly.dimension == 3
    np.testing.assert_allclose(plainly.results[0].vector, [0.2, 0.4, 0], atol=1e-6)
    np.testing.assert_allclose(scaled.results[0].vector, np.array([1, 2, 0]) / np.sqrt(5), atol=1e-6)
    assert plainly.results[1].error.code == 3 and list(plainly.results[1].vector) == []
    assert list(scaled.results[2].vector) == [0, 0, 1]


def test_a_model_without_embedding_says_so(stub: pb_grpc.VisionServiceStub) -> None:
    code, details = failed(stub.Embed, pb.EmbedRequest(model="unpooled", images=[image(photo("red"))]))

    assert (code, details) == (MISSING, 'model "unpooled": its metadata "cuelight.embedding" is missing')


def test_a_model_whose_vector_is_not_served_still_names_images(stub: pb_grpc.VisionServiceStub) -> None:
    request = pb.ClassifyRequest(model="hidden", images=[image(photo("blue"))])
    code, details = failed(stub.Embed, pb.EmbedRequest(model="hidden", images=[image(photo("red"))]))

    assert stub.Classify(request).results[0].labels[0].name == "blue"
    assert (code, 'names output "embedding", which it does not give' in details) == (MISSING, True)


def left_red_right_green() -> NDArray[np.uint8]:
    picture = plain("red", SIZE, SIZE).copy()
    picture[:, SIZE // 2 :] = (0, 255, 0)
    return picture


def explained(stub: pb_grpc.VisionServiceStub, **options: Any) -> pb.ExplainResponse:
    response: pb.ExplainResponse = stub.Explain(
        pb.ExplainRequest(image=image(encoded(left_red_right_green())), **options)
    )
    return response


def values(response: pb.ExplainResponse) -> NDArray[np.float64]:
    return np.array(response.values).reshape(response.rows, response.columns)


@pytest.mark.parametrize("model", ["colors", "alone", "bytes"])
def test_the_class_activation_is_where_the_colour_is(stub: pb_grpc.VisionServiceStub, model: str) -> None:
    red = explained(stub, model=model, class_name="red")
    best = explained(stub, model=model)

    seen = left_red_right_green() / 255
    np.testing.assert_allclose(values(red), WEIGHT * seen[..., 0], rtol=1e-5)
    np.testing.assert_allclose(values(best), WEIGHT * seen[..., 1], rtol=1e-5)
    assert (red.method, red.label.name, red.label.index, red.bias, red.runs) == (pb.CLASS_ACTIVATION, "red", 0, 0, 2)
    assert (best.label.name, best.bias) == ("green", 1)
    expected = softmax(logits_of(0.5, 0.5, 0))
    assert best.label.score == pytest.approx(expected[1], rel=1e-5)
    assert values(best).mean() + best.bias == pytest.approx(logits_of(0.5, 0.5, 0)[1])
    assert (red.region.left, red.region.top, red.region.width, red.region.height) == (0, 0, SIZE, SIZE)


@pytest.mark.parametrize("model", ["colors", "unpooled", "alone", "bytes"])
def test_occlusion_loses_most_where_the_colour_is(stub: pb_grpc.VisionServiceStub, model: str) -> None:
    response = explained(stub, model=model, class_index=1, method=pb.OCCLUSION, occlusion_grid=4)

    lost = values(response)
    assert (response.method, response.rows, response.columns, response.runs) == (pb.OCCLUSION, 4, 4, 17)
    assert lost.min() < 0 < lost.max()
    assert (lost[:, 2:] > 0).all() and (lost[:, 0] < 0).all()
    # At the right edge a place covers 4 x 3 pixels of green by the mean colour: half of each becomes red.
    # Of bytes, half of 255 is 128.
    half = (128 / 255 if model == "bytes" else 0.5) * 12 / 64
    less = half if model != "bytes" else 12 / 64 - half
    whole, covered = softmax(logits_of(0.5, 0.5, 0))[1], softmax(logits_of(0.5 + half, 0.5 - less, 0))[1]
    assert lost[1, 3] == pytest.approx(whole - covered, abs=1e-5)


def test_rise_is_the_same_for_the_same_seed(stub: pb_grpc.VisionServiceStub) -> None:
    first = explained(stub, class_index=1, method=pb.RISE, masks=60, seed=5)
    again = explained(stub, class_index=1, method=pb.RISE, masks=60, seed=5)
    other = explained(stub, class_index=1, method=pb.RISE, masks=60, seed=6)

    assert first.runs == 61
    np.testing.assert_allclose(values(again), values(first), rtol=1e-6)
    assert values(other).tolist() != values(first).tolist()


def test_masks_are_the_same_to_a_model_that_takes_bytes(stub: pb_grpc.VisionServiceStub) -> None:
    asked = {"class_index": 1, "method": pb.RISE, "masks": 60, "seed": 5}

    of_bytes = explained(stub, model="bytes", **asked)

    # A byte is within half of 1/255 of what it stands for, and a channel's mean weighs ten times.
    np.testing.assert_allclose(values(of_bytes), values(explained(stub, **asked)), atol=WEIGHT * 0.5 / 255)


def test_a_model_of_bytes_that_is_described_as_one_of_numbers_says_so(stub: pb_grpc.VisionServiceStub) -> None:
    code, details = failed(stub.Classify, pb.ClassifyRequest(model="misbytes", images=[image(photo("red"))]))

    assert code == MISSING
    assert 'metadata "cuelight.preprocessing" makes FP32 [-1,3,8,8], but input "image" is UINT8 [-1,8,8,3]' in details


def test_a_graph_that_gives_no_map_is_explained_by_occlusion_unless_a_map_was_asked_for(
    stub: pb_grpc.VisionServiceStub,
) -> None:
    assert explained(stub, model="unpooled").method == pb.OCCLUSION
    request = pb.ExplainRequest(model="unpooled", image=image(photo("red")), method=pb.CLASS_ACTIVATION)
    code, details = failed(stub.Explain, request)

    assert code == MISSING
    assert "gives no class activation map: its last layer follows MatMul" in details


def test_the_overlay_is_a_png_of_the_size_asked_for(stub: pb_grpc.VisionServiceStub) -> None:
    wide = image(encoded(np.repeat(left_red_right_green(), 4, axis=1)))

    drawn = stub.Explain(pb.ExplainRequest(image=wide, overlay=True, overlay_size=16))
    without = stub.Explain(pb.ExplainRequest(image=wide))

    assert Image.open(io.BytesIO(drawn.overlay_png)).size == (16, 4)
    assert without.overlay_png == b""
    assert (drawn.region.left, drawn.region.width) == (12, 8)


WRONG = [
    ({"class_index": 3}, "class_index: got 3, expected 0 to 2"),
    ({"class_index": -1}, "class_index: got -1"),
    ({"class_name": "mauve"}, 'class_name: "mauve" is none of the 3 labels'),
    ({"method": 9}, "method: got 9"),
    ({"occlusion_grid": 1}, "occlusion_grid: got 1, expected 2 to 32, or 0 for 7"),
    ({"masks": 101}, "masks: got 101, expected 1 to 100, or 0 for 100"),
    ({"overlay_size": 4096}, "overlay_size: got 4096, expected 16 to 2048"),
    ({"image": b"?"}, "expected a JPEG, PNG or WebP file, got 1 bytes"),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[words for _, words in WRONG])
def test_an_explanation_that_cannot_be_given_says_why(
    stub: pb_grpc.VisionServiceStub, options: dict[str, Any], words: str
) -> None:
    asked = {**options, "image": image(options.get("image", photo("red")))}

    code, details = failed(stub.Explain, pb.ExplainRequest(**asked))

    assert (code, words in details) == (INVALID, True), details


def config(**options: Any) -> pb.ClassifyFramesRequest:
    return pb.ClassifyFramesRequest(config=pb.FramesConfig(**options))


def frame(number: int, color: str) -> pb.ClassifyFramesRequest:
    return pb.ClassifyFramesRequest(frame=pb.Frame(id=number, time_ms=number * 40, image=image(photo(color))))


def test_every_frame_is_answered_or_counted_as_dropped(stub: pb_grpc.VisionServiceStub) -> None:
    frames = [frame(number, LABELS[number % 3]) for number in range(200)]

    answers = list(stub.ClassifyFrames(iter([config(max_waiting=3), *frames])))

    ids = [answer.frame_id for answer in answers]
    assert ids == sorted(set(ids)) and ids[-1] == 199
    assert [answer.time_ms for answer in answers] == [number * 40 for number in ids]
    assert [answer.result.labels[0].name for answer in answers] == [LABELS[number % 3] for number in ids]
    # With three waiting, the frames that are dropped between two answers are older than the later one.
    assert sum(answer.dropped for answer in answers) == answers[-1].dropped_total == 200 - len(answers)
    assert {(answer.model, answer.model_version) for answer in answers} == {("colors", 1)}


STREAMS = [
    ([], INVALID, "expected config as the first message, got nothing"),
    ([frame(1, "red")], INVALID, "expected config as the first message, got frame"),
    ([pb.ClassifyFramesRequest()], INVALID, "got an empty message"),
    ([config(max_waiting=17)], INVALID, "max_waiting: got 17, expected 1 to 16, or 0"),
    ([config(top_k=-1)], INVALID, "top_k: got -1"),
    ([config(model="scale")], INVALID, "cuelight.task"),
    ([config(model="undescribed")], MISSING, "cuelight.preprocessing"),
    ([config(model="x")], grpc.StatusCode.NOT_FOUND, '"x"'),
    ([config(), config()], INVALID, "config came twice"),
]


@pytest.mark.parametrize(("requests", "code", "words"), STREAMS, ids=[words for _, _, words in STREAMS])
def test_a_stream_that_begins_wrongly_says_why(
    stub: pb_grpc.VisionServiceStub, requests: list[Any], code: grpc.StatusCode, words: str
) -> None:
    got, details = failed(lambda sent: list(stub.ClassifyFrames(iter(sent))), requests)

    assert (got, words in details) == (code, True), details


def test_models_are_listed_with_what_they_can_do_and_why_not(stub: pb_grpc.VisionServiceStub) -> None:
    models = {model.name: model for model in stub.ListModels(pb.ListModelsRequest()).models}

    assert list(models) == sorted({"colors", "alone", "hidden", "unpooled", "certain", "unlabelled", "undescribed",
                                   "misdescribed", "five", "bytes", "misbytes"})  # fmt: skip
    colors = models["colors"]
    assert (colors.version, colors.class_count, colors.embedding_dimension, colors.is_default) == (1, 3, 3, True)
    assert (colors.height, colors.width, colors.unusable) == (SIZE, SIZE, "")
    assert models["unpooled"].embedding_dimension == 0
    assert models["unlabelled"].unusable == 'its metadata "cuelight.labels" is missing'
    assert models["unlabelled"].class_count == 0


def test_a_model_that_cannot_be_used_for_images_is_told_of_when_it_loads(server: ServeProcess) -> None:
    # At the start, so long ago that the line has come.
    assert "model undescribed serves tensors, but no images: its metadata" in server.log_text()


def test_the_tests_prepare_as_the_metadata_says() -> None:
    assert PREPROCESSING["crop"] == [SIZE, SIZE] == list(left_red_right_green().shape[:2])
    assert Path(__file__).parent.name == "vision"
