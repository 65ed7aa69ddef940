"""Moonshine: an encoder over a window of audio, and a decoder that is stepped for several windows at once.

A window that grows is convolved only where it is new (`hearing`) and encoded as a whole. The encoder takes one window
at a time: it normalizes over all of it, so padding would change what it says. The decoder's rows are independent but
for one thing: its weights are 8-bit, and the scale of the activations is taken over the whole batch, so that a logit is
a little different in company (see the tests for what that comes to).

Source: Jeffries et al., Moonshine: Speech recognition for live transcription and voice commands, 2024.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.inference.engine import SessionConfig, open_session
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.speech.segmented.hearing import MIN_NEW_SAMPLES, Hearing
from cuelight.server.speech.segmented.rows import Rows
from cuelight.server.speech.voice import Samples

__all__ = ["END", "FILES", "START", "MoonshineModel"]

Array = NDArray[np.float32]

START, END = 1, 2
MIN_SAMPLES = 1024
"""The encoder's convolutions need 895 samples to give one state."""
FILES = FRONTEND_FILE, ENCODER_FILE, DECODER_FILE = "frontend.onnx", "encoder.onnx", "decoder.onnx"
_NEVER = np.float32(-1e9)


class MoonshineModel:
    """The three sessions. Belongs to one thread once it is built."""

    def __init__(
        self, frontend: ort.InferenceSession, encoder: ort.InferenceSession, decoder: ort.InferenceSession
    ) -> None:
        self._frontend = frontend
        self._encoder = encoder
        self._decoder = decoder
        past = [value for value in decoder.get_inputs() if value.name.startswith("past.")]
        self._past_names = [value.name for value in past]
        self._outputs = ["logits", *(name.replace("past", "present") for name in self._past_names)]
        self._no_past = np.zeros((1, past[0].shape[1], 0, past[0].shape[3]), np.float32)

    @staticmethod
    def open(folder: Path, threads: int = 1) -> "MoonshineModel":
        """Open the files of a version's folder. Raises: ModelLoadError naming the file and the cause."""
        frontend, encoder, decoder = (_session(folder / name, threads) for name in FILES)
        if not any(value.name.startswith("past.") for value in decoder.get_inputs()):
            raise ModelLoadError(f"{folder / DECODER_FILE}: no decoder of Moonshine: it has no inputs past.*")
        return MoonshineModel(frontend, encoder, decoder)

    def encode(self, samples: Samples, hearing: Hearing | None = None) -> tuple[Array, Array]:
        """Return the states (1, states, width) of a window of audio (n,), and the same as (1, width, states).

        `hearing` is what was made of the beginning of this window before; one that is too short is filled up.
        """
        if len(samples) < MIN_SAMPLES:
            samples, hearing = np.pad(samples, (0, MIN_SAMPLES - len(samples))), None
        hearing = hearing if hearing is not None else Hearing()
        new = np.asarray(samples[hearing.next_sample :], np.float32)
        if len(new) >= MIN_NEW_SAMPLES:
            features, sums = self._frontend.run(["features", "sums"], {"audio": new[np.newaxis]})
            hearing.extend(features, sums)
        states, keys = self._encoder.run(["states", "keys"], hearing.of_window(len(samples)))
        return states, keys

    def begin(self, encoded: tuple[Array, Array], tokens: Sequence[int]) -> tuple[Rows, Array]:
        """Let the decoder consume the first tokens of one window; return it as one row, and the logits behind each
        token (tokens, vocabulary)."""
        states, keys = encoded
        count, new = states.shape[1], len(tokens)
        rows = Rows([self._no_past] * len(self._past_names), states, keys, [0], [count])
        later = np.triu(np.ones((new, new), np.bool_), 1)
        bias = np.where(later, _NEVER, np.float32(0))[np.newaxis, np.newaxis]
        return rows, self._consume(rows, np.array([tokens], np.int64), bias)[0]

    def step(self, rows: Rows, tokens: Sequence[int]) -> Array:
        """Let every row consume one token; return the logits behind it (rows, vocabulary)."""
        return self._consume(rows, np.array(tokens, np.int64)[:, np.newaxis], rows.step_bias())[:, 0]

    def _consume(self, rows: Rows, tokens: NDArray[np.int64], bias: Array) -> Array:
        new = tokens.shape[1]
        feeds = {
            "tokens": tokens,
            "positions": np.array(rows.lengths, np.int64)[:, np.newaxis] + np.arange(new),
            "states": rows.states,
            "keys": rows.keys,
            "state_bias": rows.state_bias(),
            "token_bias": bias,
        }
        feeds |= dict(zip(self._past_names, rows.past, strict=True))
        logits, *rows.past = self._decoder.run(self._outputs, feeds)
        rows.lengths = [length + new for length in rows.lengths]
        return np.asarray(logits)


def _session(path: Path, threads: int) -> ort.InferenceSession:
    if not path.is_file():
        raise ModelLoadError(f"{path}: no such file; a Moonshine that was exported before has to be exported again")
    try:
        return open_session(path, SessionConfig(threads=threads))
    except Exception as error:
        # ONNX Runtime raises a type of its own for every way a file can be broken; all mean the same here.
        raise ModelLoadError(f"{path}: ONNX Runtime cannot load it: {error}") from error
