"""A decoder that computes with plain numbers what a test can compute as well, records its steps, and can be held."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.text.transduction.decoder import Decoder
from cuelight.server.text.transduction.rows import Rows
from tests.server.text.transduction.language import Language

__all__ = ["FakeDecoder", "source"]

POISON = -1


def source(seed: int) -> dict[str, NDArray[Any]]:
    """Return what an encoder gave for a text whose language is of this seed."""
    return {"seed": np.array([seed], np.int64)}


class FakeDecoder(Decoder):
    """Each row speaks the language of its seed; its state is all it was fed, as digits of one number."""

    has_attention = True

    def __init__(self, size: int = 5, inline_rows: int = 0) -> None:
        self.inline_rows = inline_rows
        self.steps: list[list[int]] = []
        """The seeds of each step's rows."""
        self.entered = threading.Event()
        self.fail_with: Exception | None = None
        self.stepped_on: Callable[[], None] = lambda: None
        """Called in every step, where it runs."""
        self._size = size
        self._gate = threading.Event()
        self._gate.set()

    def hold(self) -> None:
        """Make the next step wait for `let_go`."""
        self._gate.clear()
        self.entered.clear()

    def let_go(self) -> None:
        """Let a held step go on."""
        self._gate.set()

    def begin(self, encoded: Mapping[str, NDArray[Any]], length: int) -> Rows:
        """Return the row of a text; the seed POISON cannot begin."""
        if int(encoded["seed"][0]) == POISON:
            raise RuntimeError("this text cannot begin")
        return Rows({"fed": np.ones((1,), np.int64)}, {"seed": encoded["seed"]})

    def step(
        self, rows: Rows, tokens: Sequence[int], attention: bool
    ) -> tuple[Rows, NDArray[np.float32], NDArray[np.float32] | None]:
        """Return what follows the tokens fed so far, and as attention how many they are."""
        self.steps.append(rows.fixed["seed"].tolist())
        self.stepped_on()
        self.entered.set()
        assert self._gate.wait(10), "the test never let the decoder go"
        if self.fail_with is not None:
            failure, self.fail_with = self.fail_with, None
            raise failure
        fed = rows.states["fed"] * 10 + np.array(tokens, np.int64)
        # A one in front keeps zeros, and the start is no part of what was said.
        beginnings = [tuple(int(digit) for digit in str(number)[2:]) for number in fed]
        languages = [Language(self._size, int(seed)) for seed in rows.fixed["seed"]]
        log_probs = np.stack([one.after(said) for one, said in zip(languages, beginnings, strict=True)])
        looked = np.array([[len(said)] * 4 for said in beginnings], np.float32) if attention else None
        return Rows({"fed": fed}, rows.fixed), log_probs, looked
