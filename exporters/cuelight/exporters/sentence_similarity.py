"""How well a file of a sentence encoder keeps the order of similarities: what searching and ranking by them live on.

Spearman's rank correlation of the cosine similarities of pairs of texts, by the file and by a reference. Source:
Spearman, The proof and measurement of association between two things, 1904; ties share the mean of their ranks.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cuelight.exporters.spec import Run
from cuelight.exporters.weights import WeightsError

__all__ = ["rank_correlation", "similarities"]

_BATCH = 8


def similarities(run: Run, tokenizer: Path, max_tokens: int, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """Return the cosine similarity (pairs,) of each pair, by an encoder of `input_ids` and `attention_mask`.

    Texts of like length share a batch, as they do in a server. Raises: WeightsError where the library that cuts texts
    into tokens is not installed.
    """
    rows = _tokens(tokenizer, max_tokens, [text for pair in pairs for text in pair])
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    embeddings: list[NDArray[np.float64]] = [np.empty(0)] * len(rows)
    for start in range(0, len(order), _BATCH):
        indexes = order[start : start + _BATCH]
        ids, mask = _padded([rows[index] for index in indexes])
        found = run({"input_ids": ids, "attention_mask": mask})["embedding"].astype(np.float64)
        for index, embedding in zip(indexes, found, strict=True):
            embeddings[index] = embedding / np.linalg.norm(embedding)
    return np.array([first @ second for first, second in zip(embeddings[::2], embeddings[1::2], strict=True)])


def rank_correlation(got: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Return Spearman's coefficient, -1 to 1; -1 where a number is none, and 0 where one side is all the same."""
    if not np.isfinite(got).all():
        return -1.0
    ranks = _ranks(got), _ranks(wanted)
    if min(side.std() for side in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return means[place]


def _tokens(path: Path, max_tokens: int, texts: Sequence[str]) -> list[list[int]]:
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 (an export does without)
    except ModuleNotFoundError as error:
        raise WeightsError(
            'sentence encoders are measured with tokenizers; pip install "cuelight[exporters]"'
        ) from error
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _padded(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lengths = np.array([len(row) for row in rows])
    mask = (np.arange(lengths.max()) < lengths[:, np.newaxis]).astype(np.int64)
    ids = np.zeros_like(mask)
    ids[mask == 1] = np.concatenate(rows)
    return ids, mask
