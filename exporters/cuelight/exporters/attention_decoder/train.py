"""`python -m cuelight.exporters.attention_decoder.train --out checkpoint.pt`: learns to say CMUdict's words.

Teacher forcing: every step is told the phonemes before it. Batches hold words of about one length; the products are in
bfloat16, weights and sums in float32. The learning rate stays level until the last two epochs, in which it falls, so
that a training with more epochs begins as one with fewer. What is written is a running average of the weights, after
the epoch that says the words watched meanwhile best (`data.split`); words kept from training take no part, neither in
learning nor in that choice. A training that was broken off goes on from its last whole epoch, to the same end:
`<out>.resume` has all that its next step depends on, and is gone when it is through.

Source: Szegedy et al., Rethinking the Inception Architecture, 2015, section 7 (label smoothing); Hagele et al., Scaling
Laws and Compute-Optimal Training Beyond Fixed Training Durations, 2024, section 3 (level rate, fall by 1 - sqrt).
"""

import argparse
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
_COOLDOWN_EPOCHS = 2
_SMOOTHING = 0.1
_WEIGHT_DECAY = 0.01
_AVERAGED_STEPS = 300
_POOL_BATCHES = 50
"""So many batches are sorted by length together, so that little of a batch is padding."""

Pair = tuple[Tensor, Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the score of words watched after every epoch, and write the checkpoint whenever it is the best."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, dev, _ = split(read_words(DICTIONARY.fetch(options.cache_dir)))
    training = Training(train, options)
    resume = options.out.with_name(f"{options.out.name}.resume")
    if resume.exists():
        training.restore(torch.load(resume, weights_only=True))
    total, done = options.epochs * training.steps_an_epoch, training.epochs_done * training.steps_an_epoch
    bar = tqdm(total=total, initial=done, unit="batch", mininterval=5)
    for epoch in range(training.epochs_done, options.epochs):
        for batch in training.batches(epoch):
            bar.set_postfix(loss=f"{training.advance(batch):.3f}", refresh=False)
            bar.update()
        found = evaluate(training.average, dev)
        bar.write(f"epoch {epoch + 1}: {found.exact:.1%} of {found.words} words exact, error {found.phoneme_error:.1%}")
        if training.is_best(found.exact):
            torch.save(training.average.state_dict(), options.out)
        torch.save(training.state(), resume)
    resume.unlink(missing_ok=True)


class Training:
    """The network, its running average, and all that a next step depends on."""

    def __init__(self, words: Words, options: argparse.Namespace) -> None:
        self._options = options
        self._pairs = [_pair(word, way) for word, ways in words.items() for way in ways]
        self.steps_an_epoch: int = math.ceil(len(self._pairs) / options.batch)
        self._step = 0
        self._best = -1.0
        self._network = Network(options.dropout)
        self.average = Network().eval()
        self.average.load_state_dict(self._network.state_dict())
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=options.rate, weight_decay=_WEIGHT_DECAY)

    @property
    def epochs_done(self) -> int:
        """Epochs that are whole."""
        return self._step // self.steps_an_epoch

    def is_best(self, exact: float) -> bool:
        """Whether no epoch before was better; remembers it."""
        best, self._best = self._best, max(exact, self._best)
        return exact > best

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, but options and words."""
        return {
            "network": self._network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "step": self._step,
            "best": self._best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self._step, self._best = state["step"], state["best"]

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
        with torch.autocast("cpu", torch.bfloat16):
            log_probs = self._network(pad_sequence(source, batch_first=True, padding_value=PAD), length, given)
        # Log-probabilities are their own log-softmax, so that this is the loss of `nll_loss`, but smoothed.
        loss = nn.functional.cross_entropy(
            log_probs.float().flatten(0, 1), wanted.flatten(), ignore_index=PAD, label_smoothing=_SMOOTHING
        )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._step += 1
        self._follow()
        return float(loss.detach())

    def _rate(self) -> float:
        """Return the learning rate: up in a line, then level, then down to nothing."""
        left = self._options.epochs - self._step / self.steps_an_epoch
        warm = min(1.0, (self._step + 1) / _WARMUP_STEPS)
        cool = 1.0 if left >= _COOLDOWN_EPOCHS else 1 - math.sqrt(1 - left / _COOLDOWN_EPOCHS)
        return float(self._options.rate) * warm * cool

    def _follow(self) -> None:
        """Move the average: fast at first, then over about 300 steps."""
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
    parser.add_argument("--epochs", type=int, default=14, help="times that every word is seen (default: 14)")
    parser.add_argument("--batch", type=int, default=256, help="words a batch (default: 256)")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate (default: 0.002)")
    parser.add_argument("--dropout", type=float, default=0.2, help="share of values dropped (default: 0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="processor cores (default: 1)")
    return parser


if __name__ == "__main__":
    main()
