"""Texts and models of text as nobody means them, through the real process on both fronts."""

from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest

from cuelight.client import Channel, InvalidRequest, RetryPolicy, TextClient, Unavailable
from cuelight.inference.v2 import open_inference_pb2 as inference
from cuelight.inference.v2 import open_inference_pb2_grpc as inference_grpc
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.server.text.text_models import embedding_of, tiny_tokenizer, write_encoder

ONCE = RetryPolicy(max_attempts=1)
TIMEOUT_S = 30.0
MEGABYTE = "one " * 262_144


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A server of an encoder and of one whose tokenizer was left behind."""
    folder = tmp_path_factory.mktemp("awkward")
    write_encoder(folder / "models" / "encoder" / "1")
    write_encoder(folder / "models" / "untold" / "1", tokenizer=False)
    explicit = ["--model-control-mode", "explicit", "--load-model", "*"]
    with running_server(folder / "models", folder / "log", front=str(request.param), arguments=explicit) as running:
        yield running


@pytest.fixture
def client(server: ServeProcess) -> Iterator[TextClient]:
    with Channel(server.target, retries=ONCE) as channel:
        yield TextClient(channel)


ASKED: dict[str, Callable[[TextClient, str], object]] = {
    "embed": lambda client, text: client.embed(text),
    "similarity": lambda client, text: client.similarity("one", text),
    "matrix": lambda client, text: client.similarity_matrix(["one", text]),
    "tokenize": lambda client, text: client.tokenize(text),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a text, got an empty one"),
        (" \t\n", "expected a text, got nothing but white space"),
        (MEGABYTE, "expected at most 100000 bytes, got 1048576"),
    ],
    ids=["empty", "white space", "a megabyte"],
)
def test_a_text_that_is_none_or_has_no_end_is_refused_and_the_next_is_answered(
    client: TextClient, ask: Callable[[TextClient, str], object], text: str, said: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(client, text)

    assert said in str(caught.value)
    np.testing.assert_allclose(client.embed("one two").values, embedding_of("one two"), atol=1e-5)


def test_a_tokenizer_left_behind_is_named_until_it_is_there(server: ServeProcess, client: TextClient) -> None:
    version = server.log.parent / "models" / "untold" / "1"

    assert server.printed[-1].startswith("NOT READY")
    assert f"{version / 'tokenizer.json'}: no such file" in reason(server, "untold")
    with pytest.raises(Unavailable, match=r'model "untold".*tokenizer\.json: no such file'):
        client.embed("one", model="untold")
    with pytest.raises(grpc.RpcError, match=r"tokenizer\.json: no such file"):
        load(server, "untold")
    assert client.embed("one").model == "encoder"

    tiny_tokenizer().save(str(version / "tokenizer.json"))
    load(server, "untold")

    assert reason(server, "untold") == ""
    np.testing.assert_allclose(client.embed("three", model="untold").values, embedding_of("three"), atol=1e-5)


def reason(server: ServeProcess, model: str) -> str:
    """Return why a model does not serve; nothing where it does."""
    with grpc.insecure_channel(server.target) as channel:
        asked = inference.RepositoryIndexRequest()
        index = inference_grpc.GRPCInferenceServiceStub(channel).RepositoryIndex(asked, timeout=TIMEOUT_S)
    (found,) = (entry.reason for entry in index.models if entry.name == model)
    return found


def load(server: ServeProcess, model: str) -> None:
    with grpc.insecure_channel(server.target) as channel:
        stub = inference_grpc.GRPCInferenceServiceStub(channel)
        stub.RepositoryModelLoad(inference.RepositoryModelLoadRequest(model_name=model), timeout=TIMEOUT_S)
