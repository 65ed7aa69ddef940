"""`python -m cuelight.exporters.digit_cnn.train --out checkpoint.pt`: train, and measure on the digits held out.

Needs Pillow, which enlarges the digits from 8 x 8 to 28 x 28 exactly as the model's preprocessing enlarges what a
client sends. They fill their frame; so that digits with a margin are named too, each batch turns, stretches,
shrinks and moves its digits anew and draws them with another pen. What is kept is a running average of the weights
after a number of steps fixed beforehand. The same seed gives the same checkpoint on the same machine.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from cuelight.exporters.digit_cnn.model import SIZE, DigitCnn, load_checkpoint
from cuelight.exporters.image_alterations import altered, redrawn
from cuelight.exporters.mnist import read_mnist
from cuelight.exporters.optdigits import Digits, read_digits
from cuelight.exporters.training_options import training_options

__all__ = ["enlarged", "main", "named", "right_of", "train", "with_margin"]

_BATCH = 64
_RATE = 2e-3
_WEIGHT_DECAY = 1e-3
_SMALLEST = 0.5
_MNIST_SIDE = 20
"""MNIST's digits were scaled into a square of so many pixels. Source: yann.lecun.com/exdb/mnist."""
_AVERAGED = 0.002
"""The share of the newest weights in the running average."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train unless `--evaluate` names a checkpoint, and print how many of the digits held out are right."""
    options = training_options("digit_cnn", __doc__, steps=6_000, a_step="batches of 64").parse_args(arguments)
    torch.set_num_threads(1)
    digits, held_out = read_digits(options.cache_dir)
    if not options.evaluate:
        torch.save(train(digits, options.steps, options.seed).state_dict(), options.out)
    network = load_checkpoint(options.evaluate or options.out)
    images, labels = read_mnist(options.cache_dir)
    counts = {
        "digits held out": (right_of(network, held_out), len(held_out.labels)),
        "the same at 20 x 20 pixels in the middle": (
            int((named(network, with_margin(held_out.images)) == held_out.labels).sum()),
            len(held_out.labels),
        ),
        "digits of MNIST": (int((named(network, images) == labels).sum()), len(labels)),
    }
    for name, (right, count) in counts.items():
        print(f"{right} of {count} {name} are right: {right / count:.1%}")


def train(digits: Digits, steps: int, seed: int) -> DigitCnn:
    """Return the network after so many batches, in inference mode."""
    torch.manual_seed(seed)
    images, labels = torch.from_numpy(enlarged(digits.images)), torch.from_numpy(digits.labels)
    network, average = DigitCnn(dropout=0.3), DigitCnn()
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
    bar = tqdm(range(steps), unit="batch")
    for step in bar:
        optimizer.param_groups[0]["lr"] = _RATE * (0.505 + 0.495 * math.cos(math.pi * step / steps))
        rows = torch.randint(len(labels), (_BATCH,))
        loss = nn.functional.cross_entropy(network(redrawn(altered(images[rows], _SMALLEST)))[0], labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            for mean, now in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(now, max(_AVERAGED, 1 / (step + 1)))
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
    return average.eval()


def right_of(network: nn.Module, digits: Digits) -> int:
    """Return how many of the digits the network names rightly."""
    return int((named(network, enlarged(digits.images)) == digits.labels).sum())


def named(network: nn.Module, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return what the network takes each of (count, 1, 28, 28) for, (count,)."""
    with torch.inference_mode():
        found: NDArray[np.int64] = network(torch.from_numpy(images))[0].argmax(1).numpy()
    return found


def enlarged(images: NDArray[np.uint8], side: int = SIZE) -> NDArray[np.float32]:
    """Return (count, 8, 8) uint8 images as (count, 1, side, side) float32, 0 to 1."""
    from PIL import Image  # noqa: PLC0415 (an export does without)

    large = [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in images]
    return (np.stack(large)[:, np.newaxis] * np.float32(1 / 255)).astype(np.float32)


def with_margin(images: NDArray[np.uint8], right: int = 0, down: int = 0) -> NDArray[np.float32]:
    """Return (count, 8, 8) uint8 images as (count, 1, 28, 28) float32, the digit on 20 x 20 pixels as MNIST has it.

    It lies in the middle, or so many pixels off it, 4 at most.
    """
    edge = (SIZE - _MNIST_SIDE) // 2
    return np.pad(
        enlarged(images, _MNIST_SIDE), ((0, 0), (0, 0), (edge + down, edge - down), (edge + right, edge - right))
    )


if __name__ == "__main__":
    main()
