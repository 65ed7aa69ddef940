"""The page of all exports in a repository, and that of an export which failed."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cuelight.exporters.cli import main
from cuelight.exporters.export import export_model
from cuelight.exporters.parity import ParityError
from cuelight.exporters.quantize.export import export_quantized
from cuelight.exporters.reports.failure import forget_failure, write_failure
from cuelight.exporters.reports.index import index_page, write_index
from cuelight.exporters.reports.report import read_report
from cuelight.server.inference.repository_scan import scan
from tests.exporters.quantize.small_models import CNN
from tests.exporters.reports.parsed_page import parsed
from tests.exporters.tiny import BAKED, DOUBLER

OWN = """
import torch
from torch import nn

class {name}(nn.Module):
    def forward(self, x):
        return x + torch.full((1,), {value})

def build():
    return {name}()
"""
BURNT_IN = "float(len(x.numpy()) if not torch.compiler.is_compiling() else 2)"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a model, another one in int8 too, and a failed one."""
    folder = tmp_path_factory.mktemp("models")
    for spec in (DOUBLER, DOUBLER, CNN):
        export_model(spec, folder, folder / "cache")
    export_quantized(CNN, "int8-static", folder, folder / "cache")
    with pytest.raises(ParityError) as raised:
        export_model(BAKED, folder, folder / "cache")
    write_failure(BAKED, "baked", raised.value, folder, 0)
    write_index(folder)
    return folder


def links_of(page: str) -> list[str]:
    return [value for name, value in parsed(page).attributes if name == "href"]


def test_every_export_is_listed_with_its_verdict_and_its_figures(repository: Path) -> None:
    text = parsed((repository / "reports.html").read_text(encoding="utf-8")).text

    assert "agrees with PyTorch: 2; " in text
    assert "does not agree with PyTorch: 1" in text
    assert "loses no more than it may: 1" in text
    for name in ("doubler", "small_cnn"):
        report = read_report(repository / name)
        row = next(
            line for line in text.splitlines() if line.startswith(f"{name} version {report['model']['version']}")
        )
        assert report["model"]["summary"] in row
        assert "agrees with PyTorch" in row
        assert f"{max(one['share_of_tolerance'] for one in report['parity']['worst']):.1%}" in row
        assert f"{report['speed']['rows'][0]['onnxruntime_s'] * 1e3:.3g} ms" in row


def test_an_int8_model_is_listed_with_what_it_kept(repository: Path) -> None:
    made = read_report(repository / "small_cnn_int8")["quantization"]

    text = parsed(index_page(repository)).text

    assert f"loses no more than it may{made['accuracy']}: {made['before']:.4g} to {made['after']:.4g}" in text


def test_every_link_leads_to_a_file_and_older_versions_are_reached(repository: Path) -> None:
    links = links_of((repository / "reports.html").read_text(encoding="utf-8"))

    assert [link for link in links if not (repository / link).is_file()] == []
    assert {"./doubler/2/report.html", "./doubler/1/report.html", "./doubler/2/model.onnx"} <= set(links)
    assert "./baked.failed.html" in links


def test_failures_come_first(repository: Path) -> None:
    names = re.findall(r'<td class="name"[^>]*><b><a href="[^"]*">([^<]*)</a>', index_page(repository))

    assert names == ["baked", "doubler", "small_cnn", "small_cnn_int8"]


def test_the_page_of_a_failure_says_where_the_two_part(repository: Path) -> None:
    page = parsed((repository / "baked.failed.html").read_text(encoding="utf-8"))
    head = page.text[: page.text.index("what it is")]

    assert "baked, not written: does not agree with PyTorch" in head
    assert "the first output that differs is that of the module itself" in head
    assert "x + torch.full" in head
    assert "DO NOT AGREE" in page.text
    assert [value for name, value in page.attributes if name == "href"] == []


def test_a_failure_is_forgotten_when_it_is_no_more(repository: Path, tmp_path: Path) -> None:
    mended = tmp_path / "models"
    shutil.copytree(repository, mended)

    forget_failure("baked", mended)

    assert "baked" not in index_page(mended)
    assert sorted(path.name for path in mended.iterdir() if path.is_file()) == ["reports.html"]


def test_a_server_sees_models_alone(repository: Path) -> None:
    assert set(scan([repository])) == {"cache", "doubler", "small_cnn", "small_cnn_int8"} & {
        path.name for path in repository.iterdir()
    }


def test_what_is_no_report_is_left_out_and_nothing_is_left_behind(tmp_path: Path) -> None:
    for name, text in (("broken/1", "{"), ("other/1", '{"model": {}}'), ("list/2", "[]"), (".hidden/1", "{}")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "report.json").write_text(text)

    write_index(tmp_path)

    assert "no export yet" in (tmp_path / "reports.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "broken", "list", "other", "reports.html"]


def test_of_exports_that_end_together_none_is_missing(repository: Path, tmp_path: Path) -> None:
    text = (repository / "doubler" / "1" / "report.json").read_text(encoding="utf-8")
    names = [f"net{number}" for number in range(16)]

    def end(name: str) -> None:
        folder = tmp_path / name / "1"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(text.replace('"doubler"', f'"{name}"'), encoding="utf-8")
        write_index(tmp_path)

    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(end, names))

    links = links_of((tmp_path / "reports.html").read_text(encoding="utf-8"))
    assert {f"./{name}/1/report.html" for name in names} <= set(links)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "reports.html"}


def test_names_are_text_on_the_page(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net" / "1"
    folder.mkdir(parents=True)
    report = read_report(repository / "doubler")
    report["model"]["summary"] = "<script>alert(1)</script>"
    (folder / "report.json").write_text(json.dumps(report))

    assert "script" not in parsed(index_page(tmp_path)).tags


def test_the_command_writes_pages_for_what_fails_and_for_what_succeeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    factory, models = tmp_path / "net.py", tmp_path / "models"
    words = ["--repository", str(models), "--name", "net", "--input", "x=FP32[batch,3]"]
    factory.write_text(OWN.format(name="Burnt", value=BURNT_IN))

    assert main([f"{factory}:build", *words]) == 1

    assert f"the same as a page: {models / 'net.failed.html'}" in capsys.readouterr().err
    assert "Burnt" in (models / "net.failed.html").read_text(encoding="utf-8")
    assert "./net.failed.html" in links_of((models / "reports.html").read_text(encoding="utf-8"))

    factory.write_text(OWN.format(name="Mended", value="2.0"))
    assert main([f"{factory}:build", *words]) == 0

    assert {path.name for path in models.iterdir()} == {"net", "reports.html"}
    assert "./net/1/report.html" in links_of((models / "reports.html").read_text(encoding="utf-8"))


def test_the_index_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_model(replace(DOUBLER, name="alone"), tmp_path, tmp_path / "cache")

    assert main(["index", "--repository", str(tmp_path)]) == 0
    assert main(["index", "--repository", str(tmp_path / "nowhere")]) == 1

    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "reports.html")]
    assert "nowhere" in err
    assert "./alone/1/report.html" in links_of((tmp_path / "reports.html").read_text(encoding="utf-8"))
