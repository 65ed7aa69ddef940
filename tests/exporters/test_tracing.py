"""What is said of a module that cannot be traced: which line, why, and what to do."""

import pytest
import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.probe import probe
from cuelight.exporters.spec import Axis
from cuelight.exporters.tracing import Trace, trace
from tests.exporters.awkward import (
    Branches,
    BranchesOnSize,
    FixesTime,
    Halves,
    LoopsOverTime,
    TakesAValue,
    spec_for,
)


def traced(module: nn.Module, *sizes: int) -> Trace:
    spec = spec_for(module, axes=(Axis("time", sizes or (3, 5, 8)),))
    return trace(spec, module.eval(), probe(spec, module.eval(), 0), 0)


def said(module: nn.Module) -> str:
    with pytest.raises(ExportError) as raised:
        traced(module)
    return str(raised.value)


def test_a_branch_on_values_is_named_with_its_line_and_what_to_do() -> None:
    text = said(Branches())

    assert "the model cannot be traced at" in text
    assert "awkward.py" in text
    assert "if x.sum() > 0:" in text
    assert "torch.where" in text


def test_a_value_taken_out_of_a_tensor_is_named_with_its_line() -> None:
    text = said(TakesAValue())

    assert "largest = float(x.max())" in text
    assert "it takes a value out of a tensor" in text


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (FixesTime(), "self.layer(x.reshape(len(x), 8 * 4))"),
        (LoopsOverTime(), "for step in range(x.shape[1])"),
    ],
    ids=["number", "loop"],
)
def test_an_axis_that_the_model_fixes_is_named_with_the_line_that_does(module: nn.Module, line: str) -> None:
    text = said(module)

    assert 'axis 1 ("time") of input "x" is marked free, but the model works for the size 8 only' in text
    assert line in text
    assert "write 8 in place of time" in text


def test_a_recurrent_layer_that_is_unrolled_is_named() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.RNN(4, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layer(x)[0]
            return output

    text = said(Recurrent())

    assert "output: Tensor = self.layer(x)[0] is unrolled over it, here 8 times" in text
    assert "nn.LSTM or nn.GRU" in text


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_time_stays_free_in_recurrent_layers_that_are_kept_whole(layer: type[nn.Module]) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer(4, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layer(x)[0]
            return output

    program = traced(Recurrent()).program

    shape = next(node for node in program.graph.nodes if node.name == "x").meta["val"].shape
    assert not isinstance(shape[1], int)


def test_arguments_of_any_number_are_traced() -> None:
    class Joins(nn.Module):
        def forward(self, *parts: Tensor) -> Tensor:
            return torch.cat(parts, -1)

    def example(generator: torch.Generator, batch: int, time: int) -> dict[str, Tensor]:
        return {name: torch.randn((batch, time, 2), generator=generator) for name in ("a", "b")}

    spec = spec_for(Joins(), example=example)
    program = trace(spec, Joins(), probe(spec, Joins(), 0), 0).program

    assert len(program.graph_signature.user_inputs) == 2


def test_sizes_that_must_be_multiples_are_left_to_pytorch() -> None:
    program = traced(Halves(), 2, 4, 8).program

    shape = next(node for node in program.graph.nodes if node.name == "x").meta["val"].shape
    assert not isinstance(shape[1], int)


def test_a_branch_on_a_size_is_remembered_with_its_line() -> None:
    (assumption,) = traced(BranchesOnSize()).assumptions

    assert "if x.shape[1] > 6:" in assumption
    assert "assumed: x.shape[1] > 6" in assumption


@pytest.mark.parametrize(("max_size", "traces"), [(None, 2), (8, 1)])
def test_a_largest_size_that_is_told_spares_the_trace_that_finds_it(max_size: int | None, traces: int) -> None:
    traced: list[bool] = []

    class Places(nn.Module):
        """Knows a number for each of eight steps, and for no more."""

        def __init__(self) -> None:
            super().__init__()
            self.places = nn.Parameter(torch.ones(8, 4))

        def forward(self, x: Tensor) -> Tensor:
            traced.append(torch.compiler.is_compiling())
            return x + self.places[: x.shape[1]]

    module = Places().eval()
    spec = spec_for(module, axes=(Axis("time", (3, 5, 8), max_size),))

    program = trace(spec, module, probe(spec, module, 0), 0).program

    assert sum(traced) == traces
    shape = next(node for node in program.graph.nodes if node.name == "x").meta["val"].shape
    assert not isinstance(shape[1], int)


def test_an_axis_is_not_tried_beyond_its_largest_size() -> None:
    with pytest.raises(ValueError, match=r'axis "time": expected sizes up to 8, got \(3, 9\)'):
        Axis("time", (3, 9), 8)
