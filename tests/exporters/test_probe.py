"""What is said of a module before it is traced."""

import pytest
import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.probe import probe
from cuelight.exporters.spec import ExportSpec, StatePair
from tests.exporters.awkward import GivesTwo, Stateful, SumsTheBatch, spec_for
from tests.exporters.tiny import ACCUMULATOR, Accumulator


def said(spec: ExportSpec, module: nn.Module) -> str:
    with pytest.raises(ExportError) as raised:
        probe(spec, module.eval(), 0)
    return str(raised.value)


def test_axes_are_found_by_trying_sizes() -> None:
    layout = probe(spec_for(GivesTwo(), outputs=("y", "total")), GivesTwo(), 0)

    assert layout.inputs == {"x": {0: "batch", 1: "time"}}
    assert layout.outputs == {"y": {0: "batch", 1: "time"}, "total": {0: "batch"}}


def test_state_may_have_its_batch_elsewhere() -> None:
    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 6, batch_first=True)

        def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            return self.lstm(x, (h, c))  # type: ignore[no-any-return]

    def example(generator: torch.Generator, batch: int, time: int) -> dict[str, Tensor]:
        state = torch.zeros((1, batch, 6))
        return {"x": torch.randn((batch, time, 4), generator=generator), "h": state, "c": state.clone()}

    pairs = (StatePair("h", "h_next", 1), StatePair("c", "c_next", 1))
    spec = spec_for(Lstm(), example=example, outputs=("y", "h_next", "c_next"), state=pairs)

    layout = probe(spec, Lstm().eval(), 0)

    assert layout.inputs == {"x": {0: "batch", 1: "time"}, "h": {1: "batch"}, "c": {1: "batch"}}
    assert layout.outputs["h_next"] == {1: "batch"}


def test_an_axis_that_changes_and_is_not_marked_is_named() -> None:
    def any_length(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        return {"x": torch.zeros((batch, 3 + generator.initial_seed(), 4))}

    text = said(spec_for(nn.Identity(), example=any_length, axes=()), nn.Identity())

    assert 'axis 1 of input "x" is 3 in one example and 4 in the next, but no axis is marked' in text
    assert "--axis NAME=4,3" in text


def test_the_number_of_outputs_is_said() -> None:
    text = said(spec_for(GivesTwo()), GivesTwo())

    assert "the module returns 2 tensors (FP32 [2,8,4], FP32 [2,4]), 1 outputs are named (y)" in text


def test_an_output_that_is_no_tensor_is_named() -> None:
    class GivesText(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, str]:
            return x, "text"

    assert "output 1 of the module is str, expected a Tensor" in said(spec_for(GivesText()), GivesText())


def test_an_output_without_a_batch_is_named() -> None:
    text = said(spec_for(SumsTheBatch()), SumsTheBatch())

    assert 'output "y" is FP32 [8,4] for batch 2, time 8: expected the batch on axis 0' in text
    assert "no axis of it grows with the batch" in text


def test_arguments_that_do_not_fit_are_named_with_the_signature() -> None:
    text = said(spec_for(Accumulator(), outputs=("y", "total")), Accumulator())

    assert "forward(x: torch.Tensor, total: torch.Tensor)" in text
    assert "does not take the 1 example inputs (x FP32 [2,8,4]): missing a required argument: 'total'" in text


def test_inputs_in_another_order_than_the_arguments_are_refused() -> None:
    def swapped(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        return {"total": torch.zeros((batch, 3)), "x": torch.ones((batch, 3))}

    spec = spec_for(Accumulator(), example=swapped, outputs=("y", "total_next"), axes=())

    assert "inputs are given as total, x, but the module takes x, total" in said(spec, Accumulator())


def test_an_example_that_the_module_fails_on_is_shown_with_the_users_line() -> None:
    class TooWide(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.ones((5, 2))

    text = said(spec_for(TooWide()), TooWide())

    assert "the module failed on example inputs (x FP32 [2,8,4]): RuntimeError" in text
    assert "test_probe.py" in text
    assert "return x @ torch.ones((5, 2))" in text


@pytest.mark.parametrize("module", [Stateful(), nn.Dropout()], ids=["keeps state", "draws"])
def test_a_module_that_answers_differently_is_refused(module: nn.Module) -> None:
    class Draws(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.dropout(x, training=True)

    chosen = module if isinstance(module, Stateful) else Draws()

    assert "differs when the module is run twice on the same inputs" in said(spec_for(chosen), chosen)


def test_state_that_does_not_come_back_as_it_went_in_is_named() -> None:
    class Grows(nn.Module):
        def forward(self, x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
            return x, torch.cat([total, x], 1)

    spec = spec_for(
        Grows(),
        example=ACCUMULATOR.example,
        outputs=("y", "total_next"),
        axes=(),
        state=(StatePair("total", "total_next"),),
    )

    text = said(spec, Grows())

    assert 'state "total" is taken as FP32 [2,3] and "total_next" is given as FP32 [2,6]' in text


@pytest.mark.parametrize(
    ("pair", "wanted"),
    [
        (StatePair("memory", "total_next"), 'state "memory": no such input; there are x, total'),
        (StatePair("total", "memory"), 'state "memory": no such output; there are y, total_next'),
    ],
)
def test_a_state_that_is_not_there_is_named(pair: StatePair, wanted: str) -> None:
    spec = spec_for(Accumulator(), example=ACCUMULATOR.example, outputs=("y", "total_next"), axes=(), state=(pair,))

    assert wanted in said(spec, Accumulator())


def test_state_that_grows_with_an_axis_is_refused() -> None:
    def example(generator: torch.Generator, batch: int, time: int) -> dict[str, Tensor]:
        return {"x": torch.ones((batch, 3)), "total": torch.zeros((batch, time))}

    class Keeps(nn.Module):
        def forward(self, x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
            return x + 1, total + x.sum(1, keepdim=True)

    pairs = (StatePair("total", "total_next"),)
    spec = spec_for(Keeps(), example=example, outputs=("y", "total_next"), state=pairs)

    assert 'state "total" grows with time: a server keeps state of one size' in said(spec, Keeps())


def test_an_example_function_that_fails_or_gives_no_tensors_is_named() -> None:
    def fails(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        raise KeyError("no such file")

    def gives_a_list(generator: torch.Generator, batch: int) -> list[Tensor]:
        return [torch.ones(batch)]

    failed = said(spec_for(nn.Identity(), example=fails, axes=()), nn.Identity())
    listed = said(spec_for(nn.Identity(), example=gives_a_list, axes=()), nn.Identity())  # type: ignore[arg-type]

    assert "the example function failed for batch 2: KeyError: 'no such file'" in failed
    assert "the example function must return tensors by name, got list" in listed
