"""The sequential Transformer: what it may look at, what it learns, and that a training can be cut short."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from cuelight.exporters.probe import probe
from cuelight.exporters.reports.report import read_report
from cuelight.exporters.sasrec import entry
from cuelight.exporters.sasrec.epochs import plain_epochs
from cuelight.exporters.sasrec.fit import foresight
from cuelight.exporters.sasrec.model import START, SasRec, Shape
from cuelight.exporters.sasrec.rows import NO_TARGET, Likes, batches, newest_first_out, padded
from cuelight.exporters.sasrec.settings import TrainSettings
from cuelight.exporters.sasrec.spec import export_spec
from cuelight.exporters.sasrec.train import Trained, train
from cuelight.exporters.tracing import trace

TINY: dict[str, Any] = {"width": 8, "length": 5, "batch": 4, "rate": 0.02, "dropout": 0.1}
N_ITEMS = 7


def walks(people: int = 14, steps: int = 6) -> list[Likes]:
    """Everybody likes item after item, around in a circle, from another one on: what comes next is certain."""
    return [Likes((np.arange(steps) + start) % N_ITEMS, np.arange(steps, dtype=np.float64)) for start in range(people)]


def weights_of(trained: Trained) -> list[np.ndarray]:
    return [weight.detach().numpy() for weight in trained.network.parameters()]


def test_epochs_are_lines_where_no_terminal_is() -> None:
    out, now_s = io.StringIO(), 0.0

    with plain_epochs("choosing", 60, 2, out, lambda: now_s) as tell:
        for loss in range(7):
            now_s += 3.0
            tell({"loss": str(loss), "ndcg": "0.1"})

    assert out.getvalue().splitlines() == [
        "choosing: 2 of 60 epochs at most",
        "choosing: epoch 4, loss 1, ndcg 0.1",
        "choosing: epoch 6, loss 3, ndcg 0.1",
        "choosing: epoch 8, loss 5, ndcg 0.1",
        "choosing: epoch 9, loss 6, ndcg 0.1",
    ]


def test_a_training_writes_no_bar_into_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    train(walks(), N_ITEMS, TrainSettings(**TINY, epochs=2))

    shown = capfd.readouterr().err
    assert "\r" not in shown
    assert [line.split(":")[0] for line in shown.splitlines() if "at most" in line] == [
        "choosing how long",
        "training on everything",
    ]


def test_a_state_knows_what_came_and_nothing_behind_it() -> None:
    torch.manual_seed(0)
    network = SasRec(Shape(N_ITEMS, width=8, blocks=2, heads=2, length=5)).eval()
    row = torch.tensor([[START, 3, 1, 4, 2]])

    with torch.no_grad():
        states = network(row)
        shorter = network(row[:, :3])
        padded_behind = network(torch.tensor([[START, 3, 1, START, START], [START, 5, 5, 5, 5]]))

        last = network.last_states(row.expand(3, -1), torch.tensor([0, 2, 4]))

    torch.testing.assert_close(shorter, states[:, :3])
    torch.testing.assert_close(last, states[0, [0, 2, 4]])
    torch.testing.assert_close(padded_behind[:1, :3], states[:, :3])
    assert not torch.allclose(states[:, 3], network(torch.tensor([[START, 1, 3, 4]]))[:, 3])


def test_the_newest_like_is_left_out_and_the_only_one_is_kept() -> None:
    likes = [
        Likes(np.array([4, 2, 6]), np.array([5.0, 7.0, 7.0])),
        Likes(np.array([3]), np.array([1.0])),
        Likes(np.array([], np.int64), np.array([])),
    ]

    left, taken = newest_first_out(likes)

    assert [sorted(one.items.tolist()) for one in left] == [[2, 4], [3], []]
    assert [(row.tolist(), target) for row, target in taken] == [([4, 2], 6)]


def test_likes_of_one_time_come_in_every_order_and_others_in_theirs() -> None:
    likes = [Likes(np.array([0, 1, 2, 3]), np.array([2.0, 1.0, 1.0, 1.0]))]
    generator = np.random.default_rng(0)

    drawn = {tuple(likes[0].in_drawn_order(generator)) for _ in range(200)}

    assert len(drawn) == 6
    assert {order[3] for order in drawn} == {0}
    assert likes[0].in_order().tolist() == [1, 2, 3, 0]


def test_a_batch_tells_each_place_what_comes_next_and_long_rows_reach_the_last_place() -> None:
    likes = [Likes(np.arange(7), np.arange(7, dtype=np.float64)), Likes(np.array([5, 6]), np.array([1.0, 2.0]))]
    generator = np.random.default_rng(1)
    starts = set()

    for _ in range(60):
        [(tokens, targets)] = batches(likes, 4, 2, generator)
        assert tokens.shape == targets.shape == (2, 5)
        for row, target in zip(tokens.tolist(), targets.tolist(), strict=True):
            told = [item for item in target if item != NO_TARGET]
            assert row[: len(told)] == [START, *(item + 1 for item in told[:-1])]
            assert row[0] == START
            starts.add(tuple(told))

    assert starts == {(5, 6), (0, 1, 2, 3, 4), (1, 2, 3, 4, 5), (2, 3, 4, 5, 6)}


def test_what_always_comes_next_is_foreseen() -> None:
    settings = TrainSettings(**TINY, epochs=30, patience=30)

    trained = train(walks(), N_ITEMS, settings, quiet=True)

    with torch.no_grad():
        states = trained.network(padded([np.array([item, (item + 1) % N_ITEMS]) for item in range(N_ITEMS)]))[:, 2]
    assert trained.network.logits(states).argmax(-1).tolist() == [(item + 2) % N_ITEMS for item in range(N_ITEMS)]
    assert trained.foresight.ndcg_10 > 0.9
    assert trained.foresight.people == 14


def test_foresight_ranks_what_is_left_out_among_what_is_not_in_the_row() -> None:
    network = SasRec(Shape(4, width=4, length=3)).eval()
    with torch.no_grad():
        network.items.weight[START + 1 :] = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
        network.last_norm.weight.zero_()
        network.last_norm.bias.fill_(1.0)

    found = foresight(network, [(np.array([0]), 1), (np.array([0, 1]), 3)])

    chances = np.exp([4, 3, 2, 1]) / np.exp([4, 3, 2, 1]).sum()
    assert found.ndcg_10 == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert found.cross_entropy == pytest.approx(-np.log(chances[[1, 3]]).mean(), rel=1e-6)


def stops_after(epochs: int) -> Callable[[], bool]:
    asked = iter(range(epochs))
    return lambda: next(asked, None) == epochs - 1


@pytest.mark.parametrize("epochs", [2, 7], ids=["while choosing", "while training on everything"])
def test_a_training_that_was_cut_short_goes_on_to_the_same_result(tmp_path: Path, epochs: int) -> None:
    settings = TrainSettings(**TINY, epochs=4, patience=4)
    whole = train(walks(), N_ITEMS, settings, quiet=True)
    checkpoint = tmp_path / "folder" / "training.ckpt"

    with pytest.raises(InterruptedError):
        train(walks(), N_ITEMS, settings, checkpoint, quiet=True, stop=stops_after(epochs))
    rest = train(walks(), N_ITEMS, settings, checkpoint, quiet=True, stop=stops_after(8 - epochs + 1))

    assert rest.epochs == whole.epochs == 4
    assert rest.foresight == whole.foresight
    for got, want in zip(weights_of(rest), weights_of(whole), strict=True):
        np.testing.assert_array_equal(got, want)
    other = train(walks(people=9), N_ITEMS, settings, checkpoint, quiet=True)
    assert other.foresight.people == 9


def test_training_stops_when_nothing_gets_better() -> None:
    generator = np.random.default_rng(0)
    noise = [Likes(generator.permutation(N_ITEMS), np.arange(N_ITEMS, dtype=np.float64)) for _ in range(12)]
    epochs = 0

    def count() -> bool:
        nonlocal epochs
        epochs += 1
        return False

    trained = train(noise, N_ITEMS, TrainSettings(**TINY, epochs=200, patience=3), quiet=True, stop=count)

    assert epochs == trained.epochs + 3 + trained.epochs
    assert trained.epochs < 100


def test_torch_is_left_as_it_was() -> None:
    threads, drawn = torch.get_num_threads(), torch.get_rng_state()

    train(walks(), N_ITEMS, TrainSettings(**TINY, epochs=1), threads=threads + 1, quiet=True)

    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), drawn)


def test_without_an_order_nothing_is_learned() -> None:
    with pytest.raises(ValueError, match="nobody has two likes"):
        train([Likes(np.array([1]), np.array([1.0]))] * 3, N_ITEMS, TrainSettings(), quiet=True)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"width": 0}, "width: got 0, expected 1 or more"),
        ({"dropout": 1.0}, "dropout: got 1.0"),
        ({"rate": float("nan")}, "rate: got nan"),
        ({"seed": -1}, "seed: got -1"),
        ({"heads": 3}, "heads: got 3, expected a divisor of width 64"),
        ({"colour": 1}, "colour: not a setting; there are batch, blocks"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused_by_name(told: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        entry.check_settings(told)


def test_a_network_that_reads_one_like_keeps_its_length_free() -> None:
    settings = TrainSettings(**{**TINY, "length": 1, "epochs": 1})
    spec = export_spec(train(walks(), N_ITEMS, settings, quiet=True), "sequential", {}, "a test")
    network = spec.build(Path())

    program = trace(spec, network, probe(spec, network, 0), 0).program

    assert [axis.sizes for axis in spec.axes] == [(1, 2)]
    [tokens] = [node.meta["val"] for node in program.graph.nodes if node.name == "tokens"]
    assert not isinstance(tokens.shape[1], int)


def test_the_export_takes_rows_of_any_length_and_carries_its_proof(tmp_path: Path) -> None:
    trained = entry.train_likes(
        [one.items for one in walks()], [one.times_s for one in walks()], N_ITEMS, {**TINY, "epochs": 1}, quiet=True
    )

    written = entry.write(trained, tmp_path, "sequential", {"more.json": b"{}"}, "a test")

    assert {path.name for path in written.path.iterdir()} == {
        "model.onnx",
        "last.onnx",
        "golden.npz",
        "report.html",
        "report.json",
        "item_vectors.npy",
        "more.json",
    }
    session = ort.InferenceSession(str(written.path / "model.onnx"))
    assert [(one.name, one.shape) for one in (*session.get_inputs(), *session.get_outputs())] == [
        ("tokens", ["batch", "length"]),
        ("states", ["batch", "length", 8]),
    ]
    for length in (1, 2, 6):
        tokens = np.arange(3 * length).reshape(3, length) % (N_ITEMS + 1)
        [states] = session.run(None, {"tokens": tokens})
        with torch.no_grad():
            np.testing.assert_allclose(states, trained.network(torch.from_numpy(tokens)).numpy(), atol=1e-12)
    last = ort.InferenceSession(str(written.path / "last.onnx"))
    [state] = last.run(None, {"tokens": tokens, "ends": np.array([0, 3, 5])})
    np.testing.assert_allclose(state, states[range(3), [0, 3, 5]], atol=1e-12)
    np.testing.assert_array_equal(
        np.load(written.path / "item_vectors.npy"), trained.network.vectors().detach().numpy()
    )
    assert "12 comparisons with PyTorch agree" in written.parity  # of four batch sizes with three lengths
    tried = read_report(written.path)["parity"]
    assert (tried["axes"], tried["atol"], tried["rtol"]) == ({"length": [1, 3, 6]}, 1e-12, 1e-12)
    described = session.get_modelmeta().custom_metadata_map
    assert (described["cuelight.family"], described["cuelight.items"], described["cuelight.length"]) == (
        "sasrec",
        "7",
        "5",
    )
