"""What was shown is noted beside the answer, stored in groups, never beyond a bound, and never of who is forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cuelight.server.recommender.experiments.exposure_log import ExposureLog
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.exposures import Exposed, VariantKey
from cuelight.server.recommender.store.outcomes import Outcome
from cuelight.server.recommender.writes import ForgetUsers, Record, UpsertItems
from cuelight.server.rpc.lifecycle import BackgroundTasks

KEY = VariantKey("home", "a")
OTHER = VariantKey("home", "b")
SHARES = {"home": {"a": 0.5, "b": 0.5}}


def log_of(scenario: Callable[[ExposureLog], None], max_noted: int = 100) -> None:
    async def run() -> None:
        log = ExposureLog(max_noted)
        scenario(log)
        log.parts()

    asyncio.run(run())


def test_shelves_of_one_user_and_variant_are_told_together_with_their_first_times() -> None:
    def scenario(log: ExposureLog) -> None:
        log.note(KEY, "ann", ["x", "y"], 5.0)
        log.note(KEY, "ann", ["y", "z"], 6.0)
        log.note(OTHER, "ann", ["x"], 7.0)

        assert log.take() == [
            Exposed(KEY, "ann", 5.0, 2, {"x": 5.0, "y": 5.0, "z": 6.0}),
            Exposed(OTHER, "ann", 7.0, 1, {"x": 7.0}),
        ]
        assert log.take() == []

    log_of(scenario)


def test_beyond_the_bound_shelves_are_dropped_and_counted() -> None:
    def scenario(log: ExposureLog) -> None:
        log.note(KEY, "ann", ["x", "y"], 5.0)
        log.note(KEY, "bob", ["x"], 5.0)
        log.note(KEY, "ann", ["x", "y"], 6.0)
        log.note(KEY, "ann", ["z"], 6.0)

        assert log.dropped == 2
        assert [(one.user, one.shelves) for one in log.take()] == [("ann", 2)]
        log.note(KEY, "bob", ["x"], 7.0)
        assert [one.user for one in log.take()] == ["bob"]

    log_of(scenario, max_noted=3)


def test_what_could_not_be_stored_is_told_again_with_what_came_since() -> None:
    def scenario(log: ExposureLog) -> None:
        log.note(KEY, "ann", ["x"], 5.0)
        taken = log.take()
        log.note(KEY, "ann", ["x", "y"], 6.0)

        log.put_back(taken)

        assert log.take() == [Exposed(KEY, "ann", 5.0, 2, {"x": 5.0, "y": 6.0})]

    log_of(scenario)


def test_nothing_is_noted_of_who_is_being_forgotten() -> None:
    def scenario(log: ExposureLog) -> None:
        log.note(KEY, "ann", ["x"], 5.0)
        taken = log.take()
        log.note(KEY, "ann", ["x"], 5.0)
        log.note(KEY, "bob", ["x"], 5.0)
        with log.watching("ann") as watch, log.watching("bob") as other, log.forgetting({"ann"}):
            log.note(KEY, "ann", ["x"], 6.0)
            log.put_back(taken)
            assert (watch.forgotten, other.forgotten) == (True, False)
        assert [one.user for one in log.take()] == ["bob"]
        log.note(KEY, "ann", ["x"], 7.0)
        assert [one.first_s for one in log.take()] == [7.0], "who comes back is somebody new"

    log_of(scenario)


def test_it_is_due_a_while_after_a_note_and_again_for_what_comes_later() -> None:
    async def run() -> None:
        log = ExposureLog(delay_s=0.0)
        assert log.parts() == 0
        for user in ("ann", "bob"):
            log.note(KEY, user, ["x"], 5.0)
            await asyncio.wait_for(log.due.wait(), 10)
            assert log.parts() == 1
            assert not log.due.is_set()
            assert [one.user for one in log.take()] == [user]
        log.put_back([Exposed(KEY, "ann", 5.0, 1)])
        await asyncio.wait_for(log.due.wait(), 10)

    asyncio.run(run())


def test_much_is_taken_in_parts_the_oldest_first() -> None:
    def scenario(log: ExposureLog) -> None:
        for number in range(1200):
            log.note(KEY, f"user {number}", [f"item {item}" for item in range(9)], 5.0)

        assert log.parts() == 3
        parts = [log.take() for _ in range(3)]

        assert [len(part) for part in parts] == [500, 500, 200]
        assert [one.user for part in parts for one in part] == [f"user {number}" for number in range(1200)]
        assert (log.parts(), log.take()) == (0, [])

    log_of(scenario, max_noted=50_000)


def play(folder: Path, scenario: Callable[[LiveRecommender], Awaitable[None]]) -> None:
    async def run() -> None:
        tasks = BackgroundTasks()
        await tasks.start()
        recommender = LiveRecommender(folder, None, 4096, tasks.create, lambda: None, SHARES)
        failure = asyncio.ensure_future(tasks.failure())
        try:
            await recommender.open()
            await recommender.load()
            await asyncio.wait_for(scenario(recommender), 60)
        finally:
            died = failure.done() and failure.result()
            failure.cancel()
            await tasks.stop()
            await recommender.stop()
        assert not died

    asyncio.run(run())


def test_what_was_shown_until_now_is_in_every_answer_about_it(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(UpsertItems({"x": ItemAttributes()}))
        recommender.exposures.note(KEY, "ann", ["x"], 5.0)
        assert (await recommender.outcomes())[KEY] == Outcome(1, 1)

        recommender.exposures.note(KEY, "ann", ["x"], 6.0)
        await recommender.write(Record([Event("1", "ann", "x", 1.0, 7.0)]))
        assert (await recommender.outcomes())[KEY] == Outcome(1, 2, 1, 1)

        recommender.exposures.note(KEY, "ann", [], 8.0)
        [told] = await recommender.ask_store(lambda store: store.exposures.exposures_of("ann"))
        assert told.shelves == 3

    play(tmp_path, scenario)


def test_what_was_shown_is_stored_by_itself_and_at_the_end(tmp_path: Path) -> None:
    async def first(recommender: LiveRecommender) -> None:
        recommender.exposures.note(KEY, "ann", [], 5.0)
        await asyncio.sleep(0)
        await recommender.exposures.due.wait()
        recommender.exposures.note(KEY, "bob", [], 6.0)

    async def second(recommender: LiveRecommender) -> None:
        assert recommender.counted_outcomes()[KEY] == Outcome(2, 2)

    play(tmp_path, first)
    play(tmp_path, second)


def test_who_leaves_while_exposures_are_stored_loses_none(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        for number in range(50):
            recommender.exposures.note(KEY, f"user {number}", [], 5.0)
            asking = asyncio.create_task(recommender.outcomes())
            await asyncio.sleep(0)
            asking.cancel()
        assert (await recommender.outcomes())[KEY] == Outcome(50, 50)

    play(tmp_path, scenario)


def test_a_full_disk_keeps_exposures_until_there_is_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        users = [f"user {number}" for number in range(3000)]
        pages = await recommender.ask_store(lambda store: store._connection.execute("PRAGMA page_count").fetchone()[0])
        await recommender.ask_store(
            lambda store: store._connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
        )
        for user in users:
            recommender.exposures.note(KEY, user, [], 5.0)
        assert (await recommender.outcomes())[KEY] == Outcome()
        assert "exposures are kept in memory" in caplog.text

        await recommender.ask_store(
            lambda store: store._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
        )
        assert (await recommender.outcomes())[KEY] == Outcome(3000, 3000)

    play(tmp_path, scenario)


def test_a_hammer_of_shelves_and_forgetting_leaves_nobody(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(UpsertItems({"x": ItemAttributes()}))
        exposures, noted = recommender.exposures, 0
        for _ in range(5):
            exposures.note(KEY, "person-4711", ["x"], 5.0)
            storing = asyncio.create_task(recommender.outcomes())
            forgetting = asyncio.create_task(recommender.write(ForgetUsers(["person-4711"])))
            while not forgetting.done():
                if "person-4711" in exposures._forgetting:  # later it is a call after the user was forgotten
                    exposures.note(KEY, "person-4711", ["x"], 5.0)
                    noted += 1
                exposures.note(KEY, "ann", ["x"], 5.0)
                await recommender.outcomes()
            await storing
            assert b"person-4711" not in bytes_in(tmp_path)
        assert noted
        assert (await recommender.outcomes())[KEY].users == 1

    play(tmp_path, scenario)


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())
