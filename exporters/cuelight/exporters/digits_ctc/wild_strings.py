"""Strings for training: wilder than any test's, and by more voices than the dataset has.

Half the strings are by a synthetic voice (see `voices` and `kokoro`). A string has one speed of playing, which moves
its pitch and formants together, for its digits are by one speaker; the digits may bring the noise of the room they were
recorded in, which starts and ends with them; and the whole may come out of a room that echoes.
"""

import numpy as np
from numpy.typing import NDArray

from cuelight.exporters.digits_ctc.data import Digit, StringMaker
from cuelight.exporters.digits_ctc.features import SAMPLE_RATE_HZ

__all__ = ["WildStringMaker", "by_speaker"]

Audio = NDArray[np.float32]

SYNTHETIC_SHARE = 0.5
FORMANT_SHARE = 0.35
"""Of the synthetic strings, those by eSpeak NG: many voices, but less like people than the others."""
FORMANT_VOICES = "espeak"

_SPEED = 1.2
_ROOM_SHARE = 0.3
_ECHO_SHARE = 0.2
_ECHO_SAMPLES = 4_000
_STEP_SAMPLES = 1_600
_NOISE_S = 20


class WildStringMaker(StringMaker):
    """Makes strings of recorded digits, and of synthetic ones when there are any; `wildness` may change meanwhile."""

    def __init__(self, digits: list[Digit], synthetic: list[Digit], seed: int, max_digits: int = 6) -> None:
        super().__init__(digits, seed, hard=True, max_digits=max_digits)
        self.synthetic = synthetic
        self.wildness = 1.0
        self._formant = by_speaker([digit for digit in synthetic if digit.speaker.startswith(FORMANT_VOICES)])
        self._natural = by_speaker([digit for digit in synthetic if not digit.speaker.startswith(FORMANT_VOICES)])
        self._noises = [_coloured_noise(slope) for slope in (0.0, 0.3, 0.6, 0.9)]
        self._speed = 1.0
        self._room_noise: Audio | None = None

    def _choose(self, count: int) -> list[Digit]:
        """Return digits by one voice; those of the dataset are mixed now and then."""
        if not self.synthetic or not self._chance(SYNTHETIC_SHARE):
            chosen = super()._choose(count)
        else:
            formant = not self._natural or (bool(self._formant) and self._chance(FORMANT_SHARE))
            pools = self._formant if formant else self._natural
            pool = pools[self._random.integers(len(pools))]
            chosen = [pool[index] for index in self._random.integers(len(pool), size=count)]
        self._speed = self._between_factors(_SPEED**self.wildness)
        self._room_noise = (
            self._any_noise() * np.float32(self._decibels(-35, -8))
            if self._chance(self.wildness * _ROOM_SHARE)
            else None
        )
        return chosen

    def _spoken(self, digit: Digit) -> Audio:
        """Return the digit at the string's speed, a little more or less, with the noise of its room."""
        speed = self._speed * self._between_factors(1.06)
        length = max(2, int(len(digit.audio) / speed))
        positions = np.linspace(0, len(digit.audio) - 1, length)
        audio = np.interp(positions, np.arange(len(digit.audio)), digit.audio).astype(np.float32)
        if self._room_noise is not None:
            audio = audio + self._stretch_of(self._room_noise, length) * np.sqrt(np.mean(audio**2))
        return audio * np.float32(self._decibels(-8, 0))

    def _coloured(self, audio: Audio) -> Audio:
        """Return the audio through the equaliser, and now and then with an echo dying away in 0.08 to 0.45 s."""
        audio = super()._coloured(audio)
        if not self._chance(self.wildness * _ECHO_SHARE):
            return audio
        decay_s = self._random.uniform(0.08, 0.45)
        echo = self._random.standard_normal(_ECHO_SAMPLES)
        echo *= np.exp(-6.9 * np.arange(_ECHO_SAMPLES) / (decay_s * SAMPLE_RATE_HZ))
        echo *= self._decibels(-18, -4) / np.sqrt(np.sum(echo**2))
        echo[0] = 1.0
        samples = (len(audio) + _ECHO_SAMPLES) // _STEP_SAMPLES * _STEP_SAMPLES + _STEP_SAMPLES
        spectrum = np.fft.rfft(audio, samples) * np.fft.rfft(echo, samples)
        return np.fft.irfft(spectrum, samples)[: len(audio)].astype(np.float32)

    def _noise(self, samples: int) -> Audio:
        """Return noise of power 1 as in tests, cut out of long noises made once."""
        kind = self._random.uniform()
        if kind < 0.15:
            return np.zeros(samples, np.float32)
        if kind < 0.75:
            return self._stretch_of(self._any_noise(), samples)
        noise = self._babble(samples) + np.float32(0.02) * self._stretch_of(self._noises[0], samples)
        return np.asarray(noise / np.float32(np.sqrt(np.mean(noise**2)) + 1e-9), np.float32)

    def _any_noise(self) -> Audio:
        return self._noises[self._random.integers(len(self._noises))]

    def _stretch_of(self, noise: Audio, samples: int) -> Audio:
        start = int(self._random.integers(len(noise) - samples))
        return noise[start : start + samples]

    def _between_factors(self, widest: float) -> float:
        """Return a factor between 1 / `widest` and `widest`."""
        return float(np.exp(self._random.uniform(-np.log(widest), np.log(widest))))

    def _decibels(self, low: float, high: float) -> float:
        """Return the factor of an amplitude between two levels."""
        return float(10 ** (self._random.uniform(low, high) / 20))


def by_speaker(digits: list[Digit]) -> list[list[Digit]]:
    """Return the digits of each speaker, in the order in which the speakers come."""
    speakers: dict[str, list[Digit]] = {}
    for digit in digits:
        speakers.setdefault(digit.speaker, []).append(digit)
    return list(speakers.values())


def _coloured_noise(slope: float) -> Audio:
    """Return noise of power 1, its amplitude falling with frequency to the power of `slope`; always the same."""
    noise = np.random.default_rng(int(10 * slope)).standard_normal(_NOISE_S * SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(noise)
    shaped = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** slope, len(noise))
    return np.asarray(shaped / np.sqrt(np.mean(shaped**2)), np.float32)
