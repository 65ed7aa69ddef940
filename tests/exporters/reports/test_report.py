"""The report of an export: what is in it, as JSON, as a page, in the terminal."""

import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from cuelight.exporters.cli import main
from cuelight.exporters.export import Export, export_model
from cuelight.exporters.reports.page import as_page
from cuelight.exporters.reports.report import Report, read_report
from cuelight.exporters.reports.tables import tables
from cuelight.exporters.reports.terminal import print_report
from tests.exporters.tiny import ACCUMULATOR, DOUBLER


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A model with state, exported."""
    folder = tmp_path_factory.mktemp("models")
    return export_model(ACCUMULATOR, folder, folder / "cache")


@pytest.fixture
def report(export: Export) -> Report:
    return read_report(export.path)


class _Page(HTMLParser):
    """Collects tags, attributes and text, and which tags were left open."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> _Page:
    parser = _Page()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_parity_is_there_by_size_and_by_step(report: Report, export: Export) -> None:
    parity = report["parity"]

    assert parity["passed"] is True
    assert parity["comparisons"] == len(export.report.rows)
    assert {(row["output"], row["batch"]) for row in parity["by_size"]} == {
        (output, batch) for output in ("y", "total_next") for batch in (1, 2, 5)
    }
    assert {name: len(errors) for name, errors in parity["max_abs_error_by_step"].items()} == {"y": 3, "total_next": 3}


def test_the_graph_is_summarized(report: Report) -> None:
    graph = report["graph"]

    assert [tensor["name"] for tensor in graph["inputs"]] == ["x", "total"]
    assert graph["inputs"][0] == {"name": "x", "datatype": "FP32", "shape": ["batch", 3]}
    assert graph["operators"] == {"Add": 1, "Mul": 1}
    assert graph["opset"] == 18


def test_both_sides_were_timed(report: Report) -> None:
    rows = report["speed"]["rows"]

    assert [row["batch"] for row in rows] == [1, 4]  # the model takes eight rows at most
    assert all(row["onnxruntime_s"] > 0 and row["torch_s"] > 0 for row in rows)


def test_what_would_run_on_cuda_is_said_with_how_it_is_known(report: Report) -> None:
    assert report["cuda"]["cuda_nodes"] == report["cuda"]["nodes"] == 2
    assert report["cuda"]["fallback"] == []
    assert "onnxruntime-gpu" in report["cuda"]["kernels_of"]


def test_graphs_beside_the_first_are_looked_at_for_cuda_too(tmp_path: Path) -> None:
    export = export_model(replace(DOUBLER, further=(ACCUMULATOR,)), tmp_path, tmp_path)
    report = read_report(export.path)

    assert {file: found["cuda_nodes"] for file, found in report["cuda_beside"].items()} == {"accumulator.onnx": 2}
    (cuda,) = [table for table in tables(report) if table.title == "On CUDA"]
    assert "model.onnx: of 1 nodes 1 would run" in cuda.text
    assert "accumulator.onnx: of 2 nodes 2 would run" in cuda.text


def test_a_report_made_before_graphs_beside_were_looked_at_is_shown(report: Report) -> None:
    del report["cuda_beside"]

    assert "model.onnx: of 2 nodes" in parsed(as_page(report)).text


def test_golden_vectors_are_counted(report: Report) -> None:
    assert report["golden"]["cases"] == 6
    assert report["golden"]["first_case_shapes"]["inputs/x"] == [1, 3]


def test_the_page_needs_nothing_beside_it(export: Export) -> None:
    page = parsed((export.path / "report.html").read_text(encoding="utf-8"))

    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href", "srcset") or "://" in value]
    assert page.tags.count("svg") == 2
    assert "agrees with PyTorch" in page.text


def test_what_a_user_typed_is_text_on_the_page(report: Report) -> None:
    report["model"]["source"] = "<script>alert(1)</script>"
    report["parity"]["max_abs_error_by_step"] = {"<b>y": [1e-7, 0.0, float("inf")]}

    page = parsed(as_page(report))

    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "<script>alert(1)</script>" in page.text


def test_a_failed_parity_is_said_first(report: Report) -> None:
    report["parity"]["passed"] = False

    assert "does not agree with PyTorch" in parsed(as_page(report)).text


def test_the_terminal_shows_every_short_table(report: Report) -> None:
    console = Console(file=io.StringIO(), width=100)

    print_report(report, console)

    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for table in tables(report):
        assert (table.title in text) == (not table.long)
    assert "total takes total_next" in text


def test_the_command_shows_the_newest_version(
    export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in (2, 10):
        folder = tmp_path / str(version)
        folder.mkdir()
        report = read_report(export.path)
        report["model"]["version"] = version
        (folder / "report.json").write_text(json.dumps(report))

    assert main(["report", str(tmp_path)]) == 0

    assert "accumulator, version 10: agrees with PyTorch" in capsys.readouterr().out
