"""Which model answers a call that names none: the rule, and each service that goes by it, on both fronts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import onnx
import pytest

from cuelight.server.default_model import default_of
from cuelight.server.errors import InvalidRequest
from cuelight.text.v1 import text_pb2 as text
from cuelight.text.v1 import text_pb2_grpc as text_grpc
from cuelight.vision.v1 import vision_pb2 as vision
from cuelight.vision.v1 import vision_pb2_grpc as vision_grpc
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.server.text.text_models import write_encoder, write_words
from tests.transduction_models import write_copycat
from tests.vision_models import photo, write_colors

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
LOOK = text.AttentionOptions()
IMAGES = [vision.Image(encoded=photo("red"))]

Asked = tuple[str, Any]
"""A service and method, and what it is asked."""
EMBED = ("text", text.EmbedRequest(texts=["one"]))
EMBED_LOOKING = ("text", text.EmbedRequest(texts=["one"], attention=LOOK))
COMPARE = ("text", text.SimilarityRequest(texts=["one", "two"]))
TOKENIZE = ("text", text.TokenizeRequest(texts=["one"]))
NEAREST = ("text", text.NearestWordsRequest(queries=[text.WordQuery(plus=["east"])]))
TRANSDUCE = ("text", text.TransduceRequest(text="abc"))
TRANSDUCE_LOOKING = ("text", text.TransduceRequest(text="abc", attention=True))
CLASSIFY = ("vision", vision.ClassifyRequest(images=IMAGES))
EMBED_IMAGE = ("vision", vision.EmbedRequest(images=IMAGES))

RULE: list[tuple[str, Sequence[str], Sequence[str], str]] = [
    ("", ["a"], [], "a"),
    ("", [], [], ""),
    ("b", ["a", "b"], [], "b"),
    ("absent", ["a"], [], "absent"),
    ("absent", [], [], "absent"),
    ("b", ["a"], ["b"], "a"),
    ("b", [], ["b"], ""),
    ("", ["a", "a"], [], "a"),
]


@pytest.mark.parametrize(("configured", "fitting", "unfit", "expected"), RULE)
def test_the_configured_goes_before_the_only_one(
    configured: str, fitting: Sequence[str], unfit: Sequence[str], expected: str
) -> None:
    assert default_of(configured, fitting, "--flag", unfit=unfit) == expected


@pytest.mark.parametrize(("configured", "unfit"), [("", []), ("c", ["c"])])
def test_of_several_none_is_taken(configured: str, unfit: Sequence[str]) -> None:
    with pytest.raises(InvalidRequest, match=r"^model: got none, expected one of a, b \(or serve with --flag\)$"):
        default_of(configured, ["b", "a"], "--flag", unfit=unfit)


Call = Callable[[Asked], tuple[grpc.StatusCode, str]]
"""Returns OK and the model that answered, or the code and what was said."""


@contextmanager
def calling(folder: Path, front: str, *arguments: str) -> Iterator[Call]:
    with running_server(folder / "models", folder / "log", front=front, arguments=arguments) as server:
        yield lambda asked: _called(server, asked)


def _called(server: ServeProcess, asked: Asked) -> tuple[grpc.StatusCode, str]:
    service, request = asked
    method = type(request).__name__.removesuffix("Request")
    with grpc.insecure_channel(server.target) as channel:
        stub = text_grpc.TextServiceStub(channel) if service == "text" else vision_grpc.VisionServiceStub(channel)
        try:
            if method == "Transduce":
                return grpc.StatusCode.OK, next(iter(getattr(stub, method)(request))).started.model
            return grpc.StatusCode.OK, getattr(stub, method)(request).model
        except grpc.RpcError as error:
            return error.code(), str(error.details())


def write_copycat_that_does_not_look(models: Path, name: str) -> None:
    path = write_copycat(models, name) / "decoder.onnx"
    decoder = onnx.load(path)
    kept = [output for output in decoder.graph.output if output.name != "attention"]
    del decoder.graph.output[:]
    decoder.graph.output.extend(kept)
    onnx.save(decoder, path)


def write_pairs(models: Path) -> None:
    """Write two models for every kind of call but those that ask for more, which one alone can answer."""
    for name in ("encoder_a", "encoder_b"):
        write_encoder(models / name / "1")
    write_encoder(models / "attentive" / "1", attention=True)
    write_words(models / "words_a" / "1")
    write_words(models / "words_b" / "1")
    write_copycat(models, "copycat")
    write_copycat_that_does_not_look(models, "blindcat")
    write_colors(models, "colors")
    write_colors(models, "labels_only", tail="unpooled")


def refused(names: str, flag: str) -> tuple[grpc.StatusCode, str]:
    return INVALID, f"model: got none, expected one of {names} (or serve with {flag})"


@pytest.mark.parametrize("front", FRONTS)
def test_a_call_that_names_no_model_takes_the_only_one_that_fits_or_is_told_which_do(
    tmp_path: Path, front: str
) -> None:
    write_pairs(tmp_path / "models")
    ok = grpc.StatusCode.OK

    with calling(tmp_path, front) as call:
        assert call(EMBED) == refused("encoder_a, encoder_b", "--text-model")
        assert call(COMPARE) == refused("encoder_a, encoder_b", "--text-model")
        assert call(TOKENIZE) == refused("encoder_a, encoder_b", "--text-model")
        assert call(EMBED_LOOKING) == (ok, "attentive")
        assert call(NEAREST) == refused("words_a, words_b", "--word-model")
        assert call(TRANSDUCE) == refused("blindcat, copycat", "--transduction-model")
        assert call(TRANSDUCE_LOOKING) == (ok, "copycat")
        assert call(CLASSIFY) == refused("colors, labels_only", "--vision-model")
        assert call(EMBED_IMAGE) == (ok, "colors")


@pytest.mark.parametrize("front", FRONTS)
def test_the_settings_decide_between_several(tmp_path: Path, front: str) -> None:
    write_pairs(tmp_path / "models")
    ok = grpc.StatusCode.OK
    flags = ("--text-model=encoder_b", "--word-model=words_b", "--transduction-model=blindcat")

    with calling(tmp_path, front, *flags, "--vision-model=labels_only") as call:
        assert [call(asked) for asked in (EMBED, COMPARE, TOKENIZE)] == [(ok, "encoder_b")] * 3
        assert call(NEAREST) == (ok, "words_b")
        assert call(TRANSDUCE) == (ok, "blindcat")
        assert call(CLASSIFY) == (ok, "labels_only")
        # What the configured one cannot do is for the only one that can.
        assert call(EMBED_LOOKING) == (ok, "attentive")
        assert call(TRANSDUCE_LOOKING) == (ok, "copycat")
        assert call(EMBED_IMAGE) == (ok, "colors")


@pytest.mark.parametrize("front", FRONTS)
def test_a_default_that_is_not_there_or_does_something_else_is_named(tmp_path: Path, front: str) -> None:
    write_encoder(tmp_path / "models" / "encoder" / "1")
    write_copycat_that_does_not_look(tmp_path / "models", "blindcat")
    flags = ("--text-model=blindcat", "--word-model=nowhere", "--transduction-model=encoder")

    with calling(tmp_path, front, *flags) as call:
        assert call(EMBED) == (INVALID, 'model: "blindcat" does not embed text; there are encoder')
        assert call(TRANSDUCE) == (INVALID, 'model: "encoder" does not transduce text; there are blindcat')
        code, said = call(NEAREST)
        assert code is NOT_FOUND and '"nowhere"' in said


@pytest.mark.parametrize("front", FRONTS)
def test_attention_that_no_model_gives_is_not_offered(tmp_path: Path, front: str) -> None:
    write_encoder(tmp_path / "models" / "encoder" / "1")
    write_copycat_that_does_not_look(tmp_path / "models", "blindcat")

    with calling(tmp_path, front, "--text-model=encoder") as call:
        assert call(EMBED_LOOKING) == (
            MISSING,
            'attention: no model here gives any; export "minilm_l6_v2_attention"',
        )
        assert call(TRANSDUCE_LOOKING) == (MISSING, 'attention: no model here gives any; export "attention_decoder"')
