"""Weights go in strictly: whatever does not fit is named, wrappers' prefixes are taken off and said."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.own.checkpoint import Checkpoint
from cuelight.exporters.own.fit import fit, load_weights


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
        self.norm = nn.BatchNorm1d(2)


def weights() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.rand_like(t) if t.is_floating_point() else t for name, t in Net().state_dict().items()}


def fitted(given: dict[str, Tensor], module: nn.Module | None = None) -> tuple[nn.Module, list[str]]:
    module = module or Net()
    return module, fit(module, Checkpoint(given, ()), "c.pt")


def refused(given: dict[str, Tensor], module: nn.Module | None = None) -> str:
    with pytest.raises(ExportError) as raised:
        fitted(given, module)
    return str(raised.value)


def holds(module: nn.Module, wanted: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, wanted[name]) for name, tensor in module.state_dict().items())


def test_weights_that_fit_are_in_the_module() -> None:
    module, notes = fitted(weights())

    assert holds(module, weights())
    assert notes == ["9 weights loaded"]


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("module.", '"module." taken off the front of the names'),
        ("_orig_mod.", '"_orig_mod." (torch.compile) taken out of the names'),
        ("model.student.", '"model.student." taken off the front of the names'),
    ],
)
def test_prefixes_are_taken_off_and_said(prefix: str, said: str) -> None:
    module, notes = fitted({f"{prefix}{name}": tensor for name, tensor in weights().items()})

    assert holds(module, weights())
    assert said in notes


def test_a_part_that_was_compiled_alone_fits() -> None:
    given = {name.replace("layers.0.", "layers.0._orig_mod."): tensor for name, tensor in weights().items()}

    assert holds(fitted(given)[0], weights())


def test_every_misfit_is_named() -> None:
    given = weights()
    del given["norm.bias"]
    given["layers.1.weight"] = torch.ones((3, 2))
    given["head.weight"] = torch.ones(1)

    text = refused(given)

    assert "c.pt does not fit the model" in text
    assert "1 missing: norm.bias" in text
    assert "1 not expected: head.weight" in text
    assert "1 of another shape: layers.1.weight (expected [2, 2], got [3, 2])" in text


def test_hundreds_of_misfits_are_grouped_by_their_module() -> None:
    given = weights() | {f"decoder.{i}.{part}": torch.ones(1) for i in range(150) for part in ("weight", "bias")}

    text = refused(given)

    assert "300 not expected: decoder.* (300, first decoder.0.weight)" in text


def test_a_module_is_left_alone_when_something_does_not_fit() -> None:
    module = Net()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    refused({"layers.0.weight": torch.full((2, 2), 9.0)}, module)

    assert holds(module, before)


def test_training_counters_may_be_missing_or_too_many() -> None:
    given = {name: tensor for name, tensor in weights().items() if not name.endswith("num_batches_tracked")}

    module, _ = fitted(given | {"n_averaged": torch.tensor(3)})

    assert torch.equal(module.state_dict()["norm.weight"], weights()["norm.weight"])


def test_a_tied_weight_need_not_be_there_twice() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.embedding.weight

    module, _ = fitted({"embedding.weight": torch.ones((5, 3))}, Tied())

    assert torch.equal(module.state_dict()["head.weight"], torch.ones((5, 3)))


def test_weights_that_are_not_finite_are_named() -> None:
    given = weights()
    given["layers.0.bias"] = torch.tensor([float("nan"), 1.0])

    assert "holds weights that are not finite: layers.0.bias (1 of 2 values)" in refused(given)


def test_another_precision_is_said() -> None:
    given = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights().items()}

    _, notes = fitted(given)

    assert any(note.endswith("weights of float16 held as float32") for note in notes)


def test_a_file_goes_in_with_what_was_found(tmp_path: Path) -> None:
    torch.save({"model": {f"module.{name}": tensor for name, tensor in weights().items()}}, tmp_path / "c.pt")
    module = Net()

    notes = load_weights(module, tmp_path / "c.pt")

    assert holds(module, weights())
    assert notes[0] == 'weights under "model"'
