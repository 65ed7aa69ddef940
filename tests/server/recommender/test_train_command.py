"""`cuelight recommender train` and `evaluate --model sequential`: what they write, read and say."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cuelight.server.cli import main
from cuelight.server.recommender.history import History
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.shelves import Query, ShelfOptions
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.trained.manifest import Stamp, kept_in, models_folder
from cuelight.server.recommender.trained.sequential_files import open_sequential, sequential_folder
from cuelight.server.recommender.trained.training_data import like_rows, training_data
from cuelight.server.recommender.writes import ForgetUsers
from tests.serve_process import environment
from tests.server.recommender.test_live_recommender import play

WORDS = ["--width", "8", "--length", "4", "--batch", "4", "--epochs", "2"]
FILES = {"report.html", "report.json", "model.onnx", "last.onnx", "golden.npz", "item_vectors.npy", "trained.json"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Six people like six items each; `person-4711` is one of them. Item i9 is known, and nobody likes it."""
    opened = Store(tmp_path)
    users = ["person-4711", *(f"u{u}" for u in range(1, 6))]
    liked = [(u, i) for u in range(6) for i in range(12) if (u + i) % 2]
    opened.record([Event(f"{u} {i}", users[u], f"i{11 - i}", 5.0 - (i == 2), float(i)) for u, i in liked])
    opened.set_setting("min_value", 4.5)
    yield opened
    opened.close()


def versions(data: Path) -> list[Path]:
    return [one.path for one in kept_in(sequential_folder(models_folder(data))) if one.is_version]


def test_a_training_beside_a_server_leaves_one_version_and_no_user_in_it(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommender", "train", "--data", str(tmp_path), *WORDS]) == 0
    assert main(["recommender", "train", "--data", str(tmp_path), *WORDS, "--seed", "1"]) == 0

    [version] = versions(tmp_path)
    assert version.name == "2"
    assert list(version.parent.iterdir()) == [version]
    assert {path.name for path in version.iterdir()} == FILES
    content = b"".join(path.read_bytes() for path in version.iterdir())
    assert b"person-4711" not in content
    opened = open_sequential(version)
    assert set(opened.manifest.items) == {f"i{i}" for i in range(12)} - {"i9"}
    assert opened.manifest.stamp == Stamp(36, 0)
    assert opened.manifest.min_value == 4.5
    assert opened.manifest.settings["seed"] == 1
    assert opened.manifest.figures["people"] == 6
    printed = capsys.readouterr()
    assert "33 likes (values from 4.5 on) of 11 items by 6 users, up to event 36" in printed.err
    assert "choosing how long" in printed.err
    assert "PEOPLE  NDCG@10  RECALL@20  CROSS ENTROPY  EPOCHS  TOOK\n6 " in printed.out
    assert "comparisons with PyTorch agree" in printed.out
    assert f"wrote {version} " in printed.out


def test_what_is_read_is_everybodys_likes_with_numbers_for_items_that_are_liked(store: Store, tmp_path: Path) -> None:
    reader = Store(tmp_path, read_only=True)
    store.record([Event("later", "u1", "came later", 5.0, 99.0)])

    found = training_data(reader)

    reader.close()
    assert "came later" not in found.items
    assert sum(map(len, found.rows.items)) == 33
    of_u1 = [found.items[number] for number in found.rows.items[1][np.argsort(found.rows.times_s[1])]]
    assert of_u1 == ["i11", "i7", "i5", "i3", "i1"]
    assert found.stamp == Stamp(36, 0)


def test_rows_of_nobody_are_left_out_and_items_have_numbers_in_the_order_of_their_places() -> None:
    found = like_rows([History.of([7, 2]), History.of([]), History.of([9, 7])])

    assert [row.tolist() for row in found.items] == [[0, 1], [1, 2]]
    assert found.places.tolist() == [2, 7, 9]


def test_somebody_who_is_forgotten_meanwhile_ends_the_training_and_nothing_is_left(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sequential_folder(models_folder(tmp_path))

    def forget_once_it_has_begun() -> None:
        while not list(folder.glob("training-*.ckpt")):
            time.sleep(0.01)
        store.forget_users(["person-4711"])

    forgetting = threading.Thread(target=forget_once_it_has_begun)
    forgetting.start()
    ended = main(["recommender", "train", "--data", str(tmp_path), *WORDS, "--epochs", "1000", "--patience", "1000"])
    forgetting.join()

    assert ended == 1
    assert "somebody was forgotten while training, and must not be in the model: train again" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


async def train_while(data: Path, doing: Callable[[], Awaitable[None]]) -> int:
    """Train, and do something again and again meanwhile, the end included; return the exit code."""
    training = asyncio.create_task(asyncio.to_thread(main, ["recommender", "train", "--data", str(data), *WORDS]))
    while not training.done():
        await doing()
        await asyncio.sleep(0)
    return await training


def test_a_server_that_forgot_somebody_before_lets_a_training_beside_it_end(store: Store, tmp_path: Path) -> None:
    store.close()

    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(ForgetUsers(["person-4711"]))
        assert recommender._sequential is not None

        assert await train_while(tmp_path, recommender._sequential.look) == 0

        await recommender._sequential.look()
        shelf = await recommender.recommend(Query("u1"), ShelfOptions("sequential"))
        assert shelf.model == "sequential"

    play(tmp_path, scenario)
    assert [path.name for path in models_folder(tmp_path).rglob("*") if path.is_dir()] == ["sequential", "1"]


def test_who_is_forgotten_while_the_model_is_exported_is_the_reason_that_is_told(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.close()

    async def scenario(recommender: LiveRecommender) -> None:
        forgotten: list[int] = []

        async def forget_once_it_is_exported() -> None:
            if not forgotten and list(models_folder(tmp_path).glob(".sequential-*/*")):
                forgotten.append(await recommender.write(ForgetUsers(["person-4711"])))
                assert list(models_folder(tmp_path).glob(".sequential-*/*/")) == []

        assert await train_while(tmp_path, forget_once_it_is_exported) == 1
        assert forgotten == [1]

    play(tmp_path, scenario)
    told = capsys.readouterr().err
    assert "somebody was forgotten while training, and must not be in the model: train again" in told
    assert "No such file" not in told
    assert list(sequential_folder(models_folder(tmp_path)).iterdir()) == []
    assert [path.name for path in models_folder(tmp_path).iterdir()] == ["sequential"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "no/such"], "no such database"),
        (["--heads", "3"], "train: heads: got 3, expected a divisor of width 64"),
        (["--threads", "0"], "--threads: got 0, expected 1 or more"),
    ],
    ids=["no data", "a setting that cannot be", "no threads"],
)
def test_a_training_that_cannot_be_says_why(
    words: list[str], says: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommender", "train", "--data", str(tmp_path), *words]) == 2

    assert says in capsys.readouterr().err
    assert not models_folder(tmp_path).exists()


def test_nothing_to_learn_from_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(tmp_path).close()

    assert main(["recommender", "train", "--data", str(tmp_path)]) == 2

    assert "train: nobody has two likes or more" in capsys.readouterr().err


def test_evaluate_trains_on_what_is_known_and_ranks_with_it(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--protocol", "last-out", "--model", "ease", "--model", "sequential", "--seed", "3"]

    assert main(["recommender", "evaluate", "--data", str(tmp_path), *words]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["ease", "sequential"]
    assert not models_folder(tmp_path).exists()


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from cuelight.server.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_torch(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT_TORCH, "recommender", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)


def test_without_torch_everything_else_is_measured_and_what_is_missing_is_said(store: Store, tmp_path: Path) -> None:
    measured = without_torch("evaluate", "--data", str(tmp_path))
    asked_for = without_torch("evaluate", "--data", str(tmp_path), "--model", "sequential")
    trained = without_torch("train", "--data", str(tmp_path))

    assert measured.returncode == 0
    assert "left out: sequential: training needs torch" in measured.stderr
    assert "hybrid" in measured.stdout
    assert "sequential" not in measured.stdout
    for refused in (asked_for, trained):
        assert refused.returncode == 2
        assert "training needs torch: pip install torch 'cuelight[exporters]' (torch is missing)" in refused.stderr
