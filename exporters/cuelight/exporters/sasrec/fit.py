"""One network in training: epoch after epoch over everybody's likes, and how well it foresees what it was not told.

What is kept is a running average of the weights: it foresees better than the last weights do, and varies less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cuelight.exporters.sasrec.model import SasRec
from cuelight.exporters.sasrec.rows import NO_TARGET, Likes, batches, padded
from cuelight.exporters.sasrec.settings import TrainSettings

__all__ = ["Fit", "Foresight", "foresight"]

_WARMUP_BATCHES = 50
_AVERAGED_BATCHES = 50
"""The running average reaches back so far."""
_LONGEST_STEP = 1.0
"""Gradients are scaled down to this norm."""
_AT_ONCE = 128
_NDCG_DEPTH, _RECALL_DEPTH = 10, 20


@dataclass(frozen=True, slots=True)
class Foresight:
    """How well likes that were left out are foreseen: means over `people`, each with one like left out."""

    people: int
    cross_entropy: float
    """-log of the probability of the like that came, in nats."""
    ndcg_10: float
    recall_20: float


class Fit:
    """The network, its running average and the optimizer. What is drawn depends on seed and epoch alone."""

    def __init__(self, n_items: int, settings: TrainSettings) -> None:
        self.epoch = 0
        self._settings = settings
        torch.manual_seed(settings.seed)
        shape = settings.shape(n_items)
        self._network = SasRec(shape, settings.dropout)
        self.average = SasRec(shape).eval()
        self.average.load_state_dict(self._network.state_dict())
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=settings.rate, betas=(0.9, 0.98))
        self._steps = 0

    def advance(self, likes: Sequence[Likes]) -> float:
        """Go once over everybody's likes and return the mean loss of a like, in nats."""
        settings = self._settings
        generator = np.random.default_rng((settings.seed, self.epoch))
        torch.manual_seed(settings.seed * 1_000_003 + self.epoch)
        self._network.train()
        total = count = 0.0
        for tokens, targets in batches(likes, settings.length, settings.batch, generator):
            told = targets != NO_TARGET
            loss = self._step(tokens, targets, told)
            total += loss * int(told.sum())
            count += int(told.sum())
        self.epoch += 1
        return total / count

    def state(self) -> dict[str, Any]:
        """Return what `load` goes on from."""
        return {
            "epoch": self.epoch,
            "steps": self._steps,
            "network": self._network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.epoch, self._steps = state["epoch"], state["steps"]
        self._network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])

    def _step(self, tokens: Tensor, targets: Tensor, told: Tensor) -> float:
        self._optimizer.param_groups[0]["lr"] = self._settings.rate * min(1.0, (self._steps + 1) / _WARMUP_BATCHES)
        logits = self._network.logits(self._network(tokens)[told])
        loss = nn.functional.cross_entropy(logits, targets[told])
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), _LONGEST_STEP)
        self._optimizer.step()
        self._steps += 1
        self._follow()
        return float(loss.detach())

    def _follow(self) -> None:
        """Move the average: fast at first, then over so many batches."""
        share = max(1 / _AVERAGED_BATCHES, 1 / self._steps)
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self._network.parameters(), strict=True):
                mean.lerp_(now, share)


def foresight(network: SasRec, left_out: Sequence[tuple[NDArray[np.int64], int]]) -> Foresight:
    """Measure how well a network foresees one like of each from the row before it; what is in the row is not ranked."""
    losses, ranks = [], []
    for start in range(0, len(left_out), _AT_ONCE):
        group = left_out[start : start + _AT_ONCE]
        rows = [row[-network.shape.length :] for row, _ in group]
        with torch.no_grad():
            states = network(padded(rows))[range(len(rows)), [len(row) for row in rows]]
            logits = network.logits(states)
        chances = logits.log_softmax(-1)
        for i, (row, target) in enumerate(group):
            losses.append(-float(chances[i, target]))
            logits[i, row] = -math.inf
            ranks.append(int((logits[i] > logits[i, target]).sum()))
    gains = [1 / math.log2(rank + 2) if rank < _NDCG_DEPTH else 0.0 for rank in ranks]
    hits = [rank < _RECALL_DEPTH for rank in ranks]
    return Foresight(len(ranks), float(np.mean(losses)), float(np.mean(gains)), float(np.mean(hits)))
