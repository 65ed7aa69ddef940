"""Windows decoded together give what each gives alone, and what goes wrong with one harms no other. Real weights."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuelight.server.errors import ShuttingDown
from cuelight.server.speech.segmented.engine import PATIENCE_S, SpeechEngine, Urgency
from cuelight.server.speech.segmented.moonshine import MoonshineModel
from tests.server.speech.segmented.conftest import Utterance

pytestmark = pytest.mark.slow

SHORT = 40_000


def run(
    folder: Path, scenario: Callable[[SpeechEngine], Coroutine[Any, Any, None]], patience_s: float = PATIENCE_S
) -> None:
    async def whole() -> None:
        engine = SpeechEngine(MoonshineModel.open(folder), 16_000, patience_s)
        try:
            await scenario(engine)
        finally:
            engine.close()

    asyncio.run(asyncio.wait_for(whole(), 300))


def test_windows_decoded_together_say_what_each_says_alone(moonshine_folder: Path, utterances: list[Utterance]) -> None:
    """Weights are 8-bit: the scale of activations is taken over the batch, so a near tie may fall the other way."""

    async def scenario(engine: SpeechEngine) -> None:
        windows = [utterance.samples[: 32_000 + 4_000 * at] for at, utterance in enumerate(utterances[:8])]
        alone = [await engine.transcribe(window) for window in windows]
        engine.steps = engine.stepped_tokens = 0

        together = await asyncio.gather(*(engine.transcribe(window) for window in windows))

        assert engine.stepped_tokens / engine.steps > 3, "they were not decoded together"
        same = sum(one.tokens == other.tokens for one, other in zip(alone, together, strict=True))
        assert same >= 7

    run(moonshine_folder, scenario)


@pytest.mark.parametrize("patience_s", [1e9, 0.0], ids=["they stand back", "they have waited for long"])
def test_a_final_result_does_not_wait_for_interim_ones(
    patience_s: float, moonshine_folder: Path, utterances: list[Utterance]
) -> None:
    async def scenario(engine: SpeechEngine) -> None:
        windows = [utterance.samples[:SHORT] for utterance in utterances[:3]]
        interim = [engine.transcribe(window, urgency=Urgency.INTERIM) for window in windows[1:]]

        await engine.transcribe(windows[0], urgency=Urgency.FINAL)

        # One of them was admitted before the final result was asked for.
        if patience_s:
            assert not interim[1].done()
            assert engine.stepped_tokens <= 2 * engine.steps
        else:
            assert engine.stepped_tokens > 2 * engine.steps
        await asyncio.gather(*interim)

    run(moonshine_folder, scenario, patience_s)


@pytest.mark.parametrize(("urgency", "waits"), [(Urgency.INTERIM, True), (Urgency.RECORDING, False)])
def test_who_decodes_for_long_lets_no_other_in_unless_nobody_waits(
    urgency: int, waits: bool, moonshine_folder: Path, utterances: list[Utterance]
) -> None:
    async def scenario(engine: SpeechEngine) -> None:
        long = engine.transcribe(utterances[0].samples, urgency=urgency)
        [member] = engine._members
        late_s = member.admitted_s + 10
        next_one = engine.transcribe(utterances[1].samples[:SHORT], urgency=urgency)
        [window] = engine._waiting

        assert engine._has_to_wait(window, late_s) == waits
        await asyncio.gather(long, next_one)

    run(moonshine_folder, scenario)


def test_a_draft_saves_steps_and_changes_nothing(moonshine_folder: Path, utterances: list[Utterance]) -> None:
    async def scenario(engine: SpeechEngine) -> None:
        window = utterances[0].samples[:SHORT]
        whole = await engine.transcribe(window)
        steps = engine.steps

        drafted = await engine.transcribe(window, whole.tokens)

        assert drafted.tokens == whole.tokens
        assert engine.steps - steps <= 3

    run(moonshine_folder, scenario)


def test_forced_tokens_are_kept(moonshine_folder: Path, utterances: list[Utterance]) -> None:
    async def scenario(engine: SpeechEngine) -> None:
        other = (await engine.transcribe(utterances[1].samples[:SHORT])).tokens[:4]

        forced = await engine.transcribe(utterances[0].samples[:SHORT], other, 4)

        assert forced.tokens[:4] == other

    run(moonshine_folder, scenario)


def test_a_caller_that_leaves_harms_nobody(moonshine_folder: Path, utterances: list[Utterance]) -> None:
    async def scenario(engine: SpeechEngine) -> None:
        alone = await engine.transcribe(utterances[0].samples[:SHORT])
        futures = [engine.transcribe(utterances[index].samples[:SHORT]) for index in (0, 1, 2)]
        futures[1].cancel()

        first = await futures[0]
        futures[2].cancel()
        again = await engine.transcribe(utterances[0].samples[:SHORT])

        assert first.tokens == again.tokens == alone.tokens
        assert engine.load == 0

    run(moonshine_folder, scenario)


def test_a_window_the_model_cannot_take_fails_alone(moonshine_folder: Path, utterances: list[Utterance]) -> None:
    async def scenario(engine: SpeechEngine) -> None:
        good = engine.transcribe(utterances[0].samples[:SHORT])
        bad = engine.transcribe(utterances[1].samples[:SHORT], (10**6,))

        results = await asyncio.gather(good, bad, return_exceptions=True)

        assert not isinstance(results[0], BaseException)
        assert isinstance(results[1], Exception)
        assert engine.load == 0

    run(moonshine_folder, scenario)


def test_silence_and_a_single_sample_are_no_errors(moonshine_folder: Path) -> None:
    async def scenario(engine: SpeechEngine) -> None:
        for samples in (1, 800, 16_000):
            await engine.transcribe(np.zeros(samples, np.float32))

    run(moonshine_folder, scenario)


def test_a_closed_engine_leaves_nobody_hanging(moonshine_folder: Path, utterances: list[Utterance]) -> None:
    async def scenario(engine: SpeechEngine) -> None:
        futures = [engine.transcribe(utterances[index].samples[:SHORT]) for index in range(4)]
        await asyncio.sleep(0)

        engine.close()

        results = await asyncio.gather(*futures, return_exceptions=True)
        assert all(isinstance(result, ShuttingDown) for result in results)
        with pytest.raises(ShuttingDown):
            engine.transcribe(utterances[0].samples[:SHORT])

    run(moonshine_folder, scenario)
