"""Words as vectors, and which are near to which: by the cosine with every word there is, so the answer is exact.

What is kept beside a table of words is the table once more, each vector of length 1, as one matrix: a search is one
product with it, off the event loop.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest, NotFound
from cuelight.server.inference.engine import SessionConfig, open_session
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_config import ResolvedModel

__all__ = ["TASK", "NearWord", "WordQuery", "WordTable", "WordsCompanion", "open_words", "read_words"]

TASK = "word_embedding"

_SHORTEST = 1e-6
"""Of a query's vector: below, its words cancel out and what is left is rounding."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NearWord:
    """A word and its cosine with the query."""

    word: str
    similarity: float


@dataclass(frozen=True, slots=True)
class WordQuery:
    """The sum of some words' vectors, each of length 1, less others'. `where` names it in errors."""

    plus: Sequence[str]
    minus: Sequence[str]
    where: str


class WordTable:
    """Words and their directions; immutable, for any thread."""

    def __init__(self, words: Sequence[str], vectors: Vectors, *, lowercase: bool = False) -> None:
        """`vectors` is (words, width), of any lengths; a word of length 0 is near to nothing."""
        self.words = tuple(words)
        self.width = vectors.shape[1]
        self._lowercase = lowercase
        self._rows = {word: row for row, word in reversed(list(enumerate(self.words)))}
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._directions: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)

    def row(self, word: str) -> int | None:
        """Return a word's row, None where it is not there; upper case counts where the vocabulary has any."""
        found = self._rows.get(word)
        return self._rows.get(word.lower()) if found is None and self._lowercase else found

    def target(self, query: WordQuery, model: str) -> tuple[Vectors, list[int]]:
        """Return a query's vector, of length 1, and the rows of its own words.

        Raises: NotFound for a word that is not in the vocabulary; InvalidRequest when the words cancel out.
        """
        plus = [self._known(word, f"{query.where}.plus[{index}]", model) for index, word in enumerate(query.plus)]
        minus = [self._known(word, f"{query.where}.minus[{index}]", model) for index, word in enumerate(query.minus)]
        total = self._directions[plus].sum(0) - self._directions[minus].sum(0)
        length = float(np.linalg.norm(total))
        if length < _SHORTEST:
            raise InvalidRequest(f"{query.where}: its words cancel out, there is no direction to look in")
        return total / np.float32(length), plus + minus

    def nearest(self, targets: Vectors, left_out: Sequence[Iterable[int]], count: int) -> list[list[NearWord]]:
        """Return the words nearest to each of `targets` (queries, width), without the rows left out of each.

        Best first; of equal cosine the first in the vocabulary first.
        """
        answers = []
        for target, rows in zip(targets, left_out, strict=True):
            cosines = self._directions @ target
            cosines[list(rows)] = -np.inf
            answers.append(self._best(cosines, min(count, len(self.words) - len(set(rows)))))
        return answers

    def _best(self, cosines: Vectors, count: int) -> list[NearWord]:
        if count <= 0:
            return []
        least = np.partition(cosines, -count)[-count]
        rows = np.flatnonzero(cosines >= least)
        chosen = rows[np.argsort(-cosines[rows], kind="stable")][:count]
        return [NearWord(self.words[row], min(1.0, max(-1.0, float(cosines[row])))) for row in chosen]

    def _known(self, word: str, where: str, model: str) -> int:
        row = self.row(word)
        if row is None:
            raise NotFound(f'{where}: no word "{word[:100]}" among the {len(self.words)} of model "{model}"')
        return row


class WordsCompanion:
    """See `Companion`: the table beside the model. Immutable."""

    def __init__(self, table: WordTable) -> None:
        self.table = table

    async def outlive(self) -> None:
        """See `Companion`: nothing goes on that could be waited for."""

    def close(self) -> None:
        """See `Companion`."""


def open_words(directory: Path, resolved: ResolvedModel, metadata: Mapping[str, str]) -> WordsCompanion:
    """Read the words of the version in `directory`, and their vectors out of the model itself.

    Raises: ModelLoadError naming the file or the tensor, what came and what was expected.
    """
    signature = resolved.signature
    inputs, outputs = list(signature.inputs.values()), list(signature.outputs.values())
    if [spec.datatype.name for spec in (*inputs, *outputs)] != ["INT64", "FP32"] or len(outputs[0].shape) != 3:
        came = ", ".join(f"{spec.name} {spec.describe()}" for spec in (*inputs, *outputs))
        raise ModelLoadError(
            f"{directory}: a model of task {TASK}: expected one input INT64 [-1,-1] and one output FP32 [-1,-1,width], "
            f"got {came}"
        )
    words = read_words(directory / metadata.get("cuelight.vocabulary", "words.txt"))
    try:
        session = open_session(directory / "model.onnx", SessionConfig())
        (vectors,) = session.run([outputs[0].name], {inputs[0].name: np.arange(len(words), dtype=np.int64)[np.newaxis]})
    except Exception as error:
        # ONNX Runtime raises types of its own; here all mean that the table cannot be had whole.
        raise ModelLoadError(f"{directory}: cannot look up the vectors of {len(words)} words: {error}") from error
    return WordsCompanion(WordTable(words, vectors[0], lowercase=metadata.get("cuelight.lowercase") == "true"))


def read_words(path: Path) -> list[str]:
    """Return the words of a file, one a line. Raises: ModelLoadError where it cannot be read or a line is empty."""
    try:
        lines = path.read_bytes().decode().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"{path}: {error}") from error
    words = lines[:-1] if lines[-1] == "" else lines
    empty = next((number for number, word in enumerate(words, 1) if not word), None)
    if empty is not None or not words:
        raise ModelLoadError(f"{path}: expected a word on each line, got none on line {empty or 1}")
    return words
