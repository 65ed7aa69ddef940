"""Spoken digits out of the archive, and strings of them as people say them into all sorts of microphones.

A string is made of single digits, one after the other or with gaps, at random speed and level; then it goes through a
random equaliser or a telephone's band, and noise is added: white, pink, or other voices.
Data: Free Spoken Digit Dataset, 3,000 recordings, 6 speakers, 8 kHz, CC-BY-SA-4.0.
"""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from cuelight.exporters.digits_ctc.features import SAMPLE_RATE_HZ

__all__ = ["Digit", "StringMaker", "Utterance", "read_digits", "split"]

Audio = NDArray[np.float32]

HELD_OUT_SPEAKER = "theo"
"""Never trained on. Chosen before the first training."""
DEV_TAKES = 5
"""So many first takes of each digit by each speaker are never trained on: the dataset's own test split."""

_STEP_SAMPLES = 1_600
"""Strings are multiples of this: lengths with large prime factors make a Fourier transform slow."""


@dataclass(frozen=True, slots=True)
class Digit:
    """One recording: which digit, who says it, how many takes came before, and the audio at 16 kHz, peak 1."""

    digit: int
    speaker: str
    take: int
    audio: Audio


@dataclass(frozen=True, slots=True)
class Utterance:
    """A string of digits, its audio at 16 kHz in [-1, 1], and where in it (first sample, end) each digit is spoken."""

    digits: tuple[int, ...]
    audio: Audio
    spans: tuple[tuple[int, int], ...]


def read_digits(archive: Path) -> list[Digit]:
    """Return every recording of the archive (`.tar.gz` of `{digit}_{speaker}_{take}.wav`), sorted.

    Raises: ValueError when the archive holds no such recordings.
    """
    digits = []
    with tarfile.open(archive) as tar:
        for member in tar:  # in the archive's own order: going back means unpacking it from its start
            parts = Path(member.name).stem.split("_")
            file = tar.extractfile(member) if member.name.endswith(".wav") else None
            if file is None or len(parts) != 3:
                continue
            audio, rate_hz = soundfile.read(io.BytesIO(file.read()), dtype="float32")
            audio = soxr.resample(audio, rate_hz, SAMPLE_RATE_HZ)
            audio = (audio / max(float(np.abs(audio).max()), 1e-4)).astype(np.float32)
            digits.append(Digit(int(parts[0]), parts[1], int(parts[2]), audio))
    if not digits:
        raise ValueError(f"{archive}: expected recordings named digit_speaker_take.wav, found none")
    return sorted(digits, key=lambda digit: (digit.speaker, digit.digit, digit.take))


def split(digits: list[Digit]) -> tuple[list[Digit], list[Digit], list[Digit]]:
    """Return what to train on, unheard takes of the same speakers, and the speaker held out."""
    held_out = [digit for digit in digits if digit.speaker == HELD_OUT_SPEAKER]
    others = [digit for digit in digits if digit.speaker != HELD_OUT_SPEAKER]
    return (
        [digit for digit in others if digit.take >= DEV_TAKES],
        [digit for digit in others if digit.take < DEV_TAKES],
        held_out,
    )


class StringMaker:
    """Makes strings at random from its digits. `hard` is for training (see `wild_strings`): more noise, less level."""

    def __init__(self, digits: list[Digit], seed: int, hard: bool, max_digits: int = 8) -> None:
        self.max_digits = max_digits
        self._random = np.random.default_rng(seed)
        self._hard = hard
        self._by_speaker: dict[str, list[Digit]] = {}
        for digit in digits:
            self._by_speaker.setdefault(digit.speaker, []).append(digit)
        self._speakers = list(self._by_speaker)
        self.digits = digits

    def make(self) -> Utterance:
        """Return the next string: 1 to `max_digits` digits; in training, now and then none at all."""
        count = int(self._random.integers(1, self.max_digits + 1))
        if self._hard and self._chance(0.03):
            count = 0
        chosen = self._choose(count)
        pieces = [self._spoken(digit) for digit in chosen]
        starts, length = self._placed(pieces)
        audio = np.zeros(length, np.float32)
        for start, piece in zip(starts, pieces, strict=True):
            audio[start : start + len(piece)] += piece
        spans = tuple((start, start + len(piece)) for start, piece in zip(starts, pieces, strict=True))
        return Utterance(tuple(digit.digit for digit in chosen), self._with_noise(self._coloured(audio)), spans)

    def _choose(self, count: int) -> list[Digit]:
        speaker = self._speakers[self._random.integers(len(self._speakers))]
        mixed = self._hard and self._chance(0.2)
        pool = self.digits if mixed else self._by_speaker[speaker]
        return [pool[index] for index in self._random.integers(len(pool), size=count)]

    def _spoken(self, digit: Digit) -> Audio:
        """Return the digit faster or slower, louder or softer; speed moves the pitch along."""
        speed = float(np.exp(self._random.uniform(np.log(0.9), np.log(1.1))))
        length = max(2, int(len(digit.audio) / speed))
        positions = np.linspace(0, len(digit.audio) - 1, length)
        audio = np.interp(positions, np.arange(len(digit.audio)), digit.audio).astype(np.float32)
        return audio * np.float32(10 ** (self._random.uniform(-6, 0) / 20))

    def _placed(self, pieces: list[Audio]) -> tuple[list[int], int]:
        """Return where each piece starts, gaps being -0.04 to 0.5 s, and the length with silence at both ends."""
        tight, widest_s = self._chance(0.4), 0.3 if self._hard else 0.5
        start = end = int(self._random.uniform(0.0, 0.4) * SAMPLE_RATE_HZ)
        starts = []
        for piece in pieces:
            starts.append(start)
            end = max(end, start + len(piece))
            gap_s = self._random.uniform(-0.04, 0.08) if tight else self._random.uniform(0.0, widest_s)
            start = max(start + len(piece) // 2, start + len(piece) + int(gap_s * SAMPLE_RATE_HZ))
        length = end + int(self._random.uniform(0.35, 0.7) * SAMPLE_RATE_HZ)
        return starts, length // _STEP_SAMPLES * _STEP_SAMPLES

    def _coloured(self, audio: Audio) -> Audio:
        """Return the audio through a random equaliser (up to 6 dB), half the time in a telephone's band as well."""
        if not self._chance(0.7 if self._hard else 0.5):
            return audio
        spectrum = np.fft.rfft(audio)
        hz = np.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum))
        knots_hz = np.array([0, 300, 600, 1_200, 2_000, 3_000, 4_000, 8_000])
        limit_db = 6.0 if self._hard else 3.0
        gain_db = np.interp(hz, knots_hz, self._random.uniform(-limit_db, limit_db, len(knots_hz)))
        if self._chance(0.5):
            low_hz, high_hz = self._random.uniform(50, 350), self._random.uniform(2_800, 3_900)
            gain_db = gain_db - 60 * (1 / (1 + np.exp((hz - low_hz) / 25)) + 1 / (1 + np.exp((high_hz - hz) / 80)))
        return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(audio)).astype(np.float32)

    def _with_noise(self, audio: Audio) -> Audio:
        """Return the audio with noise 10 to 50 dB below it (in tests 15 to 50) and the whole at a random level."""
        snr_db = self._random.uniform(10 if self._hard else 15, 50)
        speech = float(np.sqrt(np.mean(audio[np.abs(audio) > 0.02] ** 2))) if np.any(np.abs(audio) > 0.02) else 0.1
        noise = self._noise(len(audio))
        noisy = audio + noise * np.float32(speech * 10 ** (-snr_db / 20))
        level_db = self._random.uniform(-32 if self._hard else -24, -1)
        return np.asarray(noisy * (10 ** (level_db / 20) / max(float(np.abs(noisy).max()), 1e-4)), np.float32)

    def _noise(self, samples: int) -> Audio:
        """Return noise of power 1: none, white, pink, or three voices at once."""
        kind = self._random.uniform()
        if kind < 0.15:
            return np.zeros(samples, np.float32)
        noise = self._random.standard_normal(samples, np.float32)
        if kind < 0.5:
            spectrum = np.fft.rfft(noise)
            slope = self._random.uniform(0.3, 1.0)
            noise = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** slope, samples).astype(np.float32)
        elif kind < 0.7:
            noise = self._babble(samples) + np.float32(0.02) * noise
        return np.asarray(noise / np.float32(np.sqrt(np.mean(noise**2)) + 1e-9), np.float32)

    def _babble(self, samples: int) -> Audio:
        noise = np.zeros(samples, np.float32)
        for _ in range(6):
            at = 0
            while at < samples:
                piece = self.digits[self._random.integers(len(self.digits))].audio[: samples - at]
                noise[at : at + len(piece)] += piece[::-1]
                at += len(piece)
        return noise

    def _chance(self, probability: float) -> bool:
        return bool(self._random.uniform() < probability)
