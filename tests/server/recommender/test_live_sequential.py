"""The sequential model of a recommender that runs: taken up when it is there, gone with whom it knew."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cuelight.server.errors import Unavailable, Unsupported
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.trained.live_sequential import LiveSequential
from cuelight.server.recommender.trained.manifest import Stamp, checkpoint_path, making_folder, models_folder
from cuelight.server.recommender.trained.sequential_files import sequential_folder
from cuelight.server.recommender.writes import ForgetUsers, Record
from tests.server.recommender.test_live_recommender import running
from tests.server.recommender.tiny_sequential import exported, write_version

ITEMS = tuple(f"i{item}" for item in range(6))
OPTIONS = ShelfOptions("sequential", n=100, explain=True)
LAST_EVENT = 8
STAMP = Stamp(LAST_EVENT, 0)


@pytest.fixture(scope="module", autouse=True)
def exported_before_any_clock_runs() -> None:
    exported(len(ITEMS))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four users who like two items each: events 1 to 8."""
    store = Store(tmp_path)
    store.record([Event(f"{u}/{i}", f"u{u}", ITEMS[(u + i) % 6], 1.0, u + i + 1.0) for u in range(4) for i in range(2)])
    assert store.last_sequence() == LAST_EVENT
    store.close()
    return tmp_path


def play(data: Path, scenario: Callable[[LiveRecommender], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running(data) as recommender:
            await asyncio.wait_for(scenario(recommender), 60)

    asyncio.run(run())


def live(recommender: LiveRecommender) -> LiveSequential:
    assert recommender._sequential is not None
    return recommender._sequential


async def why_not(recommender: LiveRecommender) -> str:
    return (await recommender.ask_models(LiveModels.details))["sequential"]


async def shelf(recommender: LiveRecommender, query: Query) -> Shelf:
    return await recommender.recommend(query, OPTIONS)


def folder_of(data: Path) -> Path:
    return sequential_folder(models_folder(data))


def left_in(data: Path) -> list[str]:
    folder = folder_of(data)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_without_one_the_command_that_makes_one_is_named(data: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        with pytest.raises(Unsupported, match='model "sequential": not trained; cuelight recommender train'):
            await shelf(recommender, Query("u1"))
        with pytest.raises(Unsupported, match="sequential"):
            await recommender.recommend(Query("u1"), ShelfOptions(blend={"ease": 1.0, "sequential": 1.0}))
        assert (await shelf(recommender, Query("nobody"))).cold

    play(data, scenario)
    assert not models_folder(data).exists()


def test_one_that_comes_is_taken_up_and_knows_its_items_by_id(data: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        write_version(models_folder(data), ("gone", *ITEMS[:0:-1]), STAMP)
        await live(recommender).look()
        assert await why_not(recommender) == ""
        await recommender.write(Record([Event("new", "u0", "new item", 1.0, 100.0)]))

        answer = await shelf(recommender, Query("u0"))
        blended = await recommender.recommend(Query("u0"), ShelfOptions(blend={"ease": 1.0, "sequential": 2.0}))

        assert answer.model == "sequential"
        assert {item.item for item in answer.items} == {"i2", "i3", "i4"}
        for item in answer.items:
            assert 0 < item.score < 1
            assert sum(reason.share for reason in item.reasons) == pytest.approx(item.score, abs=1e-12)
            assert {reason.item for reason in item.reasons} <= {"i1", None}
        assert len(blended.items) == 3

    play(data, scenario)


def test_one_that_is_there_serves_from_the_start_and_a_newer_one_after_it(data: Path) -> None:
    write_version(models_folder(data), ITEMS, STAMP)

    async def scenario(recommender: LiveRecommender) -> None:
        before = await shelf(recommender, Query("u0"))
        write_version(models_folder(data), ITEMS[::-1], STAMP)
        await live(recommender).look()
        after = await shelf(recommender, Query("u0"))

        assert {item.item: item.score for item in before.items} != {item.item: item.score for item in after.items}

    play(data, scenario)


def test_the_order_of_a_history_that_comes_with_the_call_counts(data: Path) -> None:
    write_version(models_folder(data), ITEMS, STAMP)

    async def scenario(recommender: LiveRecommender) -> None:
        one = await shelf(recommender, Query(history={"i0": 1.0, "i1": 1.0}))
        other = await shelf(recommender, Query(history={"i1": 1.0, "i0": 1.0}))
        again = await shelf(recommender, Query(history={"i0": 2.0, "unheard of": 1.0, "i1": 1.0}))

        assert one.items != other.items
        assert one.items == again.items

    play(data, scenario)


def test_it_goes_with_whom_it_knew_and_all_its_files_before_the_forgetting_returns(data: Path) -> None:
    write_version(models_folder(data), ITEMS, STAMP)
    for name in (checkpoint_path(folder_of(data), STAMP).name, "training-8-0.ckpt.new"):
        (folder_of(data) / name).write_bytes(b"steps")

    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(Record([Event("late", "latecomer", "i1", 1.0, 100.0)]))
        await recommender.write(ForgetUsers(["latecomer", "nobody"]))
        assert (await shelf(recommender, Query("u0"))).model == "sequential"
        assert len(left_in(data)) == 3

        await recommender.write(ForgetUsers(["u3"]))

        assert left_in(data) == []
        assert "knew somebody who was forgotten" in await why_not(recommender)
        with pytest.raises(Unsupported, match="knew somebody"):
            await shelf(recommender, Query("u0"))
        write_version(models_folder(data), ITEMS, Stamp(LAST_EVENT + 1, 2))
        await live(recommender).look()
        assert (await shelf(recommender, Query("u0"))).model == "sequential"

    play(data, scenario)
    assert left_in(data) == ["1"]


def test_one_that_was_trained_meanwhile_on_somebody_forgotten_is_deleted_and_not_taken_up(data: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(ForgetUsers(["u3"]))
        write_version(models_folder(data), ITEMS, STAMP)

        await live(recommender).look()

        assert left_in(data) == []
        with pytest.raises(Unsupported, match="sequential"):
            await shelf(recommender, Query("u0"))

    play(data, scenario)


def test_a_start_after_a_crash_deletes_what_the_forgetting_did_not_get_to(data: Path) -> None:
    write_version(models_folder(data), ITEMS, STAMP)
    store = Store(data)
    store.forget_users(["u3"])
    store.close()

    async def scenario(recommender: LiveRecommender) -> None:
        assert left_in(data) == []
        with pytest.raises(Unsupported, match="sequential"):
            await shelf(recommender, Query("u0"))

    play(data, scenario)


def test_a_forgetting_that_comes_while_one_is_opened_wins(data: Path) -> None:
    write_version(models_folder(data), ITEMS, STAMP)
    store = Store(data)
    models: list[str] = []

    async def run() -> None:
        questions = 0

        async def ask_store(question: Callable[[Store], Any]) -> Any:
            nonlocal questions
            questions += 1
            answer = question(store)
            if questions == 2:  # the version has been found to know nobody who is forgotten
                store.forget_users(["u3"])
                forgetting.append(asyncio.create_task(sequential.forgotten()))
                await asyncio.sleep(0)
            return answer

        async def ask_models(question: Callable[[LiveModels], Any]) -> None:
            models.append(question.func.__name__)  # type: ignore[attr-defined]

        forgetting: list[asyncio.Task[None]] = []
        sequential = LiveSequential(data, ask_store, ask_models, lambda: None)
        await sequential.look()
        await forgetting[0]
        await sequential.look()
        sequential.close()

    asyncio.run(run())
    store.close()
    assert models == []
    assert left_in(data) == []


def break_manifest(version: Path) -> None:
    (version / "trained.json").write_text("{}")


def break_model(version: Path) -> None:
    (version / "model.onnx").write_bytes(b"no model")


def break_vectors(version: Path) -> None:
    told = json.loads((version / "trained.json").read_text())
    told["items"] += ["one more"]
    (version / "trained.json").write_text(json.dumps(told))


def break_last(version: Path) -> None:
    (version / "last.onnx").write_bytes(b"no model")


def break_golden(version: Path) -> None:
    (version / "golden.npz").unlink()


def come_from_elsewhere(version: Path) -> None:
    told = json.loads((version / "trained.json").read_text())
    told["stamp"]["last_event"] = LAST_EVENT + 1
    (version / "trained.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (break_manifest, "trained.json: not what a training writes"),
        (break_model, "model.onnx"),
        (break_last, "last.onnx"),
        (break_vectors, r"item_vectors.npy: expected FP64 \[7,width\], got float64 \[6, 8\]"),
        (break_golden, "golden.npz: missing"),
        (come_from_elsewhere, "trained on more events than this data folder has"),
    ],
)
def test_one_that_cannot_be_used_says_why_and_what_served_serves_on(
    data: Path, break_it: Callable[[Path], None], says: str
) -> None:
    break_it(write_version(models_folder(data), ITEMS, STAMP))

    async def scenario(recommender: LiveRecommender) -> None:
        with pytest.raises(Unsupported, match=says):
            await shelf(recommender, Query("u0"))
        write_version(models_folder(data), ITEMS, STAMP)
        await live(recommender).look()
        break_it(write_version(models_folder(data), ITEMS, STAMP))
        await live(recommender).look()
        assert (await shelf(recommender, Query("u0"))).model == "sequential"

    play(data, scenario)
    assert left_in(data) == ["1", "2", "3"]


def test_one_that_nobody_can_tell_the_users_of_goes_when_anybody_is_forgotten(data: Path) -> None:
    break_manifest(write_version(models_folder(data), ITEMS, STAMP))

    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(ForgetUsers(["nobody"]))
        assert left_in(data) == ["1"]
        await recommender.write(ForgetUsers(["u0"]))
        assert left_in(data) == []

    play(data, scenario)


def test_what_a_deletion_or_a_training_that_was_cut_short_left_goes_too(data: Path) -> None:
    version = write_version(models_folder(data), ITEMS, STAMP)
    shutil.copytree(version, models_folder(data) / ".sequential-cut-short")
    version.rename(version.with_name(".1.deleted"))
    making = making_folder(folder_of(data), STAMP)
    (making / ".sequential-abc" / "last.onnx").parent.mkdir(parents=True)

    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(Record([Event("late", "latecomer", "i1", 1.0, 100.0)]))
        await recommender.write(ForgetUsers(["latecomer"]))
        assert left_in(data) == [".1.deleted"]
        assert making.is_dir(), "it has no stamp inside yet, and knew nobody who was forgotten"
        await recommender.write(ForgetUsers(["u3"]))
        assert left_in(data) == []

    play(data, scenario)
    assert [path.name for path in models_folder(data).iterdir()] == ["sequential"]


def test_files_that_cannot_be_deleted_fail_the_forgetting_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_version(models_folder(data), ITEMS, STAMP)

    def refuse(version: Path) -> None:
        raise PermissionError(f"{version}: not permitted")

    async def scenario(recommender: LiveRecommender) -> None:
        monkeypatch.setattr("cuelight.server.recommender.trained.live_sequential.delete_version", refuse)
        event = Event("beside", "u0", "i1", 1.0, 100.0)
        answers = await asyncio.gather(
            recommender.write(Record([event])), recommender.write(ForgetUsers(["u3"])), return_exceptions=True
        )
        assert answers[0] == 1
        assert isinstance(answers[1], Unavailable)
        with pytest.raises(Unsupported):
            await shelf(recommender, Query("u0"))
        await recommender.write(Record([event]))

    play(data, scenario)


def test_files_that_cannot_be_deleted_keep_no_server_from_starting(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_version(models_folder(data), ITEMS, STAMP)
    store = Store(data)
    store.forget_users(["u3"])
    store.close()

    def refuse(version: Path) -> None:
        raise PermissionError(f"{version}: not permitted")

    async def scenario(recommender: LiveRecommender) -> None:
        with pytest.raises(Unsupported):
            await shelf(recommender, Query("u0"))
        assert await recommender.write(Record([Event("later", "u0", "i1", 1.0, 100.0)])) == 1

    monkeypatch.setattr("cuelight.server.recommender.trained.live_sequential.delete_version", refuse)
    play(data, scenario)
