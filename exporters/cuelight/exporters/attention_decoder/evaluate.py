"""`python -m cuelight.exporters.attention_decoder.evaluate`: how well words that were kept from training are said."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from cuelight.exporters.attention_decoder.data import (
    DICTIONARY,
    END,
    PAD,
    PHONEMES,
    START,
    Words,
    letters_of,
    read_words,
    split,
)
from cuelight.exporters.attention_decoder.model import CHECKPOINT, DecoderStep, Network, load_checkpoint

__all__ = ["MAX_PHONEMES", "Score", "evaluate", "greedy", "main", "score"]

MAX_PHONEMES = 40
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of `words`: `exact` said as the dictionary has it in one of its ways, `exact_sounds` so but for stress.

    `phoneme_error` is phonemes wrong, over all words; a vowel with another stress is one.
    """

    words: int
    exact: float
    exact_sounds: float
    phoneme_error: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the score of the words never seen, and of as many that were trained on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="checkpoint (default: the committed one)")
    parser.add_argument("--cache-dir", type=Path, default=Path(".cache/weights"), help="where CMUdict is kept")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    network = load_checkpoint(options.checkpoint)
    trained, _, unseen = split(read_words(DICTIONARY.fetch(options.cache_dir)))
    seen = dict(list(trained.items())[:: max(1, len(trained) // len(unseen))])
    for name, words in (("words never seen", unseen), ("words trained on", seen)):
        found = evaluate(network, words)
        print(
            f"{found.words} {name}: {found.exact:.1%} exact, {found.exact_sounds:.1%} but for stress, "
            f"phoneme error {found.phoneme_error:.1%}"
        )


def evaluate(network: Network, words: Words) -> Score:
    """Return how well a network says these words, greedily."""
    spellings = sorted(words, key=len)
    said: dict[str, list[str]] = {}
    for start in tqdm(range(0, len(spellings), _BATCH), unit="batch", leave=False, desc="saying words"):
        batch = spellings[start : start + _BATCH]
        said.update(zip(batch, greedy(network, batch), strict=True))
    return score(said, words)


def greedy(network: Network, words: Sequence[str]) -> list[list[str]]:
    """Return the phonemes of each word, the best of each step, until all are through."""
    rows = [torch.tensor(letters_of(word)) for word in words]
    length = torch.tensor([len(row) for row in rows])
    step = DecoderStep(network.decoder)
    said: list[list[int]] = [[] for _ in words]
    with torch.inference_mode():
        memory, h = network.encoder(pad_sequence(rows, batch_first=True, padding_value=PAD), length)
        token = torch.full((len(words),), START)
        for _ in range(MAX_PHONEMES):
            log_probs, h, _ = step(token, h, memory, length)
            token = log_probs.argmax(1)
            for row, number in zip(said, token.tolist(), strict=True):
                row.append(number)
            if all(END in row for row in said):
                break
    return [[PHONEMES[number] for number in row[: row.index(END) if END in row else None]] for row in said]


def score(said: dict[str, list[str]], words: Words) -> Score:
    """Compare what was said with the dictionary; of several ways to say a word the nearest counts."""
    exact = sounds = wrong = wanted = 0
    for word, phonemes in said.items():
        errors, length = min((_distance(phonemes, way), len(way)) for way in words[word])
        exact += errors == 0
        sounds += any(_unstressed(phonemes) == _unstressed(way) for way in words[word])
        wrong += errors
        wanted += length
    return Score(len(said), exact / len(said), sounds / len(said), wrong / wanted)


def _unstressed(phonemes: Sequence[str]) -> list[str]:
    return [phoneme.rstrip("012") for phoneme in phonemes]


def _distance(said: Sequence[str], wanted: Sequence[str]) -> int:
    """Return how many phonemes must be put in, left out or replaced."""
    row = list(range(len(wanted) + 1))
    for count, phoneme in enumerate(said, 1):
        diagonal, row[0] = row[0], count
        for place, other in enumerate(wanted, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (phoneme != other))
    return row[-1]


if __name__ == "__main__":
    main()
