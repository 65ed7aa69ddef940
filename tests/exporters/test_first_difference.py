"""A failed parity names the first tensor that differs, its module and its line, and writes nothing."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from cuelight.exporters.conversion import write_onnx
from cuelight.exporters.errors import ExportError
from cuelight.exporters.export import export_model
from cuelight.exporters.first_difference import first_difference
from cuelight.exporters.parity import Case, ParityError
from cuelight.exporters.probe import probe
from cuelight.exporters.tracing import trace
from tests.exporters.awkward import BakesInside, BranchesOnSize, Eigenvalues, spec_for

SIZES = {"batch": 2, "time": 5}


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lower = nn.Linear(4, 4)
        self.upper = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.lower(x).relu()
        return self.upper(hidden)  # type: ignore[no-any-return]


def test_a_value_burnt_in_while_tracing_is_named_by_its_module(tmp_path: Path) -> None:
    with pytest.raises(ParityError) as raised:
        export_model(spec_for(BakesInside()), tmp_path, tmp_path)

    assert 'the first output that differs is that of module "offset" (Offset)' in raised.value.difference
    assert "return x + number" in raised.value.difference
    assert list(tmp_path.iterdir()) == []


def test_a_branch_on_a_size_that_parity_finds_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParityError) as raised:
        export_model(spec_for(BranchesOnSize()), tmp_path, tmp_path)

    assert "DO NOT AGREE" in str(raised.value)
    assert "if x.shape[1] > 6:" in raised.value.difference
    assert "(assumed: x.shape[1] > 6)" in raised.value.difference


def test_a_tensor_that_the_file_computes_otherwise_is_named(tmp_path: Path) -> None:
    module = TwoLayers().eval()
    spec = spec_for(module)
    layout = probe(spec, module, 0)
    model = tmp_path / "model.onnx"
    program = write_onnx(spec, trace(spec, module, layout, 0), layout, model)
    case = case_of_ones()
    assert "no tensor differs" in first_difference(spec, module, program, model, case)

    proto = onnx.load(model)
    (bias,) = (tensor for tensor in proto.graph.initializer if tensor.name == "upper.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save(proto, model)
    text = first_difference(spec, module, program, model, case)

    assert text.startswith('the first tensor that differs is "y" (with batch 2, time 5, step 0): Add in module "upper"')
    assert "return self.upper(hidden)" in text
    assert "off by 1 at [" in text


def test_an_output_that_rounding_alone_puts_beyond_its_tolerance_is_named(tmp_path: Path) -> None:
    module = TwoLayers().eval()
    spec = spec_for(module, atol=1e-6, rtol=0.0)
    layout = probe(spec, module, 0)
    model = tmp_path / "model.onnx"
    program = write_onnx(spec, trace(spec, module, layout, 0), layout, model)
    proto = onnx.load(model)
    (bias,) = (tensor for tensor in proto.graph.initializer if tensor.name == "upper.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
    onnx.save(proto, model)
    # Beside outputs of 10,000, 0.01 is a rounding error of FP32 that atol has no room for.
    case = Case(SIZES, 0, {"x": np.full((2, 5, 4), 1e5, np.float32)})

    text = first_difference(spec, module, program, model, case)

    assert text.startswith(
        'no tensor differs when both sides get the same inputs (with batch 2, time 5, step 0), but output "y"'
    )
    assert "off by 0.0" in text
    assert "adds up over steps" not in text


def test_a_difference_that_no_single_step_shows_is_laid_to_the_steps(tmp_path: Path) -> None:
    module = TwoLayers().eval()
    spec = spec_for(module)
    layout = probe(spec, module, 0)
    model = tmp_path / "model.onnx"
    program = write_onnx(spec, trace(spec, module, layout, 0), layout, model)

    text = first_difference(spec, module, program, model, case_of_ones(step=7))

    assert text.endswith("(with batch 2, time 5, step 7): the difference adds up over steps")


@pytest.mark.parametrize("layer", [nn.GRU, nn.LSTM])
def test_a_recurrent_layer_is_not_blamed_for_a_state_that_nobody_uses(layer: type[nn.Module], tmp_path: Path) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer(4, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            states: Tensor = self.layer(x)[0]
            return states[:, -1]

    module = Recurrent().eval()
    spec = spec_for(module)
    layout = probe(spec, module, 0)
    program = write_onnx(spec, trace(spec, module, layout, 0), layout, tmp_path / "model.onnx")

    text = first_difference(spec, module, program, tmp_path / "model.onnx", case_of_ones())

    assert "no tensor differs" in text


def test_one_of_two_outputs_that_is_burnt_in_is_enough(tmp_path: Path) -> None:
    class Gives(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * 3, x + (1.0 if torch.compiler.is_compiling() else 2.0)

    with pytest.raises(ParityError) as raised:
        export_model(spec_for(Gives(), outputs=("y", "z")), tmp_path, tmp_path)

    assert "the first output that differs is that of the module itself: tracing has burnt" in raised.value.difference


def case_of_ones(step: int = 0) -> Case:
    return Case(SIZES, step, {"x": np.ones((2, 5, 4), np.float32)})


def test_an_operation_without_a_form_in_onnx_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as raised:
        export_model(spec_for(Eigenvalues()), tmp_path, tmp_path)

    assert "ONNX has no form for aten.linalg_eig" in str(raised.value)
    assert "values: Tensor = torch.linalg.eigvals(x.transpose(1, 2) @ x)" in str(raised.value)
    assert list(tmp_path.iterdir()) == []
