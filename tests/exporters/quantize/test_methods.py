"""The conversions, one by one: what they turn into 8 or 16 bits, and what they leave."""

from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.export import export_model, write_proven
from cuelight.exporters.quantize.judge import run_of
from cuelight.exporters.quantize.methods import METHODS, candidates, check_opens, convert, prepare
from cuelight.exporters.spec import Arrays
from tests.exporters.quantize.small_models import CNN, STEPS, cnn_inputs


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    return export_model(CNN, folder, folder).path / "model.onnx"


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def prepared(exported: Path, method: str, tmp_path: Path) -> Path:
    prepare(method, exported, tmp_path / "prepared.onnx")
    return tmp_path / "prepared.onnx"


def calibration() -> list[Arrays]:
    generator = torch.Generator().manual_seed(3)
    return [{name: tensor.numpy() for name, tensor in cnn_inputs(generator, 1).items()} for _ in range(16)]


def outputs_of(model: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    (scores,) = ort.InferenceSession(str(model)).run(None, {"image": images})
    found: NDArray[np.float32] = scores
    return found


def test_a_converted_file_is_smaller_and_close(prepared: Path, tmp_path: Path, method: str) -> None:
    images = cnn_inputs(torch.Generator().manual_seed(4), 32)["image"].numpy()
    target = tmp_path / "converted.onnx"

    convert(method, prepared, target, calibration())

    want, got = outputs_of(prepared, images), outputs_of(target, images)
    assert got.dtype == np.float32
    assert 0 < np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < 0.05
    # Of a CNN, int8-dynamic converts the dense layer alone.
    assert target.stat().st_size < prepared.stat().st_size * (0.8 if method == "int8-dynamic" else 0.7)


def test_a_file_with_every_node_left_alone_computes_the_same(prepared: Path, tmp_path: Path, method: str) -> None:
    images = cnn_inputs(torch.Generator().manual_seed(4), 3)["image"].numpy()
    nodes = candidates(method, prepared)

    convert(method, prepared, tmp_path / "same.onnx", calibration(), nodes)

    assert len(nodes) >= (1 if method == "int8-dynamic" else 2)
    # With fp16, what goes from node to node is rounded to 11 bits all the same, here four times.
    tolerance = 4 * 2**-11 if method == "fp16" else 0
    got, want = outputs_of(tmp_path / "same.onnx", images), outputs_of(prepared, images)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


def test_bf16_weights_are_rounded_to_the_nearest_half_to_even(exported: Path, tmp_path: Path) -> None:
    convert("bf16", exported, tmp_path / "bf16.onnx", [])

    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(exported).graph.initializer}
    after = {tensor.name: tensor for tensor in onnx.load(tmp_path / "bf16.onnx").graph.initializer}
    kept = [name for name in before if f"{name}.bf16" in after]
    assert len(kept) >= 2
    for name in kept:
        raw = np.frombuffer(after[f"{name}.bf16"].raw_data, ml_dtypes.bfloat16).reshape(before[name].shape)
        np.testing.assert_array_equal(raw, before[name].astype(ml_dtypes.bfloat16))


class _Looks(nn.Module):
    """A table, a product with a weight, and one of what was computed with itself."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(1000, 32)
        self.layer = nn.Linear(32, 32)

    def forward(self, ids: Tensor) -> Tensor:
        found = self.layer(self.table(ids))
        products: Tensor = found @ found.transpose(1, 2)
        return products


def _ids(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    return {"ids": torch.randint(1000, (batch, 7), generator=generator)}


def test_int8_dynamic_converts_what_has_weights_and_nothing_else(tmp_path: Path) -> None:
    spec = replace(CNN, build=lambda cache_dir: _Looks().eval(), example=_ids, calibration=None)
    model = export_model(spec, tmp_path, tmp_path).path / "model.onnx"
    prepare("int8-dynamic", model, tmp_path / "prepared.onnx")

    nodes = candidates("int8-dynamic", tmp_path / "prepared.onnx")
    convert("int8-dynamic", tmp_path / "prepared.onnx", tmp_path / "int8.onnx", [])

    kinds = {node.name: node.op_type for node in onnx.load(tmp_path / "prepared.onnx").graph.node}
    assert sorted(kinds[name] for name in nodes) == ["Gather", "MatMul"]
    stored = {
        tensor.data_type for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer if len(tensor.dims) == 2
    }
    assert stored == {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert (tmp_path / "int8.onnx").stat().st_size < model.stat().st_size * 0.35


def test_a_file_that_kills_who_opens_it_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killing = tmp_path / "onnxruntime.py"
    killing.write_text(
        "import os, signal\nclass InferenceSession:\n    def __init__(self, path):\n        os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(ExportError, match="dies of SIGABRT when it opens the converted file"):
        check_opens(tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_one_upon_the_other_can_be_opened_in_fp16(tmp_path: Path, kind: str) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = getattr(nn, kind)(8, 16, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            hidden: Tensor = self.layers(x)[0]
            return hidden

    spec = replace(
        STEPS,
        name="recurrent",
        build=lambda cache_dir: Recurrent().eval(),
        example=lambda generator, batch: {"x": torch.randn((batch, 5, 8), generator=generator)},
        outputs=("hidden",),
        state=(),
        parity_steps=1,
    )
    fp32, prepared, converted = (tmp_path / name for name in ("fp32.onnx", "prepared.onnx", "fp16.onnx"))
    write_proven(spec, spec.build(tmp_path), fp32, 0)
    prepare("fp16", fp32, prepared)

    convert("fp16", prepared, converted, [])

    check_opens(converted)
    x = torch.randn((3, 5, 8), generator=torch.Generator().manual_seed(1)).numpy()
    np.testing.assert_allclose(run_of(converted)({"x": x})["hidden"], run_of(fp32)({"x": x})["hidden"], atol=4e-3)
