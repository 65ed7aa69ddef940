"""Batches that run beside each other, fail, and lose their callers: each sequence steps as if it were alone."""

import asyncio
import itertools
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuelight.server.errors import InferenceFailed
from cuelight.server.inference.sequence_batcher import SequenceBatcher
from cuelight.server.inference.slot_engine import SlotEngine
from tests.sequence_models import LSTM_PAIRS, Alone, lstm_model, running_sum
from tests.server.inference.stateful import pair, run, total

SEQUENCES = 120
FAILING = 0.1


class Runs:
    """Makes an engine fail now and then, before or after its run, and counts the runs under way."""

    def __init__(self, engine: SlotEngine, seed: int) -> None:
        self._random = random.Random(seed)
        self._step = engine.step
        self._lock = threading.Lock()
        self._never = threading.Event()
        self.now = self.most = self.failed = 0
        engine.step = self.step  # type: ignore[assignment, method-assign]

    def step(self, *arguments: Any) -> dict[str, Any]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        fate = self._random.random()
        try:
            self._never.wait(self._random.random() * 0.003)
            if fate < FAILING / 2:
                raise RuntimeError("before the run")
            outputs = self._step(*arguments)
            if fate > 1 - FAILING / 2:
                raise RuntimeError("after the run")
            return outputs
        except RuntimeError:
            self.failed += 1
            raise
        finally:
            with self._lock:
                self.now -= 1


@pytest.mark.parametrize(("cores", "inline_rows"), [(4, 0), (4, 2), (1, 0)])
def test_no_sequence_is_mixed_up_run_twice_or_forgotten(tmp_path: Path, cores: int, inline_rows: int) -> None:
    model = lstm_model()
    alone = Alone(model, LSTM_PAIRS)

    async def scenario(sequences: SequenceBatcher) -> None:
        engine = sequences._lanes[0].engine
        engine.inline_rows = inline_rows
        runs = Runs(engine, seed=cores)
        await asyncio.gather(*(_speak(sequences, alone, name) for name in range(1, SEQUENCES + 1)))

        assert runs.failed > 0
        assert min(cores, 2) <= runs.most <= cores

    run(tmp_path, model, scenario, "max_batch_size: 8", cores=cores, max_sequences=2 * SEQUENCES)


def test_who_did_not_offend_goes_on_while_the_others_are_tried_one_by_one(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        engine = sequences._lanes[0].engine
        engine.inline_rows = 0
        step, went_on, calls = engine.step, threading.Event(), itertools.count()

        def gated(*arguments: Any) -> Any:
            call = next(calls)
            if call == 0:
                raise RuntimeError("both")
            assert call != 2 or went_on.wait(20)
            return step(*arguments)

        engine.step = gated  # type: ignore[assignment, method-assign]
        first, other = (sequences.submit(name, pair(1.0), start=True) for name in "ab")
        assert total(await sequences.submit("a", pair(2.0))) == 3.0
        went_on.set()
        assert [total(await first), total(await other)] == [1.0, 1.0]

    run(tmp_path, running_sum(), scenario, cores=2)


async def _speak(sequences: SequenceBatcher, alone: Alone, name: int) -> None:
    """Take steps, several at once, withdraw some of them, and compare those that happened."""
    chance = random.Random(name)
    state, steps = alone.begin(), 0
    for turn in range(6):
        inputs = [np.array([[chance.gauss(0, 1) for _ in range(8)]], np.float32) for _ in range(chance.randrange(1, 4))]
        futures = [
            sequences.submit(name, {"x": x}, start=not (turn or place), wants_state=chance.random() < 0.1)
            for place, x in enumerate(inputs)
        ]
        withdrawn = await _withdrawn(futures, chance.random)
        for x, future, gone in zip(inputs, futures, withdrawn, strict=True):
            try:
                result = None if gone else await future
            except InferenceFailed:
                result = None
            if result is not None:
                want, state = alone.step(state, {"x": x})
                steps += 1
                assert result.outputs["y"].tobytes() == want["y"].tobytes()
                assert result.steps == steps
    sequences.submit(name, {"x": inputs[0]}, end=True).cancel()


async def _withdrawn(futures: list[Any], chance: Callable[[], float]) -> list[bool]:
    """Cancel some of the steps after a while; return which."""
    if chance() < 0.6:
        return [False] * len(futures)
    await asyncio.sleep(chance() * 0.004)
    return [chance() < 0.5 and future.cancel() for future in futures]
