"""Moonshine as it is published, greedy and one token at a time, and the proof that our graphs say the same.

Weights are 8-bit and activations are rounded to 8 bits by the range that they have at the time, so that two ways to add
up the same numbers differ by what a rounding costs. The published decoder differs from itself by as much when another
row joins its batch; what is allowed here is little more.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.exporters.files_spec import ProofError

__all__ = ["SAMPLE_RATE_HZ", "STATES_ATOL", "OurMoonshine", "PublishedMoonshine", "prove"]

SAMPLE_RATE_HZ = 16_000
STATES_ATOL = 0.04
"""Root mean square of the difference of encoder states, whose own is 0.55."""
LOGITS_ATOL = 0.5
"""Root mean square of the difference of logits, which reach 28."""
_START, _END = 1, 2
_STRIDE = 384
_MAX_TOKENS = 80
_SPACE = "\u2581"
_WINDOWS_S = (1, 3, 9)

Array = NDArray[Any]


class PublishedMoonshine:
    """The three published files."""

    def __init__(self, encoder: Path, decoder: Path, tokenizer: Path) -> None:
        self.encoder, self.decoder, self.tokenizer = encoder, decoder, tokenizer
        self._encoder, self._decoder = _session(encoder), _session(decoder)
        self._vocabulary = list(_vocabulary(tokenizer.read_bytes()))
        self._past_names = [one.name for one in self._decoder.get_inputs() if one.name.startswith("past_key_values.")]

    def states(self, samples: Array) -> Array:
        """Return what the encoder makes of samples (n,) float32: (1, states, 288)."""
        feeds = {"input_values": samples[np.newaxis], "attention_mask": np.ones((1, len(samples)), np.int64)}
        return np.asarray(self._encoder.run(["last_hidden_state"], feeds)[0])

    def logits(self, states: Array, tokens: Sequence[int]) -> Array:
        """Return the logits behind each token, (tokens, vocabulary)."""
        return np.asarray(self._step(states, tokens, {})[0][0])

    def transcribe(self, samples: Array) -> tuple[list[int], str]:
        """Return what is said in samples (n,) float32: greedy, one token at a time, nothing clever."""
        states, past = self.states(samples), dict[str, Array]()
        tokens = [_START]
        while len(tokens) < _MAX_TOKENS:
            logits, past = self._step(states, tokens[-1:], past)
            token = int(logits[0, -1].argmax())
            if token == _END:
                break
            tokens.append(token)
        return tokens, self.text(tokens[1:])

    def text(self, tokens: Sequence[int]) -> str:
        """Return tokens as text."""
        joined = b"".join(self._vocabulary[token] for token in tokens).decode("utf-8", "ignore")
        return joined.replace(_SPACE, " ").strip()

    def _step(self, states: Array, tokens: Sequence[int], past: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        shape = next(value.shape for value in self._decoder.get_inputs() if value.name == self._past_names[0])
        none = np.zeros((1, shape[1], 0, shape[3]), np.float32)
        feeds = {
            "input_ids": np.array([tokens], np.int64),
            "encoder_hidden_states": states,
            "encoder_attention_mask": np.ones((1, states.shape[1] * _STRIDE), np.int64),
            "use_cache_branch": np.array([bool(past)]),
        }
        feeds |= past or dict.fromkeys(self._past_names, none)
        names = ["logits", *(name.replace("past_key_values", "present") for name in self._past_names)]
        logits, *present = self._decoder.run(names, feeds)
        new = dict(zip(self._past_names, present, strict=True))
        return np.asarray(logits), {name: new[name] if ".decoder." in name or not past else past[name] for name in new}


class OurMoonshine:
    """The graphs of a version's folder, used in the simplest way there is."""

    def __init__(self, folder: Path) -> None:
        names = ("frontend.onnx", "encoder.onnx", "decoder.onnx")
        self._frontend, self._encoder, self._decoder = (_session(folder / name) for name in names)
        self._past = [one.name for one in self._decoder.get_inputs() if one.name.startswith("past.")]

    def states(self, samples: Array) -> tuple[Array, Array]:
        """Return the states of samples (n,) float32, and the same with their last axes exchanged."""
        features, sums = self._frontend.run(["features", "sums"], {"audio": samples[np.newaxis]})
        mean, square = sums.sum(axis=1, dtype=np.float64) / (sums.shape[1] * 288)
        deviation = np.sqrt(square - mean**2 + 1e-5)
        feeds = {"features": features}
        feeds |= {"mean": np.array([mean], np.float32), "deviation": np.array([deviation], np.float32)}
        states, keys = self._encoder.run(["states", "keys"], feeds)
        return states, keys

    def logits(self, encoded: tuple[Array, Array], tokens: Sequence[int], past: int = 0) -> Array:
        """Return the logits behind each token, (tokens, vocabulary).

        With `past`, that many tokens are a past that stands behind two that are masked, and the last token is stepped.
        """
        first, rest = (list(tokens[:past]), list(tokens[past:])) if past else (list(tokens), [])
        none = {name: np.zeros((1, 8, 0, 36), np.float32) for name in self._past}
        logits, *present = self._run(encoded, first, 0, _causal(len(first)), none)
        if not rest:
            return np.asarray(logits[0])
        padded = [np.pad(one, ((0, 0), (0, 0), (2, 0), (0, 0)), constant_values=7) for one in present]
        bias = np.concatenate([np.full((len(rest), 2), -1e9), np.zeros((len(rest), past)), _causal(len(rest))], axis=1)
        logits, *_ = self._run(encoded, rest, past, bias, dict(zip(self._past, padded, strict=True)))
        return np.asarray(logits[0])

    def _run(
        self, encoded: tuple[Array, Array], tokens: list[int], start: int, bias: Array, past: dict[str, Array]
    ) -> list[Array]:
        states, keys = encoded
        feeds = {
            "tokens": np.array([tokens], np.int64),
            "positions": np.arange(start, start + len(tokens))[np.newaxis],
            "states": states,
            "keys": keys,
            "state_bias": np.zeros((1, 1, states.shape[1]), np.float32),
            "token_bias": bias.astype(np.float32)[np.newaxis, np.newaxis],
        }
        names = ["logits", *(name.replace("past", "present") for name in self._past)]
        return list(self._decoder.run(names, feeds | past))


def prove(theirs: PublishedMoonshine, folder: Path, samples: Array, said: str) -> str:
    """Return how far our graphs in `folder` are off the published ones. Raises: ProofError."""
    ours, lines = OurMoonshine(folder), []
    for seconds in _WINDOWS_S:
        window = samples[: seconds * SAMPLE_RATE_HZ]
        encoded, states = ours.states(window), theirs.states(window)
        tokens, _ = theirs.transcribe(window)
        off = {
            "encoder states": (_off(encoded[0], states), STATES_ATOL),
            "logits": (_off(ours.logits(encoded, tokens), theirs.logits(encoded[0], tokens)), LOGITS_ATOL),
            "logits behind a padded past": (
                _off(ours.logits(encoded, tokens, len(tokens) // 2), theirs.logits(encoded[0], tokens)),
                LOGITS_ATOL,
            ),
        }
        for what, (error, allowed) in off.items():
            lines.append(f"{seconds} s of speech: {what} are {error:.2e} off the published files', mean square")
            if not error <= allowed:
                raise ProofError(f"moonshine_tiny_en: {lines[-1]}, allowed are {allowed}")
    heard = theirs.text(_greedy(ours, samples))
    if _words(heard) != _words(said):
        raise ProofError(f'moonshine_tiny_en: heard "{heard}", said is "{said}"')
    return "\n".join([f'every word is right: "{heard}"', *lines])


def _greedy(ours: OurMoonshine, samples: Array) -> list[int]:
    encoded, tokens = ours.states(samples), [_START]
    while len(tokens) < _MAX_TOKENS:
        token = int(ours.logits(encoded, tokens)[-1].argmax())
        if token == _END:
            break
        tokens.append(token)
    return tokens[1:]


def _off(ours: Array, theirs: Array) -> float:
    """Return the root mean square of the difference, of the last rows where ours are fewer."""
    return float(np.sqrt(np.mean((ours - theirs[-len(ours) :]) ** 2)))


def _causal(count: int) -> Array:
    return np.where(np.triu(np.ones((count, count), np.bool_), 1), -1e9, 0.0)


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _vocabulary(data: bytes) -> Iterator[bytes]:
    """Yield the tokens: each its length, one byte or two from 128 on (low seven bits first), and its bytes."""
    at = 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = data[at] * 128 + length - 128, at + 1
        yield data[at : at + length]
        at += length


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())
