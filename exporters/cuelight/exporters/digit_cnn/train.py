"""`python -m cuelight.exporters.digit_cnn.train --out checkpoint.pt`: train, and measure on the digits held out.

Needs Pillow, which enlarges the digits from 8 x 8 to 28 x 28 exactly as the model's preprocessing enlarges what a
client sends. Each batch turns, stretches and moves its digits anew. What is kept are the weights after a number of
steps fixed beforehand. The same seed gives the same checkpoint on the same machine: one thread, one generator.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from cuelight.exporters.digit_cnn.model import SIZE, DigitCnn, load_checkpoint
from cuelight.exporters.image_alterations import altered
from cuelight.exporters.optdigits import Digits, read_digits
from cuelight.exporters.training_options import training_options

__all__ = ["enlarged", "main", "right_of", "train"]

_BATCH = 64
_RATE = 2e-3
_WEIGHT_DECAY = 1e-3


def main(arguments: Sequence[str] | None = None) -> None:
    """Train unless `--evaluate` names a checkpoint, and print how many of the digits held out are right."""
    options = training_options("digit_cnn", __doc__, steps=4_000, a_step="batches of 64").parse_args(arguments)
    torch.set_num_threads(1)
    digits, held_out = read_digits(options.cache_dir)
    if not options.evaluate:
        torch.save(train(digits, options.steps, options.seed).state_dict(), options.out)
    network = load_checkpoint(options.evaluate or options.out)
    right = right_of(network, held_out)
    print(f"{right} of {len(held_out.labels)} held-out digits are right: {right / len(held_out.labels):.1%}")


def train(digits: Digits, steps: int, seed: int) -> DigitCnn:
    """Return the network after so many batches, in inference mode."""
    torch.manual_seed(seed)
    images, labels = torch.from_numpy(enlarged(digits.images)), torch.from_numpy(digits.labels)
    network = DigitCnn(dropout=0.3)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
    bar = tqdm(range(steps), unit="batch")
    for step in bar:
        optimizer.param_groups[0]["lr"] = _RATE * (0.505 + 0.495 * math.cos(math.pi * step / steps))
        rows = torch.randint(len(labels), (_BATCH,))
        loss = nn.functional.cross_entropy(network(altered(images[rows]))[0], labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
    return network.eval()


def right_of(network: nn.Module, digits: Digits) -> int:
    """Return how many of the digits the network names rightly."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(enlarged(digits.images)))[0]
    return int((logits.argmax(1).numpy() == digits.labels).sum())


def enlarged(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (count, 8, 8) uint8 images as (count, 1, 28, 28) float32, 0 to 1."""
    from PIL import Image  # noqa: PLC0415 (an export does without)

    large = [np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for image in images]
    return (np.stack(large)[:, np.newaxis] * np.float32(1 / 255)).astype(np.float32)


if __name__ == "__main__":
    main()
