"""`python -m cuelight.exporters.digits_ctc.voices --out voices.tar.gz`: the ten digits by a hundred synthetic voices.

The dataset has five men to learn from, too few to tell what makes a digit from what makes a voice. Here three
synthesisers say the digits, women and other accents among them, each voice at several speeds and pitches: eSpeak NG
with its variants, flite and festival. In Debian: espeak-ng, flite, festival, festvox-kdlpc16k, festvox-us-slt-hts.
Their licences leave what they say to whoever has it said. The archive is like the dataset's, so `train` reads both
the same way.
"""

import argparse
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from cuelight.exporters.digits_ctc.model import WORDS

__all__ = ["RATE_HZ", "Voice", "add_recording", "main", "trimmed", "voices"]

Audio = NDArray[np.float32]

RATE_HZ = 8_000
"""The dataset's."""
_QUIET_DB = 40.0
"""What is so far below the loudest 10 ms, at either end, is no part of the digit."""
_ACCENTS = ("en-us", "en-gb", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
_VARIANTS = (
    "Adam Alex Alicia Andrea Andy Annie Antonio Auntie Belinda Benjamin Boris Caleb David Denis Diogo Ed Edward "
    "Edward2 Gene Gene2 Gustave Henrique Hugo Iven Iven2 Iven3 Iven4 Jacky John Kaukovalta Lee Linda Marcelo Marco "
    "Mario Max Michael Michel Miguel Mike Mr_Serious Nguyen Pablo Paul Pedro Quincy RicishayMax RicishayMax2 "
    "RicishayMax3 Rob Robert Steph Steph2 Steph3 Storm Tweaky Zac anika anxiousAndy f1 f2 f3 f4 f5 grandma grandpa "
    "klatt klatt2 klatt3 klatt4 klatt5 klatt6 m1 m2 m3 m4 m5 m6 m7 m8 norbert sandro shelby travis victor "
)
"""eSpeak NG's, less the robots, whispers and croaks."""
_FLITE = ("kal16", "awb", "rms", "slt")
_FESTIVAL = ("ked_diphone", "cmu_us_slt_arctic_hts")


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice by its name in the archive, and the commands that say `{word}` into `{file}`, one for each take."""

    name: str
    takes: tuple[tuple[str, ...], ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the archive. Raises: FileNotFoundError when a synthesiser is not installed."""
    options = _parser().parse_args(arguments)
    with tarfile.open(options.out, "w:gz") as tar, tempfile.TemporaryDirectory() as folder:
        for voice in tqdm(voices(), unit="voice"):
            for name, audio in _spoken(voice, Path(folder) / "spoken.wav"):
                add_recording(tar, name, audio)


def voices() -> list[Voice]:
    """Return every voice: eSpeak NG's variants, each in one accent, then flite's and festival's."""
    variants = _VARIANTS.split()
    accents = [_ACCENTS[index % len(_ACCENTS)] for index in range(len(variants))]
    return [
        *(_espeak(variant, accent) for variant, accent in zip(variants, accents, strict=True)),
        *(_flite(name) for name in _FLITE),
        *(_festival(name) for name in _FESTIVAL),
    ]


def trimmed(audio: Audio, rate_hz: int) -> Audio:
    """Return the audio without the silence at its ends; all of it when it is shorter than 10 ms."""
    hop = rate_hz // 100
    power = np.square(audio[: len(audio) // hop * hop]).reshape(-1, hop).mean(1)
    if not len(power):
        return audio
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_QUIET_DB / 10))
    return audio[loud[0] * hop : (loud[-1] + 1) * hop]


def _espeak(variant: str, accent: str) -> Voice:
    """Return the voice at 110 to 200 words a minute and several pitches of eSpeak's 0 to 99."""
    takes = tuple(
        ("espeak-ng", "-v", f"{accent}+{variant}", "-s", str(speed), "-p", str(pitch), "-w", "{file}", "{word}")
        for speed, pitch in ((110, 45), (140, 60), (140, 35), (170, 50), (200, 40))
    )
    return Voice(f"espeak-{variant.lower().replace('_', '-')}-{accent}", takes)


def _flite(name: str) -> Voice:
    """Return the voice at four speeds, each at its own pitch and at two others (Hz)."""
    base_hz = 190 if name == "slt" else 110
    takes = tuple(
        (
            "flite",
            "-voice",
            name,
            "-o",
            "{file}",
            *_setf("duration_stretch", stretch),
            *_setf("int_f0_target_mean", hz),
            "-t",
            "{word}",
        )
        for stretch, hz in product((0.75, 0.9, 1.1, 1.35), (0.85 * base_hz, base_hz, 1.2 * base_hz))
    )
    return Voice(f"flite-{name}", takes)


def _festival(name: str) -> Voice:
    """Return the voice at four speeds."""
    stretched = "(begin (voice_{}) (Parameter.set 'Duration_Stretch {}) {})"
    said = '(utt.save.wave (utt.synth (Utterance Text "{word}")) "{file}")'
    takes = tuple(("festival", "--batch", stretched.format(name, stretch, said)) for stretch in (0.75, 0.9, 1.1, 1.35))
    return Voice(f"festival-{name.partition('_')[0]}", takes)


def _setf(name: str, value: float) -> tuple[str, str]:
    return "--setf", f"{name}={value:g}"


def _spoken(voice: Voice, file: Path) -> Iterator[tuple[str, Audio]]:
    """Yield each digit and take by its name in the archive."""
    for (take, command), (digit, word) in product(enumerate(voice.takes), enumerate(WORDS)):
        filled = [part.replace("{word}", word).replace("{file}", str(file)) for part in command]
        subprocess.run(filled, check=True, capture_output=True)
        audio, rate_hz = soundfile.read(file, dtype="float32")
        yield f"{digit}_{voice.name}_{take}.wav", trimmed(soxr.resample(audio, rate_hz, RATE_HZ), RATE_HZ)


def add_recording(tar: tarfile.TarFile, name: str, audio: Audio) -> None:
    """Add one recording as 16-bit WAV, its peak at 0.9."""
    wav = io.BytesIO()
    soundfile.write(wav, audio * (0.9 / max(float(np.abs(audio).max()), 1e-4)), RATE_HZ, format="WAV", subtype="PCM_16")
    entry = tarfile.TarInfo(name)
    entry.size = len(wav.getvalue())
    tar.addfile(entry, io.BytesIO(wav.getvalue()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cuelight.exporters.digits_ctc.voices", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="archive to write, .tar.gz")
    return parser


if __name__ == "__main__":
    main()
