"""`python -m cuelight.exporters.digits_ctc.evaluate --data fsdd.tar.gz`: the word error of strings never heard.

Word error is insertions, deletions and substitutions over the digits spoken. The strings hold 1 to 8 digits with
gaps and noise (see `data`); once as they are, at 16 kHz, and once as a caller at 8 kHz would send them.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
import torch
from tqdm import tqdm

from cuelight.exporters.digits_ctc.data import StringMaker, Utterance, read_digits, split
from cuelight.exporters.digits_ctc.features import SAMPLE_RATE_HZ, log_mel
from cuelight.exporters.digits_ctc.model import DigitsCtc, greedy, load_checkpoint

__all__ = ["edit_distance", "fixed_strings", "main", "recognise", "telephone", "word_error_rate"]

_TELEPHONE_HZ = 8_000
_SEED = 20_000
"""Far from the seeds of training, so that no string was made there."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the word error of unheard takes of the speakers trained on and of the speaker held out."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    model = load_checkpoint(options.checkpoint) if options.checkpoint else load_checkpoint()
    _, dev, held_out = split(read_digits(options.data))
    for name, digits in (
        ("speakers heard, takes unheard", dev),
        (f"speaker held out ({held_out[0].speaker})", held_out),
    ):
        strings = fixed_strings(StringMaker(digits, _SEED, hard=False), options.strings)
        spoken = sum(len(made.digits) for made in strings)
        for rate_hz, made in ((SAMPLE_RATE_HZ, strings), (_TELEPHONE_HZ, [telephone(made) for made in strings])):
            rate = word_error_rate(model, tqdm(made, leave=False, unit="string"))
            print(f"{name}, {rate_hz} Hz: word error {rate:.2%} ({len(strings)} strings, {spoken} digits)")


def fixed_strings(maker: StringMaker, count: int) -> list[Utterance]:
    """Return so many strings, the same for the same seed of the maker."""
    return [maker.make() for _ in range(count)]


def telephone(made: Utterance) -> Utterance:
    """Return the string as it comes back from 8 kHz."""
    narrow = soxr.resample(made.audio, SAMPLE_RATE_HZ, _TELEPHONE_HZ)
    return replace(made, audio=soxr.resample(narrow, _TELEPHONE_HZ, SAMPLE_RATE_HZ).astype(np.float32))


def word_error_rate(model: DigitsCtc, strings: Iterable[Utterance]) -> float:
    """Return the word error of the strings, each recognised as a whole."""
    errors = spoken = 0
    for made in strings:
        errors += edit_distance(recognise(model, made), list(made.digits))
        spoken += len(made.digits)
    return errors / spoken


def recognise(model: DigitsCtc, made: Utterance) -> list[int]:
    """Return the digits heard in a string."""
    with torch.inference_mode():
        return greedy(model.log_probs(log_mel(torch.from_numpy(made.audio)[None]))[0])


def edit_distance(got: list[int], want: list[int]) -> int:
    """Return how many insertions, deletions and substitutions turn one into the other. Source: Levenshtein 1966."""
    row = list(range(len(want) + 1))
    for count, left in enumerate(got, 1):
        above, row[0] = row[0], count
        for index, right in enumerate(want, 1):
            above, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, above + (left != right))
    return row[-1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cuelight.exporters.digits_ctc.evaluate", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the Free Spoken Digit Dataset as .tar.gz")
    parser.add_argument("--checkpoint", type=Path, help="default: the one that comes with this package")
    parser.add_argument("--strings", type=int, default=200, help="strings of each kind (default: 200)")
    return parser


if __name__ == "__main__":
    main()
