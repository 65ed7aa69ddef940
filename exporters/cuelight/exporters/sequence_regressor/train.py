"""`python -m cuelight.exporters.sequence_regressor.train --out checkpoint.pt`: train, and measure beside three others.

All 500 sequences are one batch. What is kept are the weights after a number of steps fixed beforehand; the test part is
looked at once, at the end. The same seed gives the same checkpoint on the same machine: one thread, one generator.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from cuelight.exporters.sequence_regressor.model import HISTORY, SequenceRegressor, load_checkpoint
from cuelight.exporters.sequence_regressor.series import Forecasts, forecasts, ndei
from cuelight.exporters.training_options import training_options

__all__ = ["by_last_value", "by_least_squares", "by_network", "main", "train"]

_RATE = 1e-2
_WARMUP_STEPS = 50


def main(arguments: Sequence[str] | None = None) -> None:
    """Train unless `--evaluate` names a checkpoint, and print the error of the test part."""
    options = training_options(
        "sequence_regressor", __doc__, steps=4_000, a_step="batches of all 500 sequences"
    ).parse_args(arguments)
    torch.set_num_threads(1)
    learned, tested = forecasts(HISTORY)
    if not options.evaluate:
        torch.save(train(learned, options.steps, options.seed).state_dict(), options.out)
    network = load_checkpoint(options.evaluate or options.out)
    for name, got in (
        ("this network", by_network(network, tested)),
        ("least squares on the same values", by_least_squares(learned, tested)),
        ("the last value", by_last_value(tested)),
    ):
        print(f"{name:<34}error / deviation {ndei(got, tested.wanted):.4f}")


def train(learned: Forecasts, steps: int, seed: int) -> SequenceRegressor:
    """Return the network after so many batches, in inference mode."""
    torch.manual_seed(seed)
    network = SequenceRegressor()
    network.mean.fill_(float(learned.seen.mean()))
    network.deviation.fill_(float(learned.seen.std()))
    seen, wanted = torch.from_numpy(learned.seen)[..., None], torch.from_numpy(learned.wanted)[:, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    bar = tqdm(range(steps), unit="batch")
    for step in bar:
        warmup = min(1.0, (step + 1) / _WARMUP_STEPS)
        optimizer.param_groups[0]["lr"] = _RATE * warmup * (0.501 + 0.499 * math.cos(math.pi * step / steps))
        error = nn.functional.mse_loss(network(seen), wanted)
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        bar.set_postfix(rms=f"{math.sqrt(float(error.detach())):.5f}")
    return network.eval()


def by_network(network: SequenceRegressor, tested: Forecasts) -> NDArray[np.float32]:
    """Return what the network foresees (count,)."""
    with torch.inference_mode():
        foreseen: NDArray[np.float32] = network(torch.from_numpy(tested.seen)[..., None])[:, 0].numpy()
    return foreseen


def by_least_squares(learned: Forecasts, tested: Forecasts) -> NDArray[np.float64]:
    """Return what the best linear function of the values seen, and a constant, foresees (count,)."""
    ones = np.ones((len(learned.seen), 1))
    weights, *_ = np.linalg.lstsq(np.hstack([learned.seen, ones]), learned.wanted, rcond=None)
    foreseen: NDArray[np.float64] = np.hstack([tested.seen, np.ones((len(tested.seen), 1))]) @ weights
    return foreseen


def by_last_value(tested: Forecasts) -> NDArray[np.float32]:
    """Return the last value seen (count,): the naive forecast."""
    return tested.seen[:, -1]


if __name__ == "__main__":
    main()
