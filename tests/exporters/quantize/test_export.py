"""A smaller file as an entry of its own: measured, refused when it loses too much, proven by golden vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from cuelight.exporters.cli import QUANTIZE, main
from cuelight.exporters.errors import ExportError
from cuelight.exporters.quantize.export import QuantizationError, export_quantized, quantization_text
from cuelight.exporters.quantize.judge import closeness
from cuelight.exporters.quantize.methods import METHODS
from cuelight.exporters.registry import SPECS
from cuelight.exporters.reports.page import as_page
from cuelight.exporters.reports.report import read_report
from cuelight.exporters.spec import Accuracy, Axis, ExportSpec
from tests.exporters.quantize.small_models import CNN, STEPS, cnn


def golden_errors(version: Path) -> list[float]:
    """Return how much of the tolerance each golden output uses, run as the server runs it."""
    session = ort.InferenceSession(str(version / "model.onnx"))
    names = [node.name for node in session.get_outputs()]
    shares = []
    with np.load(version / "golden.npz") as golden:
        cases = sorted({name.split("/")[0] for name in golden.files if "/" in name})
        for case in cases:
            prefix = f"{case}/inputs/"
            inputs = {name.removeprefix(prefix): golden[name] for name in golden.files if name.startswith(prefix)}
            for name, got in zip(names, session.run(names, inputs), strict=True):
                want = golden[f"{case}/outputs/{name}"]
                allowed = golden["atol"] + golden["rtol"] * np.abs(want)
                shares.append(float(np.max(np.abs(got - want) / allowed)))
    return shares


def test_the_command_knows_every_method() -> None:
    assert set(QUANTIZE) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_becomes_an_entry_beside_itself(tmp_path: Path, method: str) -> None:
    export = export_quantized(CNN, method, tmp_path, tmp_path)

    assert export.path == tmp_path / f"small_cnn_{METHODS[method]}" / "1"
    made = read_report(export.path)["quantization"]
    assert made["before"] == 1
    assert made["after"] >= 0.9
    assert made["bytes_after"] < made["bytes_before"]
    assert made["excluded"] == []
    described = {prop.key: prop.value for prop in onnx.load(export.path / "model.onnx").metadata_props}
    assert described["cuelight.quantization.method"] == method
    assert max(golden_errors(export.path)) <= 1
    assert method in as_page(read_report(export.path))


@pytest.mark.parametrize("method", ["int8-dynamic", "fp16", "bf16"])
def test_a_model_with_state_is_measured_over_its_steps(tmp_path: Path, method: str) -> None:
    export = export_quantized(STEPS, method, tmp_path, tmp_path)

    made = read_report(export.path)["quantization"]
    assert "closeness" in made["accuracy"]
    assert 0.95 <= made["after"] < 1
    assert max(golden_errors(export.path)) <= 1
    state = {prop.key: prop.value for prop in onnx.load(export.path / "model.onnx").metadata_props}["cuelight.state"]
    assert "h_next" in state


def test_calibration_data_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="small_steps: int8-static needs calibration data"):
        export_quantized(STEPS, "int8-static", tmp_path, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_the_costliest_node_is_left_in_fp32_where_that_is_enough(tmp_path: Path) -> None:
    measured = iter([1.0, 0.0, 1.0])  # the FP32 file, all nodes converted, all but one
    spec = replace(CNN, accuracy=Accuracy("by turns", lambda run, cache_dir: next(measured), 0.5))

    export = export_quantized(spec, "int8-static", tmp_path, tmp_path)

    made = read_report(export.path)["quantization"]
    assert len(made["excluded"]) == 1
    model = onnx.load(export.path / "model.onnx")
    (left,) = [node for node in model.graph.node if node.name == made["excluded"][0]]
    widened = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    assert left.input[1] not in widened


def test_a_model_that_loses_more_than_it_may_is_not_written(tmp_path: Path) -> None:
    measured = iter([1.0] + [0.5] * 20)
    spec = replace(CNN, accuracy=Accuracy("half", lambda run, cache_dir: next(measured), 0.4))

    with pytest.raises(QuantizationError, match=r"small_cnn_int8: half falls from 1\.0000 to 0\.5000 at best"):
        export_quantized(spec, "int8-static", tmp_path, tmp_path)

    assert not (tmp_path / "small_cnn_int8").exists()


def test_a_file_that_gives_no_number_is_refused_whatever_its_accuracy(tmp_path: Path) -> None:
    """No tolerance of golden vectors covers what is infinitely far off."""
    spec = replace(
        CNN,
        build=lambda cache_dir: nn.Sequential(cnn(cache_dir), Apart()).eval(),
        accuracy=Accuracy("content with anything", lambda run, cache_dir: 1.0, 0.0),
    )

    with pytest.raises(QuantizationError, match='small_cnn_int8: output "scores" is infinitely far from PyTorch'):
        export_quantized(spec, "int8-static", tmp_path, tmp_path)

    assert not (tmp_path / "small_cnn_int8").exists()


class Apart(nn.Module):
    """Takes logarithms of a large number and small ones: with one scale of 8 bits for all, the small ones become 0."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor([1000.0] + [0.01] * 9))

    def forward(self, x: Tensor) -> Tensor:
        return (x.abs() * 1e-3 + self.numbers).log()


def test_a_model_of_ones_own_is_quantized_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 4)).eval()\n"
    )
    arguments = [f"{tmp_path / 'own.py'}:build", "--name", "mine", "--input", "x=FP32[batch,64]", "--output", "y"]

    assert main([*arguments, "--repository", str(tmp_path / "models"), "--quantize", "int8-dynamic"]) == 0

    assert "closeness to the FP32 file on examples 1.0000 -> 0.9" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"mine_int8", "reports.html"}


def test_a_model_published_as_files_is_refused(tmp_path: Path, cache_dir: Path) -> None:
    arguments = ["moonshine_tiny_en", "--quantize", "fp16", "--cache-dir", str(cache_dir)]

    assert main([*arguments, "--repository", str(tmp_path)]) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_model_of_more_than_one_graph_is_refused_before_anything_is_written(tmp_path: Path, method: str) -> None:
    spec = replace(CNN, further=(replace(STEPS, name="decoder"),))

    with pytest.raises(ExportError, match=r"small_cnn: model\.onnx, decoder\.onnx make one model"):
        export_quantized(spec, method, tmp_path, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["g2p_en", "attention_decoder"])
def test_encoders_with_a_decoder_are_refused(
    name: str, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [name, "--quantize", "int8-dynamic", "--cache-dir", str(cache_dir)]

    assert main([*arguments, "--repository", str(tmp_path)]) == 1

    assert f"{name}: model.onnx, decoder.onnx make one model" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_closeness_is_one_less_the_relative_error_of_the_worst_output() -> None:
    wanted = {"a": np.array([3.0, 4.0]), "b": np.array([1.0, 1.0])}

    assert closeness(wanted, wanted) == 1
    assert closeness({**wanted, "a": np.array([3.0, 4.5])}, wanted) == pytest.approx(1 - 0.5 / 5)
    assert closeness({**wanted, "b": np.array([np.nan, 1.0])}, wanted) == -np.inf


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), [("digit_cnn", "int8-static"), ("resemblyzer", "int8-dynamic")])
def test_trained_models_keep_their_accuracy(name: str, method: str, tmp_path: Path, cache_dir: Path) -> None:
    spec: ExportSpec = SPECS[name]

    export = export_quantized(spec, method, tmp_path, cache_dir)

    made = read_report(export.path)["quantization"]
    assert made["after"] >= made["before"] - made["may_lose"]
    assert max(golden_errors(export.path)) <= 1


@pytest.mark.slow
def test_efficientnet_in_int8_loses_two_points_at_most_and_is_a_quarter_of_the_size(
    tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["efficientnet_lite0", "--quantize", "int8-static"]

    assert main([*arguments, "--repository", str(tmp_path), "--cache-dir", str(cache_dir)]) == 0

    assert "int8-static: top-1 of ten views each of 20 ImageNet photos" in capsys.readouterr().out
    made = read_report(tmp_path / "efficientnet_lite0_int8")["quantization"]
    assert made["before"] >= 0.85
    assert made["after"] >= made["before"] - 0.02
    assert made["bytes_after"] < made["bytes_before"] * 0.3


@pytest.mark.slow
def test_minilm_in_int8_keeps_the_order_of_similarities_in_a_quarter_of_the_size(
    tmp_path: Path, cache_dir: Path
) -> None:
    sizes = (Axis("tokens", (2, 64)),)
    spec = replace(
        SPECS["minilm_l6_v2"], axes=sizes, parity_batches=(1, 2)
    )  # its proof over all sizes is another test's

    export = export_quantized(spec, "int8-dynamic", tmp_path, cache_dir)

    made = read_report(export.path)["quantization"]
    print(quantization_text(export.path))
    assert "500 pairs" in made["accuracy"]
    assert made["before"] > 0.9999
    assert made["after"] >= 0.98
    assert made["bytes_after"] < made["bytes_before"] * 0.3
    assert (export.path / "tokenizer.json").is_file()
    assert max(golden_errors(export.path)) <= 1


@pytest.mark.slow
def test_glove_in_int8_keeps_what_is_near_in_a_quarter_of_the_size(tmp_path: Path, cache_dir: Path) -> None:
    export = export_quantized(SPECS["glove_6b_50d"], "int8-dynamic", tmp_path, cache_dir)

    made = read_report(export.path)["quantization"]
    print(quantization_text(export.path))
    assert made["before"] == 1
    assert 0.9 <= made["after"] < 1
    assert made["bytes_after"] < made["bytes_before"] * 0.3
    assert max(golden_errors(export.path)) <= 1
