"""`cuelight export` as a person uses it."""

from pathlib import Path

import pytest

from cuelight.exporters.cli import main


def test_list_names_every_model_with_its_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0

    listed = capsys.readouterr().out
    assert "efficientnet_lite0" in listed
    assert "silero_vad" in listed
    assert "moonshine_tiny_en" in listed
    assert "MIT" in listed


def test_an_unknown_model_is_named_with_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resnet", "--repository", str(tmp_path)]) == 1

    assert 'no model "resnet"; there are efficientnet_lite0, silero_vad' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_export_prints_its_proof(tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["silero_vad", "--repository", str(tmp_path), "--cache-dir", str(cache_dir)]

    assert main(arguments) == 0
    assert "240 comparisons with PyTorch agree" in capsys.readouterr().out
    assert (tmp_path / "silero_vad" / "1" / "golden.npz").is_file()

    assert main([*arguments, "--if-missing"]) == 0
    assert not (tmp_path / "silero_vad" / "2").exists()


@pytest.mark.slow
def test_a_model_that_is_published_as_files_proves_itself_on_a_recording(
    tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["moonshine_tiny_en", "--repository", str(tmp_path), "--cache-dir", str(cache_dir)]

    assert main(arguments) == 0

    assert "beckett.wav: every word is right" in capsys.readouterr().out
    version = tmp_path / "moonshine_tiny_en" / "1"
    files = {path.name for path in version.iterdir()}
    models = {"model.onnx", "frontend.onnx", "encoder.onnx", "decoder.onnx"}
    assert files == {*models, "tokenizer.bin", "golden.npz", "report.json", "report.html"}
    assert "every word is right" in (version / "report.html").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"moonshine_tiny_en", "reports.html"}
