"""The export of one model: what is written, and that nothing is written when the proof fails."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from cuelight.exporters.errors import ExportError
from cuelight.exporters.export import Export, export_model
from cuelight.exporters.parity import ParityError
from tests.exporters.tiny import ACCUMULATOR, BAKED, DOUBLER


def metadata_of(path: Path) -> dict[str, str]:
    return {prop.key: prop.value for prop in onnx.load(path).metadata_props}


@pytest.fixture(scope="module")
def accumulator(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A model with state, exported."""
    folder = tmp_path_factory.mktemp("models")
    return export_model(ACCUMULATOR, folder, folder / "cache")


def test_a_file_runs_at_any_batch_size_and_describes_itself(tmp_path: Path) -> None:
    export = export_model(DOUBLER, tmp_path, tmp_path / "cache")

    session = ort.InferenceSession(str(export.path / "model.onnx"))
    (y,) = session.run(None, {"x": np.ones((7, 3), np.float32)})
    assert y.tolist() == [[2.0] * 3] * 7
    assert session.get_inputs()[0].shape == ["batch", 3]
    assert session.get_outputs()[0].shape == ["batch", 3]
    described = metadata_of(export.path / "model.onnx")
    assert described["cuelight.schema"] == "1"
    assert described["cuelight.task"] == "test"
    assert described["cuelight.max_batch_size"] == "8"
    assert json.loads(described["cuelight.parity"])["comparisons"] == 3


def test_state_pairs_are_declared_and_stepped(accumulator: Export) -> None:
    (pair,) = json.loads(metadata_of(accumulator.path / "model.onnx")["cuelight.state"])
    assert pair == {"input": "total", "output": "total_next", "batch_axis": 0, "initial": "zeros"}
    assert max(row.step for row in accumulator.report.rows) == 2


def test_golden_vectors_hold_what_the_module_computed(accumulator: Export) -> None:
    with np.load(accumulator.path / "golden.npz", allow_pickle=False) as golden:
        cases = {name.split("/")[0] for name in golden.files if "/" in name}
        assert cases == {str(case) for case in range(6)}  # two batch sizes of three steps
        assert float(golden["atol"]) == 1e-6
        for case in cases:
            total = golden[f"{case}/inputs/x"] + golden[f"{case}/inputs/total"]
            np.testing.assert_array_equal(golden[f"{case}/outputs/total_next"], total)
        np.testing.assert_array_equal(golden["1/inputs/total"], golden["0/outputs/total_next"])


def test_each_export_is_the_next_version(tmp_path: Path) -> None:
    versions = [export_model(DOUBLER, tmp_path, tmp_path / "cache").version for _ in range(2)]

    assert versions == [1, 2]
    with pytest.raises(FileExistsError, match="never overwritten"):
        export_model(DOUBLER, tmp_path, tmp_path / "cache", version=2)


def test_a_failed_parity_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="DO NOT AGREE"):
        export_model(BAKED, tmp_path, tmp_path / "cache")

    assert list(tmp_path.rglob("*")) == []


def test_an_operator_set_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="doubler: opset 99 cannot be had from this model, only 18"):
        export_model(replace(DOUBLER, opset=99), tmp_path, tmp_path / "cache")

    assert list(tmp_path.rglob("*")) == []


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"doubler: atol and rtol must be 0 or more, got -1\.0"):
        replace(DOUBLER, atol=-1.0)


def test_further_files_of_a_version_stand_beside_the_model(tmp_path: Path) -> None:
    spec = replace(DOUBLER, assets=lambda cache_dir: {"labels.txt": b"twice\n"})

    export = export_model(spec, tmp_path, tmp_path / "cache")

    files = {path.name for path in export.path.iterdir()}
    assert files == {"model.onnx", "golden.npz", "report.json", "report.html", "labels.txt"}
    assert (export.path / "labels.txt").read_bytes() == b"twice\n"


def test_further_graphs_are_proven_and_stand_beside_the_model(tmp_path: Path) -> None:
    spec = replace(DOUBLER, further=(ACCUMULATOR,))

    export = export_model(spec, tmp_path, tmp_path / "cache")

    files = {path.name for path in export.path.iterdir()}
    own = {"model.onnx", "golden.npz", "report.json", "report.html"}
    assert files == {*own, "accumulator.onnx", "accumulator.golden.npz"}
    assert [report.name for report in export.further] == ["accumulator"]
    assert export.further[0].passed
    assert json.loads(metadata_of(export.path / "accumulator.onnx")["cuelight.state"])[0]["input"] == "total"
    assert export.size_bytes == sum(path.stat().st_size for path in export.path.glob("*.onnx"))
    notes = json.loads((export.path / "report.json").read_text())["model"]["notes"]
    assert any("accumulator.onnx: 18 comparisons with PyTorch agree" in note for note in notes)
    with np.load(export.path / "accumulator.golden.npz", allow_pickle=False) as golden:
        np.testing.assert_array_equal(golden["1/inputs/total"], golden["0/outputs/total_next"])


def test_a_further_graph_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="baked"):
        export_model(replace(DOUBLER, further=(BAKED,)), tmp_path, tmp_path / "cache")

    assert list(tmp_path.rglob("*.onnx")) == []


def test_a_further_graph_has_a_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match='doubler: a further graph cannot be called "model"'):
        export_model(replace(DOUBLER, further=(replace(DOUBLER, name="model"),)), tmp_path, tmp_path / "cache")


class Lookup(torch.nn.Module):
    """Has an operation inside that torch names `embedding`, as its output is named."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(5, 2, _weight=torch.arange(10.0).reshape(5, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        doubled: torch.Tensor = self.table(x) * 2
        return doubled


def test_an_output_may_have_the_name_of_an_operation(tmp_path: Path) -> None:
    spec = replace(
        DOUBLER,
        build=lambda cache_dir: Lookup().eval(),
        example=lambda generator, batch: {"x": torch.randint(0, 5, (batch, 3), generator=generator)},
        outputs=("embedding",),
    )

    export = export_model(spec, tmp_path, tmp_path / "cache")

    session = ort.InferenceSession(str(export.path / "model.onnx"))
    (got,) = session.run(["embedding"], {"x": np.array([[4, 0, 1]])})
    assert got.tolist() == [[[16, 18], [0, 2], [4, 6]]]
