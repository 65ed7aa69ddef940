"""`python -m cuelight.exporters.digits_ctc.train --data fsdd.tar.gz --synthetic voices.tar.gz --out checkpoint.pt`.

Strings are made afresh, and each is used in two batches, its features altered differently (see `wild_strings` and
`augment`). Batches hold strings of about one length. What is kept is a running average of the weights after a number of
steps fixed beforehand; the speaker held out is not listened to. The state of a training stands beside the checkpoint as
`<out>.resume`; `--resume` goes on from it.
"""

import argparse
import math
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from cuelight.exporters.digits_ctc.augment import hidden_spans, random_banks, stretch_factors, stretched, warped_banks
from cuelight.exporters.digits_ctc.data import Digit, StringMaker, Utterance, read_digits, split
from cuelight.exporters.digits_ctc.evaluate import fixed_strings, word_error_rate
from cuelight.exporters.digits_ctc.features import HOP_SAMPLES, log_mel
from cuelight.exporters.digits_ctc.model import BLANK, HIDDEN, LAYERS, SUBSAMPLING, DigitsCtc
from cuelight.exporters.digits_ctc.wild_strings import WildStringMaker

__all__ = ["Training", "main"]

_EVALUATE_EVERY = 500
_POOL_BATCHES = 4
"""So many batches of strings are made at once and sorted by length, so that little of a batch is padding."""
_VIEWS = 2
"""How often each string is used."""
_WILD_SHARE, _MILD = 0.4, 0.65
"""After this share of the steps, alterations are milder, for there are more of them than the network can learn."""
_WARMUP_STEPS = 100
_GUIDED_STEPS = 400
"""For so many steps each output is told what to say, the digit in its second half and blank elsewhere. CTC left alone
says nothing but blank for longer than that; afterwards it finds better alignments than these."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, printing the word error of unheard strings now and then, and write the checkpoint each time."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, dev, _ = split(read_digits(options.data))
    synthetic = [digit for archive in options.synthetic for digit in read_digits(archive)]
    training = Training(train, synthetic, options)
    if options.resume:
        training.load()
    tests = fixed_strings(StringMaker(dev, 1, hard=False), 60)
    bar = tqdm(range(training.step, options.steps), initial=training.step, total=options.steps, unit="batch")
    for step in bar:
        loss = training.advance()
        bar.set_postfix(loss=f"{loss:.3f}")
        if (step + 1) % _EVALUATE_EVERY == 0 or step + 1 == options.steps:
            training.save()
            error = word_error_rate(training.average, tests)
            bar.write(f"step {step + 1}: loss {loss:.3f}, word error of unheard takes {error:.1%}")


class Training:
    """The model, its running average, and all that a next step depends on."""

    def __init__(self, digits: list[Digit], synthetic: list[Digit], options: argparse.Namespace) -> None:
        self.step = 0
        self._options = options
        self._maker = WildStringMaker(digits, synthetic, options.seed)
        self._pool: list[list[Utterance]] = []
        self._model = DigitsCtc(dropout=0.1)
        self._set_normalisation()
        self.average = DigitsCtc().eval()
        self.average.load_state_dict(self._model.state_dict())
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=options.rate, weight_decay=0.01)
        self._banks = warped_banks()

    def advance(self) -> float:
        """Make one batch, take one step and return the loss per digit."""
        strings = self._next_batch()
        factors = stretch_factors(len(strings), self._wildness())
        features = self._features(strings, factors)
        self._optimizer.param_groups[0]["lr"] = self._rate()
        self._model.train()
        zeros = torch.zeros((LAYERS, len(features), HIDDEN))
        log_probs = self._model(features, zeros, zeros)[0]
        loss = (_guided_loss if self.step < _GUIDED_STEPS else _ctc_loss)(log_probs, strings, factors)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._follow()
        self.step += 1
        return float(loss.detach())

    def save(self) -> None:
        """Write the checkpoint, and beside it what `load` needs."""
        torch.save(self.average.state_dict(), self._options.out)
        state = {"step": self.step, "model": self._model.state_dict(), "optimizer": self._optimizer.state_dict()}
        torch.save(state, f"{self._options.out}.resume")

    def load(self) -> None:
        """Go on from what `save` wrote, with strings not made before."""
        state = torch.load(f"{self._options.out}.resume", weights_only=True)
        self.step = state["step"]
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(torch.load(self._options.out, weights_only=True))
        self._maker = WildStringMaker(self._maker.digits, self._maker.synthetic, self._options.seed + self.step)
        self._pool = []

    def _next_batch(self) -> list[Utterance]:
        if not self._pool:
            size = self._options.batch
            self._maker.wildness = self._wildness()
            made = sorted((self._maker.make() for _ in range(_POOL_BATCHES * size)), key=lambda made: len(made.audio))
            batches = [made[start : start + size] for start in range(0, len(made), size)]
            order = random.Random(self.step)
            self._pool = [batch for _ in range(_VIEWS) for batch in order.sample(batches, len(batches))]
        return self._pool.pop()

    def _features(self, strings: list[Utterance], factors: Tensor) -> Tensor:
        bank = random_banks(self._banks, len(strings), self._wildness())
        audio = pad_sequence([torch.from_numpy(made.audio) for made in strings], batch_first=True)
        features = self._model.normalise(log_mel(audio, bank))
        features = hidden_spans(stretched(features, _frames(strings), factors), self._wildness())
        return features[:, : features.shape[1] // SUBSAMPLING * SUBSAMPLING]

    def _wildness(self) -> float:
        return 1.0 if self.step < _WILD_SHARE * self._options.steps else _MILD

    def _rate(self) -> float:
        """Return the learning rate: up in a line, then down along a cosine."""
        warmup = min(1.0, (self.step + 1) / _WARMUP_STEPS)
        rate: float = self._options.rate * warmup * (0.51 + 0.49 * math.cos(math.pi * self.step / self._options.steps))
        return rate

    def _follow(self) -> None:
        """Move the average: fast at first, then over about 200 steps."""
        share = max(1 / 200, 1 / (self.step + 1))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self._model.parameters(), strict=True):
                mean.lerp_(now, share)

    def _set_normalisation(self) -> None:
        strings = [self._maker.make() for _ in range(64)]
        heard = torch.cat([self._model.normalise(log_mel(torch.from_numpy(made.audio)[None]))[0] for made in strings])
        self._model.mean.copy_(heard.mean(0))
        self._model.scale.copy_(1 / heard.std(0))


def _frames(strings: list[Utterance]) -> Tensor:
    return torch.tensor([len(made.audio) // HOP_SAMPLES for made in strings])


def _ctc_loss(log_probs: Tensor, strings: list[Utterance], factors: Tensor) -> Tensor:
    steps = (_frames(strings) * factors).long() // SUBSAMPLING
    targets = torch.tensor([digit for made in strings for digit in made.digits])
    counts = torch.tensor([len(made.digits) for made in strings])
    total = nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, steps, counts, blank=BLANK, reduction="sum", zero_infinity=True
    )
    return total / counts.sum().clamp(min=1)


def _guided_loss(log_probs: Tensor, strings: list[Utterance], factors: Tensor) -> Tensor:
    wanted = torch.full(log_probs.shape[:2], BLANK)
    for row, (made, factor) in enumerate(zip(strings, factors.tolist(), strict=True)):
        steps_a_sample = factor / (HOP_SAMPLES * SUBSAMPLING)
        for digit, (start, end) in zip(made.digits, made.spans, strict=True):
            wanted[row, int((start + end) / 2 * steps_a_sample) : int(end * steps_a_sample) + 1] = digit
    return nn.functional.nll_loss(log_probs.flatten(0, 1), wanted.flatten())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cuelight.exporters.digits_ctc.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the Free Spoken Digit Dataset as .tar.gz")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="archives of synthetic voices")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--steps", type=int, default=10_000, help="batches (default: 10000)")
    parser.add_argument("--batch", type=int, default=16, help="strings a batch (default: 16)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (default: 0.002)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and strings (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="processor cores (default: 1)")
    parser.add_argument("--resume", action="store_true", help="go on from <out>.resume")
    return parser


if __name__ == "__main__":
    main()
