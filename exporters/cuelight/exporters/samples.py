"""Real input to try the exported models on: a photo and a recording, out of pinned wheels. Needs no torch."""

import shutil
from pathlib import Path

from cuelight.exporters.weights import WheelFile

__all__ = ["PHOTO", "RECORDING", "fetch_samples"]

PHOTO = WheelFile(
    requirement="scikit-image==0.26.0",
    path="skimage/data/coffee.png",
    sha256="cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    platform="manylinux_2_28_x86_64",
    python="3.11",
)
"""A cup of espresso, 600 x 400. By Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0."""

RECORDING = WheelFile(
    requirement="moonshine-voice==0.0.58",
    path="moonshine_voice/assets/beckett.wav",
    sha256="e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
    platform="manylinux_2_34_x86_64",
)
"""A man reads a line by Samuel Beckett: 10 s, 16 kHz, mono, 16-bit. MIT."""


def fetch_samples(folder: Path, cache_dir: Path) -> dict[str, Path]:
    """Put both samples into `folder` and return their paths as `photo` and `recording`.

    Raises: WeightsError when a package cannot be had or a file is not the one that was pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for name, file in (("photo", PHOTO), ("recording", RECORDING)):
        paths[name] = Path(shutil.copy(file.fetch(cache_dir), folder / file.name))
    return paths
