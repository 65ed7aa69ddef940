"""`cuelight export table`: every model in a row, its figures out of the reports, and README's copy of it."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cuelight.exporters.cli import main
from cuelight.exporters.export import export_model
from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.quantize.export import export_quantized
from cuelight.exporters.quantize.methods import METHODS
from cuelight.exporters.registry import ALL_SPECS, SPECS
from cuelight.exporters.reports.model_markdown import markdown_tables
from cuelight.exporters.reports.model_table import figures_of, figures_table, models_table, short_table
from cuelight.exporters.reports.report import read_report
from cuelight.exporters.spec import Check, ExportSpec
from tests.exporters.quantize.small_models import CNN

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "benchmarks" / "results" / "models.json"
START, END = "<!-- cuelight export table --markdown -->\n", "\n<!-- end of the table -->"


@pytest.mark.parametrize("spec", ALL_SPECS.values(), ids=ALL_SPECS)
def test_every_model_says_what_it_is_and_what_checks_it(spec: ExportSpec | FilesSpec) -> None:
    assert spec.task
    assert spec.architecture
    assert spec.source
    assert spec.license
    assert spec.check is not None
    file, _, name = spec.check.test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_way_to_int8_is_one_that_the_model_can_go(spec: ExportSpec) -> None:
    assert spec.int8_method in {"", *(method for method, number in METHODS.items() if number == "int8")}
    assert spec.int8_method != "int8-static" or spec.calibration is not None


def test_readme_has_what_the_command_makes_of_the_measured_figures(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert main(["table", "--markdown", "--figures", str(RESULTS)]) == 0

    made = capsys.readouterr().out.strip()
    assert readme.count(START) == readme.count(END) == 1
    assert readme[readme.index(START) + len(START) : readme.index(END)] == made
    assert all(f"\n| `{name}`<br>" in made and made.count(f"\n| `{name}`") >= 2 for name in ALL_SPECS)


def test_no_cell_of_readme_is_wide_and_every_footnote_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    made = readme[readme.index(START) + len(START) : readme.index(END)]
    rows = [line.strip("| ").split(" | ") for line in made.splitlines() if line.startswith("| `")]
    shown = [re.sub(r"&nbsp;<sup>\d+</sup>|\]\([^)]*\)|[`\[]", "", cell) for row in rows for cell in row]

    words = [part for cell in shown for text in cell.split("<br>") for part in text.split()]
    assert max(map(len, words)) <= 36
    assert max(len(text) for cell in shown for text in cell.split("<br>")) <= 72
    marked = {int(number) for row in rows for cell in row for number in re.findall(r"<sup>(\d+)</sup>", cell)}
    told = [int(number) for number in re.findall(r"^<sup>(\d+)</sup> \S", made, re.MULTILINE)]
    assert told == sorted(marked) == list(range(1, len(told) + 1))


def test_every_model_was_exported_with_its_int8_when_the_figures_were_taken() -> None:
    figures = json.loads(RESULTS.read_text(encoding="utf-8"))["reports"]

    assert set(figures) == set(ALL_SPECS)
    assert {name for name, found in figures.items() if found["int8"]} == {
        name for name, spec in SPECS.items() if spec.int8_method
    }


def test_figures_are_those_of_the_reports(tmp_path: Path) -> None:
    spec = replace(CNN, architecture="CNN", check=Check("as before", "tests/exporters/quantize/test_export.py::test"))
    other = replace(spec, name="not_exported", check=None)
    fp32 = read_report(export_model(spec, tmp_path, tmp_path).path)
    int8 = read_report(export_quantized(spec, "int8-static", tmp_path, tmp_path).path)

    figures = json.loads(json.dumps(figures_of([spec, other], tmp_path)))
    row, empty = figures_table([spec, other], figures).rows

    assert models_table([spec]).rows == (("small_cnn", "test", "CNN", "none", "none", "as before"),)
    worst = max(one["share_of_tolerance"] for one in fp32["parity"]["by_size"])
    assert row[:4] == ("small_cnn", "", str(fp32["parity"]["comparisons"]), f"{worst:.1%}")
    ours, theirs = (fp32["speed"]["rows"][0][side] * 1000 for side in ("onnxruntime_s", "torch_s"))
    assert row[4:6] == (f"{ours:.3g}", f"{theirs:.3g}")
    made = int8["quantization"]
    assert row[6:8] == tuple(f"{made['speed'][0][side] * 1000:.3g}" for side in ("quantized_s", "fp32_s"))
    assert row[8:] == (f"{made['before']:.4g} to {made['after']:.4g}", "share as before")
    assert empty == ("not_exported", *[""] * 9)
    short, short_empty = short_table([spec, other], figures).rows
    assert short[1:3] == (", ".join(row[2:4]), f"{row[4]} ({row[5]})")
    assert short[3:] == (f"{row[6]} ({row[7]})", ", ".join(row[8:]))
    assert short_empty == ("not_exported", "", "", "", "")
    assert "| [as before](tests/exporters/quantize/test_export.py) |" in markdown_tables([spec, other], figures)


def test_what_is_cut_stands_whole_in_a_footnote_once_for_all_that_say_the_same() -> None:
    source = "trained by Cuelight on figures that are known to everybody"
    licence = "Apache-2.0 (the weights), MIT (the names of their classes)"
    specs = [
        replace(CNN, name="one", source=source, license=licence),
        replace(CNN, name="two", source=source, license="MIT (all)"),
    ]

    lines = markdown_tables(specs, {}).splitlines()

    assert (
        "| `one`<br>test |  | trained by Cuelight&nbsp;<sup>1</sup> | Apache-2.0, MIT&nbsp;<sup>2</sup> |  |" in lines
    )
    assert "| `two`<br>test |  | trained by Cuelight&nbsp;<sup>1</sup> | MIT (all) |  |" in lines
    assert lines[-2:] == [f"<sup>1</sup> {source}<br>", f"<sup>2</sup> {licence}"]


def test_the_command_prints_a_repository_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "--repository", str(tmp_path)]) == 0

    printed = capsys.readouterr().out
    assert [name for name in ALL_SPECS if f"\n{name} " not in printed and f"\n {name} " not in printed] == []


def test_a_file_without_figures_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")

    assert main(["table", "--figures", str(wrong)]) == 1

    assert f"figures {wrong}: KeyError" in capsys.readouterr().err
