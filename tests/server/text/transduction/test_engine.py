"""The engine: who shares a step with whom, who leaves when, and that company changes nobody's output."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from cuelight.server.errors import DeadlineExceeded, InferenceFailed, Overloaded, ShuttingDown
from cuelight.server.text.transduction.beam import BeamSearch
from cuelight.server.text.transduction.engine import TransductionEngine
from cuelight.server.text.transduction.greedy import GreedySearch
from cuelight.server.text.transduction.job import Job
from cuelight.server.text.transduction.search import Hypothesis, Search, Token
from tests.server.text.transduction.fake_decoder import POISON, FakeDecoder, source
from tests.server.text.transduction.language import END, START, Language, searched

Scenario = Callable[[TransductionEngine, FakeDecoder], Awaitable[None]]


def run(scenario: Scenario, max_rows: int = 8, max_waiting: int = 100, inline_rows: int = 0) -> None:
    async def with_engine() -> None:
        decoder = FakeDecoder(inline_rows=inline_rows)
        engine = TransductionEngine("m", decoder, max_rows, max_waiting)
        try:
            await scenario(engine, decoder)
        finally:
            decoder.let_go()
            engine.close()

    asyncio.run(asyncio.wait_for(with_engine(), 30))


def search_for(seed: int, max_tokens: int = 12) -> Search:
    """Return a search of its own kind for every seed."""
    return BeamSearch(START, END, max_tokens, 3) if seed % 2 else GreedySearch(START, END, max_tokens)


def alone(seed: int) -> tuple[Hypothesis, ...]:
    search = search_for(seed)
    searched(search, Language(5, seed))
    return tuple(search.best())


def long_ones(odd: bool, count: int) -> list[int]:
    """Return the first seeds, odd ones for a beam, whose search takes at least five steps."""
    seeds = range(int(odd), 1000, 2)
    return [seed for seed in seeds if len(searched(search_for(seed), Language(5, seed))) >= 5][:count]


async def output(job: Job) -> tuple[list[Token], tuple[Hypothesis, ...]]:
    tokens: list[Token] = []
    async for news in job.updates():
        tokens += news.tokens
        if news.found:
            return tokens, news.found
    raise AssertionError("an output ended without a result")


def spoken(found: tuple[Hypothesis, ...]) -> list[tuple[list[int], float, bool]]:
    return [([token.number for token in one.tokens], one.score, one.complete) for one in found]


def held(decoder: FakeDecoder) -> Awaitable[bool]:
    """Wait for the decoder to be inside a step."""
    return asyncio.get_running_loop().run_in_executor(None, decoder.entered.wait, 10)


@pytest.mark.parametrize("inline_rows", [0, 3, 100])
def test_each_gets_what_it_would_get_alone_and_the_tokens_of_the_best_come_as_they_are_made(inline_rows: int) -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        jobs = [engine.submit(source(seed), 4, search_for(seed)) for seed in range(20)]

        outputs = await asyncio.gather(*(output(job) for job in jobs))

        for seed, (tokens, found) in enumerate(outputs):
            assert spoken(found) == spoken(alone(seed))
            assert [token.number for token in tokens] == [token.number for token in found[0].tokens]
        assert max(len(step) for step in decoder.steps) > 4

    run(scenario, inline_rows=inline_rows)


def test_who_comes_while_others_are_decoded_joins_at_the_next_step() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        one, two = long_ones(odd=False, count=2)
        decoder.hold()
        first = engine.submit(source(one), 4, search_for(one))
        await held(decoder)
        second = engine.submit(source(two), 4, search_for(two))
        decoder.let_go()

        outputs = [await output(job) for job in (first, second)]

        assert decoder.steps[:2] == [[one], [one, two]]
        assert [spoken(found) for _, found in outputs] == [spoken(alone(one)), spoken(alone(two))]

    run(scenario)


def test_few_rows_are_stepped_on_the_event_loop_and_more_on_the_thread() -> None:
    threads: list[bool] = []

    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        loops_own = threading.get_ident()
        decoder.stepped_on = lambda: threads.append(threading.get_ident() == loops_own)
        await output(engine.submit(source(0), 4, search_for(0)))
        assert threads
        assert all(threads)
        threads.clear()

        await output(engine.submit(source(1), 4, search_for(1)))

        assert threads
        assert not any(threads)

    run(scenario, inline_rows=2)


def test_no_more_hypotheses_than_rows_and_whoever_came_first_goes_first() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        jobs = [engine.submit(source(seed), 4, search_for(seed)) for seed in range(12)]

        await asyncio.gather(*(output(job) for job in jobs))

        assert max(len(step) for step in decoder.steps) <= 4
        seen: list[int] = []
        for step in decoder.steps:
            seen += [seed for seed in step if seed not in seen]
        assert seen == list(range(12))

    run(scenario, max_rows=4)


def test_a_caller_that_leaves_is_stepped_no_further_and_harms_nobody() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        one, other = long_ones(odd=True, count=2)
        decoder.hold()
        leaving, staying = (engine.submit(source(seed), 4, search_for(seed)) for seed in (one, other))
        await held(decoder)
        waiting = engine.submit(source(5), 4, search_for(5))
        engine.leave(leaving)
        engine.leave(waiting)
        decoder.let_go()

        _, found = await output(staying)
        engine.leave(staying)

        assert decoder.steps[0] == [one, other]
        assert all(set(step) == {other} for step in decoder.steps[1:])
        assert len(decoder.steps) > 1
        assert spoken(found) == spoken(alone(other))
        assert engine.waiting == 0

    run(scenario)


def test_whom_no_answer_can_reach_in_time_is_dropped_before_a_step() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        late = engine.submit(source(0), 4, search_for(0), deadline_s=0.0)
        other = engine.submit(source(2), 4, search_for(2))

        with pytest.raises(DeadlineExceeded):
            await output(late)
        await output(other)

        assert all(step == [2] for step in decoder.steps)

    run(scenario)


def test_a_full_queue_refuses_at_once_and_frees_itself() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        decoder.hold()
        first = engine.submit(source(0), 4, search_for(0))
        await held(decoder)
        waiting = [engine.submit(source(seed), 4, search_for(seed)) for seed in (2, 4)]
        with pytest.raises(Overloaded, match='model "m": 2 texts wait, its queue is full'):
            engine.submit(source(6), 4, search_for(6))
        engine.leave(waiting[0])
        waiting[0] = engine.submit(source(6), 4, search_for(6))
        decoder.let_go()

        outputs = [await output(job) for job in (first, *waiting)]

        assert [spoken(found) for _, found in outputs] == [spoken(alone(seed)) for seed in (0, 6, 4)]

    run(scenario, max_waiting=2)


def test_a_text_that_cannot_begin_fails_alone() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        bad, good = (engine.submit(source(seed), 4, search_for(0)) for seed in (POISON, 0))

        with pytest.raises(InferenceFailed, match='model "m" failed'):
            await output(bad)

        assert spoken((await output(good))[1]) == spoken(alone(0))

    run(scenario)


def test_a_step_that_fails_fails_those_in_it_and_the_engine_goes_on() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        decoder.fail_with = RuntimeError("out of memory")
        doomed = [engine.submit(source(seed), 4, search_for(seed)) for seed in (0, 1)]
        for job in doomed:
            with pytest.raises(InferenceFailed):
                await output(job)

        after = engine.submit(source(2), 4, search_for(2))

        assert spoken((await output(after))[1]) == spoken(alone(2))

    run(scenario)


def test_attention_goes_to_those_who_asked_and_is_as_long_as_their_source() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        asked = engine.submit(source(0), 3, search_for(0), attention=True)
        other = engine.submit(source(2), 3, search_for(2))

        (tokens, _), (others, _) = await output(asked), await output(other)

        assert [token.attention.tolist() for token in tokens if token.attention is not None] == [
            [float(place)] * 3 for place in range(len(tokens))
        ]
        assert all(token.attention is None for token in others)

    run(scenario)


def test_closing_answers_everybody() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        decoder.hold()
        jobs = [engine.submit(source(0), 4, search_for(0))]
        await held(decoder)
        jobs.append(engine.submit(source(2), 4, search_for(2)))
        engine.close()
        engine.close()
        decoder.let_go()

        for job in jobs:
            with pytest.raises(ShuttingDown):
                await output(job)
            engine.leave(job)
        with pytest.raises(ShuttingDown):
            engine.submit(source(4), 4, search_for(4))
        await engine.outlive()

    run(scenario)


def test_a_model_that_is_replaced_outlives_those_who_are_here() -> None:
    async def scenario(engine: TransductionEngine, decoder: FakeDecoder) -> None:
        with engine.visit():
            outlived = asyncio.ensure_future(engine.outlive())
            await asyncio.sleep(0)
            assert not outlived.done()
            job = engine.submit(source(0), 4, search_for(0))

            assert spoken((await output(job))[1]) == spoken(alone(0))
            engine.leave(job)
            assert not outlived.done()
            assert engine.load == 1

        await outlived
        assert engine.load == 0

    run(scenario)
