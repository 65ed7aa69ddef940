"""The decoder's session: one step for a batch of rows.

The tensors that the encoder gave are filled up to the model's longest source, always: the sums of a row's attention
then run over the same places whoever else is in the batch, and so are the same bits.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.inference.datatypes import DATATYPE_OF_ORT_TYPE
from cuelight.server.inference.engine import SessionConfig, open_session
from cuelight.server.inference.golden import read_golden, replay
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_version import INLINE_STEP_S
from cuelight.server.inference.onnx_facts import TensorFacts, read_facts
from cuelight.server.inference.signature import ModelSignature, TensorSpec
from cuelight.server.text.transduction.rows import Rows

__all__ = ["Decoder"]

_TOKEN, _LENGTH, _LOG_PROBS, _ATTENTION = "token", "length", "log_probs", "attention"

_MOST_INLINE_ROWS, _REPEATS = 64, 5

Array = NDArray[np.float32]


class Decoder:
    """Belongs to the turn that runs once it is opened. `states` maps each state input to its output."""

    def __init__(self, session: ort.InferenceSession, states: Mapping[str, str], max_source_tokens: int) -> None:
        self._session = session
        self._states = states
        self._most = max_source_tokens
        names = [value.name for value in session.get_inputs()]
        self._fixed = [name for name in names if name != _TOKEN and name not in states]
        self.memories = [name for name in self._fixed if name != _LENGTH]
        """What it takes of the encoder besides the first states: tensors with the symbols on axis 1."""
        self._outputs = [_LOG_PROBS, *states.values()]
        self.has_attention = _ATTENTION in [value.name for value in session.get_outputs()]
        self.inline_rows = 0
        """The most rows whose step takes no longer than a run on the event loop may."""

    @staticmethod
    def open(path: Path, encoder_outputs: Sequence[str], max_source_tokens: int, threads: int = 1) -> "Decoder":
        """Open the file, check that it fits the encoder, and replay its golden vectors where it has any.

        Raises: ModelLoadError naming the file and the cause.
        """
        try:
            session = open_session(path, SessionConfig(threads=threads))
        except Exception as error:
            # ONNX Runtime raises a type of its own for every way a file can be broken; all mean the same here.
            raise ModelLoadError(f"{path}: ONNX Runtime cannot load it: {error}") from error
        decoder = Decoder(session, _states_of(session, path), max_source_tokens)
        decoder._check(path, encoder_outputs)
        decoder._prove(path)
        decoder._measure(path)
        return decoder

    def begin(self, encoded: Mapping[str, NDArray[Any]], length: int) -> Rows:
        """Return the one row of a source of `length` symbols, from the encoder's outputs (1, ...)."""
        fixed = {name: self._filled(encoded[name][:, :length]) for name in self.memories}
        if _LENGTH in self._fixed:
            fixed[_LENGTH] = np.array([length], np.int64)
        return Rows({name: np.ascontiguousarray(encoded[name]) for name in self._states}, fixed)

    def step(self, rows: Rows, tokens: Sequence[int], attention: bool) -> tuple[Rows, Array, Array | None]:
        """Feed a token to every row; return the rows after it, log-probabilities (rows, tokens), attention if asked."""
        feeds = {_TOKEN: np.array(tokens, np.int64), **rows.states, **rows.fixed}
        outputs = [*self._outputs, _ATTENTION] if attention else self._outputs
        log_probs, *rest = self._session.run(outputs, feeds)
        states = dict(zip(self._states, rest, strict=False))
        return Rows(states, rows.fixed), log_probs, rest[-1] if attention else None

    def _filled(self, array: NDArray[Any]) -> NDArray[Any]:
        missing = self._most - array.shape[1]
        return np.pad(array, [(0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)])

    def _check(self, path: Path, encoder_outputs: Sequence[str]) -> None:
        names = [value.name for value in self._session.get_inputs()]
        outputs = [value.name for value in self._session.get_outputs()]
        for name in (_TOKEN, *self._states):
            if name not in names:
                raise ModelLoadError(f'{path}: no input "{name}"; there are {", ".join(names)}')
        for name in self._outputs:
            if name not in outputs:
                raise ModelLoadError(f'{path}: no output "{name}"; there are {", ".join(outputs)}')
        for name in (*self._states, *self.memories):
            if name not in encoder_outputs:
                raise ModelLoadError(
                    f'{path}: input "{name}": the encoder gives none of that name, but {", ".join(encoder_outputs)}'
                )

    def _prove(self, path: Path) -> None:
        golden_path = path.with_suffix(".golden.npz")
        golden = read_golden(golden_path)
        if golden is None:
            return
        facts = read_facts(self._session)
        signature = ModelSignature(_specs(facts.inputs), _specs(facts.outputs), 1)
        replay(golden, lambda feeds: self._session.run(None, feeds), signature, str(golden_path))

    def _measure(self, path: Path) -> None:
        """Warm it up, and find out how many rows may be stepped on the event loop."""
        rows = 1
        while rows <= _MOST_INLINE_ROWS:
            started = Rows(self._zeros(self._states, rows), self._zeros(self._fixed, rows))
            try:
                took_s = min(self._timed_step(started, rows) for _ in range(_REPEATS))
            except Exception as error:
                # As above: whatever it raises, the model cannot be stepped.
                raise ModelLoadError(f"{path}: warming it up failed: {error}") from error
            if took_s >= INLINE_STEP_S:
                return
            self.inline_rows = rows
            rows *= 2

    def _timed_step(self, rows: Rows, count: int) -> float:
        started_s = time.perf_counter()
        self.step(rows, [0] * count, self.has_attention)
        return time.perf_counter() - started_s

    def _zeros(self, names: Iterable[str], rows: int) -> dict[str, NDArray[Any]]:
        """Return inputs of these names: a row each, symbols at their most, lengths of 1."""
        made: dict[str, NDArray[Any]] = {}
        for tensor in read_facts(self._session).inputs:
            if tensor.name in names:
                sizes = (rows, *(self._most if size < 0 else size for size in tensor.sizes[1:]))
                fill = int(tensor.name == _LENGTH)
                made[tensor.name] = np.full(sizes, fill, DATATYPE_OF_ORT_TYPE[tensor.ort_type].dtype)
        return made


def _states_of(session: ort.InferenceSession, path: Path) -> dict[str, str]:
    text = session.get_modelmeta().custom_metadata_map.get("cuelight.state", "")
    try:
        return {pair["input"]: pair["output"] for pair in json.loads(text)}
    except (ValueError, TypeError, KeyError) as error:
        raise ModelLoadError(
            f'{path}: metadata "cuelight.state": expected [{{"input": NAME, "output": NAME}}], got {text!r}'
        ) from error


def _specs(tensors: Sequence[TensorFacts]) -> dict[str, TensorSpec]:
    return {one.name: TensorSpec(one.name, DATATYPE_OF_ORT_TYPE[one.ort_type], one.sizes) for one in tensors}
