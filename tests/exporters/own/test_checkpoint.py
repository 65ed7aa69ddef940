"""Which checkpoints are read, what is found in them, and which are refused."""

import argparse
import pickle
import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.own.checkpoint import read_checkpoint

WEIGHTS = {"weight": torch.ones((2, 3)), "bias": torch.zeros(2)}


def saved(path: Path, held: object) -> Path:
    torch.save(held, path)
    return path


def same(weights: dict[str, Tensor]) -> bool:
    return weights.keys() == WEIGHTS.keys() and all(torch.equal(weights[name], WEIGHTS[name]) for name in WEIGHTS)


def refused(path: Path, key: str | None = None, allow_pickle: bool = False) -> str:
    with pytest.raises(ExportError) as raised:
        read_checkpoint(path, key, allow_pickle)
    return str(raised.value)


def test_a_state_dict_is_taken_as_it_is(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved(tmp_path / "c.pt", WEIGHTS))

    assert same(checkpoint.weights)
    assert checkpoint.notes == ()


def test_weights_in_a_checkpoint_dict_are_found_and_said(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved(tmp_path / "c.pth", {"epoch": 3, "state_dict": WEIGHTS, "optimizer": {}}))

    assert same(checkpoint.weights)
    assert checkpoint.notes == ('weights under "state_dict"; not used: epoch, optimizer',)


def test_a_key_may_lead_to_the_weights(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pt", {"nets": {"student": WEIGHTS}, "model": {"other": torch.ones(1)}})

    assert same(read_checkpoint(path, "nets.student").weights)
    assert 'has no "nets.teacher"; it has student' in refused(path, "nets.teacher")


def test_two_places_for_weights_have_to_be_chosen_from(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pt", {"model": WEIGHTS, "ema": WEIGHTS})

    assert "has weights under model, ema: choose with --checkpoint-key" in refused(path)
    assert same(read_checkpoint(path, "ema").weights)


def test_safetensors_are_read(tmp_path: Path) -> None:
    safetensors.torch.save_file(WEIGHTS, tmp_path / "c.safetensors")

    assert same(read_checkpoint(tmp_path / "c.safetensors").weights)


def test_the_weights_of_a_torchscript_archive_are_taken(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    layer.load_state_dict(WEIGHTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(layer, torch.ones((1, 3))).save(str(tmp_path / "c.pt"))  # type: ignore[no-untyped-call]

    checkpoint = read_checkpoint(tmp_path / "c.pt")

    assert same(checkpoint.weights)
    assert "TorchScript" in checkpoint.notes[0]


def test_a_pickle_of_more_than_weights_is_refused_with_what_it_names(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pt", {"state_dict": WEIGHTS, "args": argparse.Namespace(rate=0.1)})

    text = refused(path)

    assert "its pickle holds more than weights, it names argparse.Namespace" in text
    assert "--allow-pickle loads it all the same" in text
    assert same(read_checkpoint(path, allow_pickle=True).weights)


def test_a_plain_pickle_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "c.pt").write_bytes(pickle.dumps(argparse.Namespace(rate=0.1)))

    assert "argparse.Namespace" in refused(tmp_path / "c.pt") or "is no checkpoint" in refused(tmp_path / "c.pt")


def test_a_whole_module_gives_its_weights_when_pickles_are_allowed(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    layer.load_state_dict(WEIGHTS)
    path = saved(tmp_path / "c.pt", layer)

    assert "torch.nn.modules.linear.Linear" in refused(path)
    checkpoint = read_checkpoint(path, allow_pickle=True)
    assert same(checkpoint.weights)
    assert checkpoint.notes == ("a whole Linear: its weights are taken",)


@pytest.mark.parametrize("name", ["c.pt", "c.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(range(256)) * 8], ids=["empty", "text", "bytes"])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    assert f"checkpoint {path}" in refused(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"cat\ndog\n", r"is no checkpoint of PyTorch, it begins with b'cat\ndog\n'")],
    ids=["empty", "text"],
)
def test_a_file_that_torch_has_not_written_is_told_from_a_dangerous_one(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)

    assert said in refused(path)
    assert "--allow-pickle" not in refused(path)


def test_a_folder_is_told_with_the_weights_in_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").touch()

    assert refused(tmp_path) == f"checkpoint {tmp_path}: a folder; give a file in it: model.safetensors"


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pt", {"weight": torch.ones(10_000)})
    path.write_bytes(path.read_bytes()[:20_000])

    assert f"checkpoint {path}" in refused(path)


def test_what_is_no_weight_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pt", {"epoch": 3, "student": WEIGHTS})

    assert "these entries are no weights: epoch (int), student (dict)" in refused(path)
    assert "--checkpoint-key" in refused(path)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [([1, 2], "holds list, expected weights by name"), ({}, "holds dict, expected weights by name")],
)
def test_something_else_is_named(tmp_path: Path, held: object, wanted: str) -> None:
    assert wanted in refused(saved(tmp_path / "c.pt", held))


def test_a_traced_program_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "c.pt2").write_bytes(b"")

    assert "holds a traced program, expected weights" in refused(tmp_path / "c.pt2")


def test_no_file_is_said(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nowhere.pt")
