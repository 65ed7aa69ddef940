"""`python -m cuelight.exporters.digits_ctc.train --data fsdd.tar.gz --out checkpoint.pt`: train the recogniser.

Strings are made afresh for every batch, so no batch is seen twice. Features are warped as other vocal tracts would warp
them and masked in time and frequency (SpecAugment, arXiv:1904.08779), for there are only five speakers to learn from.
What is kept is a running average of the weights. The state of a training stands beside the checkpoint as
`<out>.resume`; `--resume` goes on from it.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from cuelight.exporters.digits_ctc.data import Digit, StringMaker, Utterance, read_digits, split
from cuelight.exporters.digits_ctc.evaluate import fixed_strings, word_error_rate
from cuelight.exporters.digits_ctc.features import HOP_SAMPLES, log_mel, mel_bank
from cuelight.exporters.digits_ctc.model import BLANK, HIDDEN, LAYERS, SUBSAMPLING, DigitsCtc

__all__ = ["Training", "main"]

_WARPS = 13
_STEP_SAMPLES = HOP_SAMPLES * SUBSAMPLING
_EVALUATE_EVERY = 200
_WARMUP_STEPS = 100
_GUIDED_STEPS = 400
"""For so many steps each output is told what to say, the digit in its second half and blank elsewhere. CTC left alone
says nothing but blank for longer than that; afterwards it finds better alignments than these."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, printing the word error of unheard strings now and then, and write the checkpoint each time."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, dev, held_out = split(read_digits(options.data))
    training = Training(train, options)
    if options.resume:
        training.load()
    tests = {
        "dev": fixed_strings(StringMaker(dev, 1, hard=False), 60),
        "held out": fixed_strings(StringMaker(held_out, 1, hard=False), 60),
    }
    bar = tqdm(range(training.step, options.steps), initial=training.step, total=options.steps, unit="batch")
    for step in bar:
        loss = training.advance()
        bar.set_postfix(loss=f"{loss:.3f}")
        if (step + 1) % _EVALUATE_EVERY == 0 or step + 1 == options.steps:
            training.save()
            rates = {name: word_error_rate(training.average, strings) for name, strings in tests.items()}
            report = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
            bar.write(f"step {step + 1}: loss {loss:.3f}, word error {report}")


class Training:
    """The model, its running average, and all that a next step depends on."""

    def __init__(self, digits: list[Digit], options: argparse.Namespace) -> None:
        self.step = 0
        self._options = options
        self._maker = StringMaker(digits, options.seed, hard=True, max_digits=6)
        self._model = DigitsCtc(dropout=0.1)
        self._set_normalisation()
        self.average = DigitsCtc().eval()
        self.average.load_state_dict(self._model.state_dict())
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=options.rate, weight_decay=0.01)
        self._banks = torch.stack([mel_bank(float(warp)) for warp in torch.linspace(0.85, 1.17, _WARPS)])

    def advance(self) -> float:
        """Make one batch, take one step and return the loss per digit."""
        strings = [self._maker.make() for _ in range(self._options.batch)]
        features = self._features(strings)
        self._optimizer.param_groups[0]["lr"] = self._rate()
        self._model.train()
        zeros = torch.zeros((LAYERS, len(features), HIDDEN))
        log_probs = self._model(features, zeros, zeros)[0]
        loss = (_guided_loss if self.step < _GUIDED_STEPS else _ctc_loss)(log_probs, strings)
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
        self._maker = StringMaker(self._maker.digits, self._options.seed + self.step, hard=True, max_digits=6)

    def _features(self, strings: list[Utterance]) -> Tensor:
        bank = self._banks[torch.randint(_WARPS, (len(strings),))]
        audio = pad_sequence([torch.from_numpy(made.audio) for made in strings], batch_first=True)
        features = _masked(self._model.normalise(log_mel(audio, bank)))
        return features[:, : features.shape[1] // SUBSAMPLING * SUBSAMPLING]

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


def _ctc_loss(log_probs: Tensor, strings: list[Utterance]) -> Tensor:
    steps = torch.tensor([len(made.audio) // _STEP_SAMPLES for made in strings])
    targets = torch.tensor([digit for made in strings for digit in made.digits])
    counts = torch.tensor([len(made.digits) for made in strings])
    total = nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, steps, counts, blank=BLANK, reduction="sum", zero_infinity=True
    )
    return total / counts.sum().clamp(min=1)


def _guided_loss(log_probs: Tensor, strings: list[Utterance]) -> Tensor:
    wanted = torch.full(log_probs.shape[:2], BLANK)
    for row, made in enumerate(strings):
        for digit, (start, end) in zip(made.digits, made.spans, strict=True):
            wanted[row, (start + end) // 2 // _STEP_SAMPLES : end // _STEP_SAMPLES + 1] = digit
    return nn.functional.nll_loss(log_probs.flatten(0, 1), wanted.flatten())


def _masked(features: Tensor) -> Tensor:
    """Return (batch, frames, bins) with up to two bands of bins and some short stretches of time set to the mean."""
    batch, frames, bins = features.shape
    kept = torch.ones_like(features)
    for _ in range(2):
        kept *= ~_spans(batch, bins, 7)[:, None, :]
    for _ in range(max(1, frames // 150)):
        kept *= ~_spans(batch, frames, 8)[:, :, None]
    return features * kept


def _spans(batch: int, size: int, longest: int) -> Tensor:
    """Return (batch, size) bool, true over one random span of 0 to `longest` in each row."""
    length = torch.randint(longest + 1, (batch, 1))
    start = (torch.rand((batch, 1)) * (size - length)).long()
    position = torch.arange(size)[None]
    return (position >= start) & (position < start + length)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cuelight.exporters.digits_ctc.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the Free Spoken Digit Dataset as .tar.gz")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--steps", type=int, default=4_000, help="batches (default: 4000)")
    parser.add_argument("--batch", type=int, default=10, help="strings a batch (default: 10)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (default: 0.002)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and strings (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="processor cores (default: 1)")
    parser.add_argument("--resume", action="store_true", help="go on from <out>.resume")
    return parser


if __name__ == "__main__":
    main()
