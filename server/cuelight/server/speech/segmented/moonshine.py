"""Moonshine: an encoder over a window of audio, and a decoder with caches that is stepped for several windows at once.

The encoder takes one window at a time: it normalizes over the whole window, so padding would change what it says. The
decoder's rows are independent but for one thing: its weights are 8-bit, and the scale of the activations is taken over
the whole batch, so that a logit is a little different in company (see the tests for what that comes to).

A `Cohort` is a batch of decodes that have consumed equally many tokens: that is what the graph can step together, for
it has no mask over the past. What the decoder knows of the audio is padded to the longest window and masked.

Source: Jeffries et al., Moonshine: Speech recognition for live transcription and voice commands, 2024.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.inference.engine import SessionConfig, open_session
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.speech.voice import Samples

__all__ = ["END", "START", "Cohort", "MoonshineModel"]

Array = NDArray[np.float32]

START, END = 1, 2
MIN_SAMPLES = 1024
"""The encoder's convolutions need 895 samples to give one state."""
_STRIDE = 384
"""Samples for one state of the encoder; the decoder takes every 384th value of its mask."""


class Cohort:
    """Decodes whose pasts are equally long. `states` is the length of each one's window."""

    def __init__(self, past: list[Array], cross: list[Array], hidden: Array, states: list[int]) -> None:
        self.past = past
        self.cross = cross
        self.hidden = hidden
        self.states = states

    def __len__(self) -> int:
        return len(self.states)

    @property
    def length(self) -> int:
        """How many tokens its members have consumed."""
        return int(self.past[0].shape[2])

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self.past = [np.ascontiguousarray(array[:, :, :length]) for array in self.past]

    def merge(self, other: "Cohort") -> None:
        """Take the members of another cohort of the same length behind one's own."""
        assert self.length == other.length
        width = max(self.hidden.shape[1], other.hidden.shape[1])
        self.past = [np.concatenate(pair) for pair in zip(self.past, other.past, strict=True)]
        self.cross = [
            np.concatenate([_padded(mine, 2, width), _padded(theirs, 2, width)])
            for mine, theirs in zip(self.cross, other.cross, strict=True)
        ]
        self.hidden = np.concatenate([_padded(self.hidden, 1, width), _padded(other.hidden, 1, width)])
        self.states = self.states + other.states

    def keep(self, rows: Sequence[int]) -> None:
        """Let every member go but those."""
        index = list(rows)
        self.states = [self.states[row] for row in index]
        width = max(self.states, default=0)
        self.past = [array[index] for array in self.past]
        self.cross = [np.ascontiguousarray(array[index, :, :width]) for array in self.cross]
        self.hidden = np.ascontiguousarray(self.hidden[index, :width])

    def mask(self) -> NDArray[np.int64]:
        """Return which samples are audio, (rows, samples): of every window its own length."""
        ends = np.array(self.states)[:, np.newaxis] * _STRIDE
        return (np.arange(self.hidden.shape[1] * _STRIDE) < ends).astype(np.int64)


class MoonshineModel:
    """The two sessions. Belongs to one thread once it is built."""

    def __init__(self, encoder: ort.InferenceSession, decoder: ort.InferenceSession) -> None:
        self._encoder = encoder
        self._decoder = decoder
        inputs = {value.name: value for value in decoder.get_inputs() if value.name.startswith("past_key_values.")}
        self._past_names = [name for name in inputs if ".decoder." in name]
        self._cross_names = [name for name in inputs if ".encoder." in name]
        self._present_names = [_present(name) for name in self._past_names]
        shape = next(iter(inputs.values())).shape
        self._no_past = np.zeros((1, shape[1], 0, shape[3]), np.float32)

    @staticmethod
    def open(encoder: Path, decoder: Path, threads: int = 1) -> "MoonshineModel":
        """Open both files. Raises: ModelLoadError naming the file and the cause."""
        model = MoonshineModel(_session(encoder, threads), _session(decoder, threads))
        if not model._past_names or not model._cross_names:
            raise ModelLoadError(f"{decoder}: no decoder of Moonshine: it has no inputs past_key_values.*")
        return model

    def encode(self, samples: Samples) -> Array:
        """Return the states (1, states, width) of a window of audio (n,); one that is too short is filled up."""
        window = samples if len(samples) >= MIN_SAMPLES else np.pad(samples, (0, MIN_SAMPLES - len(samples)))
        feeds = {
            "input_values": np.ascontiguousarray(window[np.newaxis], np.float32),
            "attention_mask": np.ones((1, len(window)), np.int64),
        }
        (hidden,) = self._encoder.run(["last_hidden_state"], feeds)
        return np.asarray(hidden, np.float32)

    def begin(self, hidden: Array, tokens: Sequence[int]) -> tuple[Cohort, Array]:
        """Let the decoder consume the first tokens of one window; return a cohort of one, and the logits behind each
        token (tokens, vocabulary)."""
        cohort = Cohort([], [], hidden, [hidden.shape[1]])
        feeds = self._feeds(cohort, np.array([tokens], np.int64), first=True)
        feeds |= dict.fromkeys((*self._past_names, *self._cross_names), self._no_past)
        names = ["logits", *self._present_names, *(_present(name) for name in self._cross_names)]
        logits, *caches = self._decoder.run(names, feeds)
        count = len(self._past_names)
        cohort.past, cohort.cross = caches[:count], caches[count:]
        return cohort, logits[0]

    def step(self, cohort: Cohort, tokens: Sequence[int]) -> Array:
        """Let every member of a cohort consume one token; return the logits behind it (members, vocabulary)."""
        feeds = self._feeds(cohort, np.array(tokens, np.int64)[:, np.newaxis], first=False)
        feeds |= dict(zip(self._past_names, cohort.past, strict=True))
        feeds |= dict(zip(self._cross_names, cohort.cross, strict=True))
        logits, *past = self._decoder.run(["logits", *self._present_names], feeds)
        cohort.past = past
        return np.asarray(logits[:, -1])

    def _feeds(self, cohort: Cohort, ids: NDArray[np.int64], first: bool) -> dict[str, Any]:
        return {
            "input_ids": ids,
            "encoder_hidden_states": cohort.hidden,
            "encoder_attention_mask": cohort.mask(),
            "use_cache_branch": np.array([not first]),
        }


def _present(name: str) -> str:
    return name.replace("past_key_values", "present")


def _padded(array: Array, axis: int, size: int) -> Array:
    missing = size - array.shape[axis]
    if not missing:
        return array
    widths = [(0, missing if at == axis else 0) for at in range(array.ndim)]
    return np.pad(array, widths)


def _session(path: Path, threads: int) -> ort.InferenceSession:
    if not path.is_file():
        raise ModelLoadError(f"{path}: no such file; Moonshine needs it")
    try:
        return open_session(path, SessionConfig(threads=threads))
    except Exception as error:
        # ONNX Runtime raises a type of its own for every way a file can be broken; all mean the same here.
        raise ModelLoadError(f"{path}: ONNX Runtime cannot load it: {error}") from error
