"""The report of an export: what is in it, as JSON, as a page, in the terminal."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cuelight.exporters.cli import main
from cuelight.exporters.export import Export, export_model
from cuelight.exporters.reports.headline import megabytes
from cuelight.exporters.reports.page import as_page
from cuelight.exporters.reports.plots import bars, log_lines
from cuelight.exporters.reports.report import Report, read_report
from cuelight.exporters.reports.tables import tables
from cuelight.exporters.reports.terminal import print_report
from tests.exporters.reports.parsed_page import parsed
from tests.exporters.tiny import ACCUMULATOR, DOUBLER


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A model with state, exported."""
    folder = tmp_path_factory.mktemp("models")
    return export_model(ACCUMULATOR, folder, folder / "cache")


@pytest.fixture
def report(export: Export) -> Report:
    return read_report(export.path)


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
    assert not [value for name, value in page.attributes if name in ("src", "srcset") or "://" in value]
    assert page.tags.count("svg") == 1
    assert "agrees with PyTorch" in page.text


def test_the_page_leads_to_every_file_beside_it(export: Export) -> None:
    page = parsed((export.path / "report.html").read_text(encoding="utf-8"))

    links = [value for name, value in page.attributes if name == "href"]
    assert links == ["./golden.npz", "./model.onnx", "./report.json"]
    assert all((export.path / link).is_file() for link in links)


def test_the_verdict_and_the_figures_that_matter_come_before_all_else(report: Report) -> None:
    text = parsed(as_page(report)).text

    head = text[: text.index("what it is")]
    worst = max(row["share_of_tolerance"] for row in report["parity"]["worst"])
    assert "agrees with PyTorch" in head
    assert f"{worst:.1%}of what is allowed; {report['parity']['comparisons']} comparisons" in head
    assert f"{report['speed']['rows'][0]['onnxruntime_s'] * 1e3:.3g} ms" in head
    assert f"{report['model']['files_bytes']['model.onnx']} bytes" in head
    assert "all nodes" in head


def test_every_figure_of_a_picture_has_its_unit(report: Report) -> None:
    text = parsed(as_page(report)).text

    row = report["speed"]["rows"][1]
    assert f"{row['batch'] / row['onnxruntime_s']:,.0f} rows/s" in text
    assert "largest absolute error" in text
    assert "atol 1e-06" in text


def test_a_bar_is_as_wide_as_its_share_of_what_is_full() -> None:
    drawn = bars(["batch 1"], {"a": [25.0], "<b>": [50.0]}, "%", full=100)

    assert re.findall(r"width:([0-9.]+)%", drawn) == ["25.0", "50.0"]
    assert "&lt;b&gt;" in drawn
    endless = bars(["batch 1", "batch 4"], {"a": [4.0, float("inf")], "b": [1.0, 2.0]}, "")
    assert re.findall(r"width:([0-9.]+)%", endless) == ["100.0", "25.0", "100.0", "50.0"]
    assert re.findall(r"width:([0-9.]+)%", bars(["batch 1"], {"a": [0.0]}, "")) == ["0.0"]


def test_errors_of_zero_leave_a_gap_and_are_said_where_all_are() -> None:
    drawn = log_lines(
        {"y": [1e-6, 0.0, 1e-5, 1e-5], "same": [0.0] * 4}, "largest absolute error", "step", (1e-4, "atol 0.0001")
    )

    points = [line.split() for line in re.findall(r'points="([^"]*)"', drawn)]
    assert [len(run) for run in points] == [1, 2]
    assert "1e-6" in drawn
    assert "1e-12" not in drawn
    assert "same: no error at any step" in drawn


@pytest.mark.parametrize("errors", [[float("inf"), 1e-7], [0.0, 0.0], []])
def test_any_errors_can_be_drawn(errors: list[float]) -> None:
    drawn = log_lines({"y": errors}, "error", "step", (0.0, "exact"))

    assert not re.search("nan|inf", re.sub("<text.*?</text>", "", drawn))


def test_the_page_is_dark_where_the_readers_system_is(report: Report) -> None:
    page = as_page(report)

    assert "color-scheme: light dark" in page
    named = set(re.findall(r"var\((--[a-z0-9]+)\)", page))
    light, dark = (set(re.findall(r"(--[a-z0-9]+):", half)) for half in page.split("@media (prefers-color-scheme", 1))
    assert named <= light == dark


def test_what_a_user_typed_is_text_on_the_page(report: Report) -> None:
    report["model"]["source"] = "<script>alert(1)</script>"
    report["parity"]["max_abs_error_by_step"] = {"<em>y": [1e-7, 0.0, float("inf")]}

    page = parsed(as_page(report))

    assert "script" not in page.tags
    assert "em" not in page.tags
    assert "<script>alert(1)</script>" in page.text


def test_a_file_with_a_strange_name_is_a_link_to_that_file(report: Report) -> None:
    report["model"]["files_bytes"] = {'javascript:alert("1") #?.txt': 1}

    page = parsed(as_page(report))

    (link, _) = [value for name, value in page.attributes if name == "href"]
    assert link == "./javascript%3Aalert%28%221%22%29%20%23%3F.txt"


def test_a_failed_parity_is_said_first(report: Report) -> None:
    report["parity"]["passed"] = False

    page = parsed(as_page(report))

    assert "does not agree with PyTorch" in page.text[: page.text.index("what it is")]
    assert ("class", "verdict failed") in page.attributes


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.00 kB"),
        (421_770, "422 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (18_558_111, "18.6 MB"),
        (999_499_999, "999 MB"),
        (2_500_000_000, "2.50 GB"),
    ],
)
def test_a_size_has_the_unit_that_suits_it(size_bytes: int, shown: str) -> None:
    assert megabytes(size_bytes) == shown


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
