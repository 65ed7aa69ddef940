"""What is kept beside a model that embeds text: its tokenizer, and which of its tensors is which."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_config import ResolvedModel
from cuelight.server.inference.signature import ModelSignature, TensorSpec
from cuelight.server.text.tokenizer import TextTokenizer, read_tokenizer

__all__ = ["TASK", "EncoderCompanion", "open_encoder"]

TASK = "text_embedding"
EMBEDDING = "embedding"
ATTENTION = "attention"

_IDS, _MASK, _SEGMENTS = "input_ids", "attention_mask", "token_type_ids"
_EMBEDDING_RANK, _ATTENTION_RANK = 2, 5
_DEFAULT_MAX_TOKENS = 512


class EncoderCompanion:
    """See `Companion`. Counts the calls that are under way, for a version that is replaced answers them whole.

    Opened on the loader's thread, then owned by the event loop.
    """

    def __init__(
        self, tokenizer: TextTokenizer, signature: ModelSignature, max_tokens: int, *, normalized: bool
    ) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        """Markers included."""
        self.normalized = normalized
        """Whether embeddings have length 1."""
        self.gives_attention = ATTENTION in signature.outputs
        self.heads = signature.outputs[ATTENTION].shape[2] if self.gives_attention else 0
        self.layers = signature.outputs[ATTENTION].shape[1] if self.gives_attention else 0
        self._has_segments = _SEGMENTS in signature.inputs
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def inputs(self, ids: list[int]) -> dict[str, NDArray[Any]]:
        """Return the model's inputs for one text."""
        row = np.array([ids], np.int64)
        inputs: dict[str, NDArray[Any]] = {_IDS: row, _MASK: np.ones_like(row)}
        if self._has_segments:
            inputs[_SEGMENTS] = np.zeros_like(row)
        return inputs

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the version's engines for a call, which may hand its texts in one after the other."""
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def outlive(self) -> None:
        """Return once no call is under way; see `Companion`."""
        await self._idle.wait()

    def close(self) -> None:
        """Let nobody wait any more: calls that are still under way are refused by the batcher."""
        self._idle.set()


def open_encoder(directory: Path, resolved: ResolvedModel, metadata: Mapping[str, str]) -> EncoderCompanion:
    """Open the tokenizer of the version in `directory`.

    Raises: ModelLoadError naming the file, the tensor or the key, what came and what was expected.
    """
    where = f"{directory}: a model of task {TASK}"
    signature = resolved.signature
    for name in signature.inputs:
        _check(where, "input", name, signature.inputs.get(name), "INT64", 2, name in (_IDS, _MASK, _SEGMENTS))
    for name in (_IDS, _MASK):
        _check(where, "input", name, signature.inputs.get(name), "INT64", 2)
    _check(where, "output", EMBEDDING, signature.outputs.get(EMBEDDING), "FP32", _EMBEDDING_RANK)
    if ATTENTION in signature.outputs:
        _check(where, "output", ATTENTION, signature.outputs[ATTENTION], "FP32", _ATTENTION_RANK)
    name = metadata.get("cuelight.tokenizer", "tokenizer.json")
    if Path(name).name != name:
        raise ModelLoadError(f'{where}: metadata "cuelight.tokenizer": expected the name of a file, got "{name}"')
    tokenizer = read_tokenizer(directory / name)
    text = metadata.get("cuelight.max_tokens", str(_DEFAULT_MAX_TOKENS))
    if not text.isdecimal() or int(text) < 1:
        raise ModelLoadError(f'{where}: metadata "cuelight.max_tokens": expected 1 or more, got "{text}"')
    return EncoderCompanion(tokenizer, signature, int(text), normalized=metadata.get("cuelight.normalized") == "true")


def _check(
    where: str, kind: str, name: str, spec: TensorSpec | None, datatype: str, rank: int, known: bool = True
) -> None:
    if not known:
        raise ModelLoadError(f'{where}: {kind} "{name}": expected no other than {_IDS}, {_MASK}, {_SEGMENTS}')
    if spec is None or spec.datatype.name != datatype or len(spec.shape) != rank:
        came = "none" if spec is None else spec.describe()
        raise ModelLoadError(f'{where}: {kind} "{name}": expected {datatype} with {rank} axes, got {came}')
