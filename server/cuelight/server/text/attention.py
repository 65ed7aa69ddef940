"""Which of a model's attention weights a caller gets: layers, heads or their mean, and not too many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest, Unsupported
from cuelight.server.text.encoder import ATTENTION, EMBEDDING, EncoderCompanion
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["AttentionChoice", "attention_choice", "without_attention"]

Arrays = dict[str, NDArray[Any]]

_MAX_WEIGHTS = 1_000_000


@dataclass(frozen=True, slots=True)
class AttentionChoice:
    """Layers in the order asked for; `heads` matrices of each, 1 for the mean."""

    layers: tuple[int, ...]
    heads: int
    mean: bool

    def check(self, token_counts: Sequence[int]) -> None:
        """Raise InvalidRequest when texts of so many tokens have more weights than a call may bring."""
        count = sum(len(self.layers) * self.heads * tokens * tokens for tokens in token_counts)
        if count > _MAX_WEIGHTS:
            raise InvalidRequest(
                f"attention: expected at most {_MAX_WEIGHTS} weights in a call, got {count}; ask for fewer texts or "
                "layers, or for the mean over heads"
            )

    def kept(self, outputs: Arrays) -> Arrays:
        """Return a text's outputs with (layers, heads, tokens, tokens) of all its weights, which are let go."""
        picked = outputs[ATTENTION][list(self.layers)]
        weights = picked.mean(1, keepdims=True, dtype=np.float32) if self.mean else picked
        return {EMBEDDING: outputs[EMBEDDING], ATTENTION: weights}


def without_attention(outputs: Arrays) -> Arrays:
    """Return a text's outputs without its weights, which are let go."""
    return {EMBEDDING: outputs[EMBEDDING]}


def attention_choice(
    options: pb.AttentionOptions, encoder: EncoderCompanion, model: str, others: list[str]
) -> AttentionChoice:
    """Return what is asked for, checked.

    Raises: Unsupported for a model that gives no attention, naming `others` that do; InvalidRequest for a layer that is
    not there or comes twice.
    """
    if not encoder.gives_attention:
        there = f"there are {', '.join(others)}" if others else 'export "minilm_l6_v2_attention"'
        raise Unsupported(f'attention: model "{model}" gives none; {there}')
    if len(options.layers) > encoder.layers:
        raise InvalidRequest(f"attention.layers: expected at most {encoder.layers}, got {len(options.layers)}")
    layers = tuple(options.layers) or tuple(range(encoder.layers))
    for index, layer in enumerate(layers):
        if not 0 <= layer < encoder.layers:
            raise InvalidRequest(f"attention.layers[{index}]: expected 0 to {encoder.layers - 1}, got {layer}")
        if layer in layers[:index]:
            raise InvalidRequest(f"attention.layers[{index}]: layer {layer} came before")
    heads = 1 if options.mean_over_heads else encoder.heads
    return AttentionChoice(layers, heads, options.mean_over_heads)
