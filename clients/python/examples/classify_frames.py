"""Name what a moving camera sees, live: `python classify_frames.py PHOTO [--url ...] [--fps 60] [--seconds 3]`.

The camera pans over the photo and sends raw frames at its own pace, as a game does with its frame buffer; what the
server cannot keep up with is dropped, and each answer says how many frames were. Needs Pillow, to read the photo.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cuelight.client import Channel, Frame, VisionClient

VIEW = 240


def main() -> None:
    """Print each change of what is seen, and at the end how many frames were answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--url", default="127.0.0.1:8001")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    with Image.open(options.photo) as photo:
        pixels = np.asarray(photo.convert("RGB"))
    frames = panned(pixels, options.fps, round(options.fps * options.seconds))
    answered, dropped, seen = 0, 0, ""
    with Channel(options.url) as channel:
        for answer in VisionClient(channel).classify_frames(frames, model=options.model):
            answered, dropped = answered + 1, answer.dropped_total
            label = answer.result.labels[0]
            if label.label != seen:
                seen = label.label
                print(f"  {answer.time_ms / 1000:>6.2f} s  frame {answer.id:>4}  {seen} ({label.probability:.0%})")
    print(f"  {answered} frames answered, {dropped} dropped")


def panned(pixels: NDArray[np.uint8], fps: float, count: int) -> Iterator[Frame]:
    """Yield views from the photo's left to its right, each when it is time for it."""
    height, width = pixels.shape[:2]
    top, room = max(0, (height - VIEW) // 2), max(0, width - VIEW)
    started_s = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started_s + number / fps - time.monotonic()))
        left = round(room * number / max(1, count - 1))
        view = np.ascontiguousarray(pixels[top : top + VIEW, left : left + VIEW])
        yield Frame(view, number, round(number * 1000 / fps))


if __name__ == "__main__":
    main()
