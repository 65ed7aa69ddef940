"""`python -m cuelight.exporters.self_attention.train --out checkpoint.pt`: train, and measure on the digits held out.

Each batch turns, stretches and moves its digits anew. What is kept are the weights after a number of steps fixed
beforehand. The same seed gives the same checkpoint on the same machine: one thread, one generator.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cuelight.exporters.image_alterations import altered
from cuelight.exporters.optdigits import Digits, read_digits
from cuelight.exporters.self_attention.model import WIDTH, PatchAttention, load_checkpoint
from cuelight.exporters.training_options import training_options

__all__ = ["as_input", "heeding_alike", "main", "right_of", "train"]

_BATCH = 64
_RATE = 2e-3
_WEIGHT_DECAY = 0.01
_WARMUP_STEPS = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Train unless `--evaluate` names a checkpoint, and print how many of the digits held out are right."""
    options = training_options("self_attention", __doc__, steps=6_000, a_step="batches of 64").parse_args(arguments)
    torch.set_num_threads(1)
    digits, held_out = read_digits(options.cache_dir)
    if not options.evaluate:
        torch.save(train(digits, options.steps, options.seed).state_dict(), options.out)
    network, count = load_checkpoint(options.evaluate or options.out), len(held_out.labels)
    right = right_of(network, held_out)
    print(f"{right} of {count} held-out digits are right: {right / count:.1%}")
    right = right_of(heeding_alike(network), held_out)
    print(f"{right} of {count} when every patch heeds all alike: {right / count:.1%}")


def train(digits: Digits, steps: int, seed: int) -> PatchAttention:
    """Return the network after so many batches, in inference mode."""
    torch.manual_seed(seed)
    images, labels = as_input(digits), torch.from_numpy(digits.labels)
    network = PatchAttention(dropout=0.1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
    bar = tqdm(range(steps), unit="batch")
    for step in bar:
        warmup = min(1.0, (step + 1) / _WARMUP_STEPS)
        optimizer.param_groups[0]["lr"] = _RATE * warmup * (0.505 + 0.495 * math.cos(math.pi * step / steps))
        rows = torch.randint(len(labels), (_BATCH,))
        loss = nn.functional.cross_entropy(network(altered(images[rows]))[0], labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
    return network.eval()


def right_of(network: nn.Module, digits: Digits) -> int:
    """Return how many of the digits the network names rightly."""
    with torch.inference_mode():
        logits = network(as_input(digits))[0]
    return int((logits.argmax(1).numpy() == digits.labels).sum())


def heeding_alike(network: PatchAttention) -> PatchAttention:
    """Return a copy whose queries are zero, so that all its attention weights are equal."""
    copy = PatchAttention().eval()
    copy.load_state_dict(network.state_dict())
    with torch.no_grad():
        copy.attention.inner.weight[:WIDTH] = 0
        copy.attention.inner.bias[:WIDTH] = 0
    return copy


def as_input(digits: Digits) -> Tensor:
    """Return (count, 1, 8, 8) float32, 0 to 1."""
    return torch.from_numpy((digits.images[:, np.newaxis] * np.float32(1 / 255)).astype(np.float32))


if __name__ == "__main__":
    main()
