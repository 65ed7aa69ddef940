"""`python -m cuelight.exporters.attention_decoder.train --out checkpoint.pt`: learns to say CMUdict's words.

Teacher forcing: every step is told the phonemes before it. Batches hold words of about one length. What is kept is a
running average of the weights. Words kept from training (see `data.split`) take no part; those watched meanwhile are
printed and choose nothing: the number of epochs is fixed beforehand.
"""

import argparse
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
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
from cuelight.exporters.attention_decoder.evaluate import evaluate
from cuelight.exporters.attention_decoder.model import Network

__all__ = ["Training", "main"]

_WARMUP_STEPS = 100
_LAST_RATE_SHARE = 0.02
_AVERAGED_STEPS = 150
_POOL_BATCHES = 50
"""So many batches are sorted by length together, so that little of a batch is padding."""

Pair = tuple[Tensor, Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the score of words watched after every epoch, and write the checkpoint each time."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, dev, _ = split(read_words(DICTIONARY.fetch(options.cache_dir)))
    training = Training(train, options)
    bar = tqdm(total=options.epochs * training.steps_an_epoch, unit="batch", mininterval=5)
    for epoch in range(options.epochs):
        for batch in training.batches(epoch):
            bar.set_postfix(loss=f"{training.advance(batch):.3f}", refresh=False)
            bar.update()
        torch.save(training.average.state_dict(), options.out)
        found = evaluate(training.average, dev)
        bar.write(
            f"epoch {epoch + 1}: {found.exact:.1%} of unseen words exact, phoneme error {found.phoneme_error:.1%}"
        )


class Training:
    """The network, its running average, and all that a next step depends on."""

    def __init__(self, words: Words, options: argparse.Namespace) -> None:
        self._options = options
        self._pairs = [_pair(word, way) for word, ways in words.items() for way in ways]
        self.steps_an_epoch = math.ceil(len(self._pairs) / options.batch)
        self._step = 0
        self._network = Network(options.dropout)
        self.average = Network().eval()
        self.average.load_state_dict(self._network.state_dict())
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=options.rate, weight_decay=0.01)

    def batches(self, epoch: int) -> Iterator[list[Pair]]:
        """Yield every word once, in another order each epoch."""
        order = random.Random(self._options.seed + epoch)
        pairs = order.sample(self._pairs, len(self._pairs))
        size = self._options.batch
        for start in range(0, len(pairs), _POOL_BATCHES * size):
            pool = sorted(pairs[start : start + _POOL_BATCHES * size], key=lambda pair: len(pair[0]))
            made = [pool[at : at + size] for at in range(0, len(pool), size)]
            yield from order.sample(made, len(made))

    def advance(self, batch: list[Pair]) -> float:
        """Take one step and return the loss per phoneme."""
        source, target = ([pair[side] for pair in batch] for side in (0, 1))
        length = torch.tensor([len(row) for row in source])
        wanted = pad_sequence(target, batch_first=True, padding_value=PAD)
        given = torch.cat([torch.full((len(batch), 1), START), wanted[:, :-1]], 1)
        self._optimizer.param_groups[0]["lr"] = self._rate()
        self._network.train()
        log_probs = self._network(pad_sequence(source, batch_first=True, padding_value=PAD), length, given)
        loss = nn.functional.nll_loss(log_probs.flatten(0, 1), wanted.flatten(), ignore_index=PAD)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._step += 1
        self._follow()
        return float(loss.detach())

    def _rate(self) -> float:
        """Return the learning rate: up in a line, then down along a cosine."""
        done = self._step / (self._options.epochs * self.steps_an_epoch)
        warm = min(1.0, (self._step + 1) / _WARMUP_STEPS)
        share = _LAST_RATE_SHARE + (1 - _LAST_RATE_SHARE) * (1 + math.cos(math.pi * done)) / 2
        return float(self._options.rate) * warm * share

    def _follow(self) -> None:
        """Move the average: fast at first, then over about 150 steps."""
        share = max(1 / _AVERAGED_STEPS, 1 / self._step)
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self._network.parameters(), strict=True):
                mean.lerp_(now, share)


def _pair(word: str, phonemes: list[str]) -> Pair:
    return torch.tensor(letters_of(word)), torch.tensor([*(PHONEMES.index(phoneme) for phoneme in phonemes), END])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cuelight.exporters.attention_decoder.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--cache-dir", type=Path, default=Path(".cache/weights"), help="where CMUdict is kept")
    parser.add_argument("--epochs", type=int, default=8, help="times that every word is seen (default: 8)")
    parser.add_argument("--batch", type=int, default=256, help="words a batch (default: 256)")
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate (default: 0.004)")
    parser.add_argument("--dropout", type=float, default=0.2, help="share of values dropped (default: 0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="processor cores (default: 1)")
    return parser


if __name__ == "__main__":
    main()
