"""The text client of both kinds, its commands and its pictures, against a server whose answers a formula gives."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cuelight.client import (
    AsyncChannel,
    AsyncTextClient,
    Channel,
    InvalidRequest,
    NotFound,
    TextClient,
    Unsupported,
    WordQuery,
)
from cuelight.client.attention_picture import HeatMap, attention_maps, draw
from cuelight.client.text_calls import embed_calls
from cuelight.client.text_command import main
from tests.serve_process import ServeProcess, run_cuelight, running_server
from tests.server.text.text_models import HEADS, LAYERS, WORDS, embedding_of, write_encoder, write_words


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("text")
    write_encoder(folder / "models" / "encoder" / "1")
    write_encoder(folder / "models" / "attentive" / "1", attention=True)
    write_words(folder / "models" / "words" / "1")
    with running_server(folder / "models", folder / "log") as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, server: ServeProcess) -> Iterator[Any]:
    """Either client; calls of the asyncio one are run to their end."""
    if request.param == "sync":
        with Channel(server.target) as channel:
            yield TextClient(channel)
        return
    yield Blocking(server.target)


class Blocking:
    """The asyncio client, each call in a loop of its own."""

    def __init__(self, target: str) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            async with AsyncChannel(self._target) as channel:
                return await getattr(AsyncTextClient(channel), name)(*arguments, **options)

        return lambda *arguments, **options: asyncio.run(call(*arguments, **options))


def test_texts_become_vectors_in_their_order(client: Any) -> None:
    texts = [WORDS[4 + index % 8] for index in range(600)]  # more than go into one call

    embeddings = client.embed_many(texts)

    got = np.stack([embedding.values for embedding in embeddings])
    np.testing.assert_allclose(got, [embedding_of(text) for text in texts], atol=1e-5)
    assert got.dtype == np.float32
    assert {(embedding.model, embedding.token_count, embedding.truncated) for embedding in embeddings} == {
        ("encoder", 3, False)
    }


def test_one_text_one_vector(client: Any) -> None:
    embedding = client.embed("one two three four five six seven", model="attentive")

    assert embedding.values == pytest.approx(embedding_of("one two three four five six"), abs=1e-5)
    assert (embedding.model, embedding.truncated, embedding.attention) == ("attentive", True, None)


def test_a_bad_text_fails_the_call_or_brings_its_error(client: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"texts\[1\]: expected a text, got an empty one"):
        client.embed_many(["one", ""])

    good, bad = client.embed_many(["one", ""], partial=True)

    assert good.error is None
    assert isinstance(bad.error, InvalidRequest) and "texts[1]" in bad.error.message
    assert bad.values.size == 0


def test_a_long_text_may_be_refused(client: Any) -> None:
    with pytest.raises(InvalidRequest, match="at most 8 tokens, got 9"):
        client.embed_many(["one two three four five six seven"], refuse_long=True)


def test_attention_comes_as_layers_heads_and_tokens(client: Any) -> None:
    attention = client.attention("one two", layers=[1])

    assert attention.tokens == ("[CLS]", "one", "two", "[SEP]")
    assert attention.layers == (1,)
    np.testing.assert_allclose(attention.weights, np.full((1, HEADS, 4, 4), 0.25))
    assert client.attention("one", mean_over_heads=True).weights.shape == (LAYERS, 1, 3, 3)
    with pytest.raises(Unsupported):
        client.attention("one", model="encoder")


def test_texts_are_compared(client: Any) -> None:
    texts = ["one two", "three", "four five"]
    cosines = np.stack([embedding_of(text) for text in texts]) @ np.stack([embedding_of(text) for text in texts]).T

    assert client.similarity(texts[0], texts[1]) == pytest.approx(cosines[0, 1], abs=1e-5)
    assert client.similarities([(texts[0], texts[2])] * 300) == pytest.approx([cosines[0, 2]] * 300, abs=1e-5)
    np.testing.assert_allclose(client.similarity_matrix(texts), cosines, atol=1e-5)
    np.testing.assert_allclose(client.similarity_matrix(texts[:1], texts[1:]), cosines[:1, 1:], atol=1e-5)


def test_the_most_similar_come_first(client: Any) -> None:
    candidates = ["three", "one two", "four", "two one"]
    cosines = [float(embedding_of("one two") @ embedding_of(text)) for text in candidates]
    best = sorted(range(4), key=lambda index: -cosines[index])

    found = client.most_similar("one two", candidates, 4)

    assert {found[0].text, found[1].text} == {"one two", "two one"}
    assert [one.index for one in found][2:] == best[2:]
    assert [one.similarity for one in found] == pytest.approx(sorted(cosines, reverse=True), abs=1e-5)
    assert client.most_similar("one", [], 3) == []


def test_near_words(client: Any) -> None:
    assert [near.word for near in client.nearest_words("east", 2)] == ["northeast", "north"]
    assert client.nearest_words(WordQuery(("northeast",), ("north", "west")), 1)[0].word == "east"
    with pytest.raises(NotFound, match="south"):
        client.nearest_words("south")


def test_tokens_say_what_they_stand_for(client: Any) -> None:
    text = "one  zwölf"

    framed = client.tokenize(text)
    bare = client.tokenize(text, special=False)

    assert [token.token for token in framed] == ["[CLS]", "one", "[UNK]", "[SEP]"]
    assert [text[token.start : token.end] for token in bare] == ["one", "zwölf"]
    assert [token.special for token in framed] == [True, False, False, True]


def test_a_call_holds_no_more_text_than_the_server_takes() -> None:
    texts = ["x" * 90_000] * 30 + ["é" * 300_000] + ["y"] * 300

    calls = list(embed_calls(texts, "", refuse_long=False, partial=False))

    sizes = [[len(text.encode()) for text in call.request.texts] for call in calls]
    assert [text for call in calls for text in call.request.texts] == texts
    assert all(sum(some) <= 1_000_000 and len(some) <= 256 for some in sizes)


def test_embed_writes_vectors_and_json(
    server: ServeProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts").write_text("\ufeffone\n\n  two three \n", encoding="utf-8")
    words = ["--in", str(tmp_path / "texts"), "--url", server.target]

    assert main(["embed", *words, "--out", str(tmp_path / "vectors.npy")]) == 0
    assert main(["embed", "four", *words, "--json"]) == 0

    wanted = [embedding_of("one"), embedding_of("two three")]
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), wanted, atol=1e-5)
    printed = capsys.readouterr()
    assert printed.err.splitlines()[0] == f"cuelight: note: {tmp_path / 'texts'}: 1 empty line left out"
    written, *lines = printed.out.splitlines()
    assert written.endswith("vectors.npy: 2 x 4")
    told = [json.loads(line) for line in lines]
    assert [one["text"] for one in told] == ["four", "one", "two three"]
    np.testing.assert_allclose([one["values"] for one in told], [embedding_of("four"), *wanted], atol=1e-5)


def test_similar_and_nearest_print_best_first(server: ServeProcess, tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("three\none\n", encoding="utf-8")

    similar = run_cuelight("similar", "one", "--in", str(tmp_path / "texts"), "--top", "1", "--url", server.target)
    nearest = run_cuelight("nearest", "northeast", "--minus", "north", "--top", "1", "--url", server.target)

    assert (similar.returncode, similar.stdout.split(), similar.stderr) == (0, ["1.000", "one"], "")
    assert (nearest.returncode, nearest.stdout.split()[1], nearest.stderr) == (0, "east", "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["embed"], 2, "expected texts, or --in FILE"),
        (["embed", "--in", "nowhere.txt"], 2, "nowhere.txt"),
        (["embed", "one", "two", "--attention", "a.png"], 2, "--attention draws one text, got 2"),
        (["embed", "one", "--attention", "a.png", "--layer", "9"], 1, "attention.layers[0]: expected 0 to 2, got 9"),
        (["embed", "one", "--model", "words"], 1, 'model: "words" does not embed text'),
        (["nearest", "south"], 1, 'no word "south"'),
        (["nearest", "north", "--top", "0"], 2, "--top: got 0, expected 1 or more"),
        (["nearest", "north", "--tls-identity", "a.pem", "b.pem"], 2, "--tls-identity goes with --tls-ca"),
    ],
)
def test_commands_say_what_is_wrong(
    server: ServeProcess, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main([*words, "--url", server.target]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("http://127.0.0.1:1", 2, "--url http://127.0.0.1:1: expected HOST:PORT, such as 127.0.0.1:1"),
        ("127.0.0.1:1", 1, "cuelight: error: no server answers at 127.0.0.1:1: "),
    ],
)
def test_a_server_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], address: str, code: int, said: str
) -> None:
    assert main(["nearest", "north", "--url", address]) == code
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_utf_8_is_named(
    server: ServeProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "latin"
    path.write_bytes(b"caf\xe9\n")

    assert main(["similar", "one", "--in", str(path), "--url", server.target]) == 2
    assert f"{path}: expected UTF-8, got something else at byte 3" in capsys.readouterr().err


def test_attention_is_drawn_with_a_panel_for_each_layer(server: ServeProcess, tmp_path: Path) -> None:
    words = ["embed", "one two", "--layer", "2", "--layer", "0", "--url", server.target]

    assert main([*words, "--attention", str(tmp_path / "mean.png")]) == 0
    assert main([*words, "--heads", "--attention", str(tmp_path / "heads.png")]) == 0

    mean, heads = (Image.open(io.BytesIO((tmp_path / name).read_bytes())) for name in ("mean.png", "heads.png"))
    assert heads.width * heads.height == pytest.approx(mean.width * mean.height * HEADS, rel=0.1)


def test_a_heat_maps_cells_have_the_colours_of_their_weights() -> None:
    weights = np.array([[0.0, 0.5], [1.0, 0.25]], np.float32)
    picture = Image.open(io.BytesIO(draw([HeatMap("t", ["a", "b"], ["c", "d"], weights)]))).convert("RGB")

    cells = np.asarray(picture, np.float64)[-10 - 2 * 22 : -10, -10 - 2 * 22 : -10].reshape(2, 22, 2, 22, 3)

    inside = cells[:, 5:17, :, 5:17].mean((1, 3))
    share = (255 - inside[..., 0]) / (255 - 8)
    np.testing.assert_allclose(share, weights, atol=0.01)


def test_panels_are_named_and_must_fit() -> None:
    weights = np.ones((2, 2, 3, 3), np.float32)

    assert [panel.title for panel in attention_maps("abc", [4, 1], weights)] == [
        "layer 4, head 0",
        "layer 4, head 1",
        "layer 1, head 0",
        "layer 1, head 1",
    ]
    assert [panel.title for panel in attention_maps("abc", [4], weights[:1, :1])] == ["layer 4, mean of heads"]
    with pytest.raises(ValueError, match=r"expected weights \(1, 2\), got \(3, 3\)"):
        draw([HeatMap("t", ["a"], ["b", "c"], weights[0, 0])])
    with pytest.raises(ValueError, match="at least one panel"):
        draw([])
