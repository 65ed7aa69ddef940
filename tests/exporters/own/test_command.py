"""`cuelight export package.module:factory` as it is typed: what it writes and what it refuses."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from cuelight.exporters.cli import main

FILE = """
import torch
from torch import nn

from cuelight.exporters.spec import Axis, ExportSpec


class Classifier(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.embedding = nn.Embedding(50, 4)
        self.head = nn.Linear(4, classes)

    def forward(self, ids):
        return self.head(self.embedding(ids).mean(1))


class GivesTwo(nn.Module):
    def forward(self, x):
        return {"doubled": x * 2, "shifted": x + 1}


class VectorFirst(nn.Module):
    def forward(self, x):
        return x + 1, x[:, :2] * 2


class Branches(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


class Baked(nn.Module):
    def forward(self, x):
        return x + (1.0 if torch.compiler.is_compiling() else 2.0)


def example(generator, batch, time):
    return {"x": torch.rand((batch, time), generator=generator)}


def any_length(generator, batch):
    return {"x": torch.rand((batch, 3 + generator.initial_seed()), generator=generator)}


class Loops(nn.Module):
    def forward(self, x):
        for step in range(x.shape[1]):
            x = x + x[:, step : step + 1]
        return x


SPEC = ExportSpec(
    name="of_a_spec", summary="twice", build=lambda cache_dir: GivesTwo().eval(), example=example,
    outputs=("doubled", "shifted"), task="test", max_batch_size=4, parity_batches=(1, 2), golden_batches=(1,),
    atol=1e-6, rtol=1e-6, source="none", license="none", axes=(Axis("time", (2, 6)),),
)
"""


@pytest.fixture
def folder(working_folder: Path) -> Path:
    """The working directory, with a file of models in it."""
    (working_folder / "own_models.py").write_text(FILE)
    (working_folder / "tokenizer.json").write_text("{}")
    return working_folder


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what is said by a command that has to fail and write no version."""
    assert main([*words, "--repository", "models"]) == 1
    models = Path("models").iterdir() if Path("models").exists() else ()
    assert [path.name for path in models if path.is_dir()] == []
    return capsys.readouterr().err


def test_everything_that_was_said_is_in_the_entry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labels.txt").write_text("no\nmaybe\nyes\n")
    (folder / "vocabulary.txt").write_text("a\nb\n")
    (folder / "how.json").write_text('{"kind": "text"}')
    words = "own_models.py:Classifier --name sentiment --input ids=INT64[batch,time]:0..49 --axis time=2,7"
    words += " --output scores --task text_classification --labels labels.txt --asset vocabulary.txt --license MIT"
    words += " --metadata cuelight.preprocessing=@how.json --source mine --max-batch-size 4 --opset 20 --atol 1e-5"

    assert main([*words.split(), "--repository", "models"]) == 0

    version = folder / "models" / "sentiment" / "1"
    assert {path.name for path in version.iterdir()} == {
        "model.onnx", "golden.npz", "report.json", "report.html", "vocabulary.txt"
    }  # fmt: skip
    model = onnx.load(version / "model.onnx")
    described = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(described["cuelight.labels"]) == ["no", "maybe", "yes"]
    assert described["cuelight.preprocessing"] == '{"kind": "text"}'
    assert (described["cuelight.task"], described["cuelight.license"]) == ("text_classification", "MIT")
    assert (described["cuelight.source"], described["cuelight.max_batch_size"]) == ("mine", "4")
    assert model.opset_import[0].version == 20
    session = ort.InferenceSession(str(version / "model.onnx"))
    assert session.get_inputs()[0].shape == ["batch", "time"]
    assert session.run(None, {"ids": np.ones((3, 11), np.int64)})[0].shape == (3, 3)
    assert "no --checkpoint: the weights are those the factory gave" in capsys.readouterr().out


def test_a_spec_in_the_module_is_exported_as_it_says(folder: Path) -> None:
    assert main(["own_models:SPEC", "--repository", "models"]) == 0

    report = json.loads((folder / "models" / "of_a_spec" / "1" / "report.json").read_text())
    assert report["parity"]["axes"] == {"time": [2, 6]}
    assert [output["name"] for output in report["graph"]["outputs"]] == ["doubled", "shifted"]


def test_names_of_a_dict_are_taken_and_examples_may_come_from_a_function(folder: Path) -> None:
    words = "own_models:GivesTwo --name two --example own_models:example --axis time=3,5"

    assert main([*words.split(), "--repository", "models"]) == 0

    session = ort.InferenceSession("models/two/1/model.onnx")
    assert [output.name for output in session.get_outputs()] == ["doubled", "shifted"]


def test_a_failed_parity_ends_with_1_and_names_where_it_begins(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = refused(capsys, "own_models:Baked", "--name", "baked", "--input", "x=FP32[batch,3]")

    assert "the ONNX file does not agree with PyTorch" in text
    assert "the first output that differs is that of the module itself" in text
    assert "return x + (1.0 if torch.compiler.is_compiling() else 2.0)" in text


CLASSIFIER = ("own_models:Classifier", "--input", "ids=INT64[batch,5]:0..49")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("own_models:Classifier",), "--name is missing"),
        ((*CLASSIFIER, "--name", "../up"), '"../up" is no name of a model'),
        ((*CLASSIFIER, "--name", ".hidden"), '".hidden" is no name of a model'),
        (("own_models:Classifier", "--name", "n"), "no inputs: give --input"),
        ((*CLASSIFIER, "ids=INT64[batch,5]", "--name", "n"), "--input: ids given more than once"),
        ((*CLASSIFIER, "--name", "n", "--output", "ids"), '"ids" is the name of an input and of an output'),
        ((*CLASSIFIER, "--name", "n", "--max-batch-size", "0"), "--max-batch-size: got 0, expected 1 or more"),
        ((*CLASSIFIER, "--name", "n", "--example", "own_models:example"), "--example and --input exclude each other"),
        ((*CLASSIFIER, "--name", "n", "--state", "h=h_next"), 'state "h": no --input of this name gives its shape'),
        ((*CLASSIFIER, "--name", "n", "--checkpoint", "nowhere.pt"), "checkpoint nowhere.pt: no such file"),
        ((*CLASSIFIER, "--name", "n", "--labels", "nowhere.txt"), "--labels nowhere.txt"),
        ((*CLASSIFIER, "--name", "n", "--asset", "nowhere.txt"), "--asset nowhere.txt: No such file"),
        ((*CLASSIFIER, "--name", "n", "--asset", "m/report.json"), 'asset "report.json": the export writes a file of'),
        ((*CLASSIFIER, "--name", "n", "--metadata", "cuelight.state=[]"), "cuelight.state is written by the export"),
        ((*CLASSIFIER, "--name", "n", "--output", "a", "b"), "the module returns 1 tensors (FP32 [2,3]), 2 outputs"),
        ((*CLASSIFIER, "--name", "n", "--axis", "time=2,3"), 'no input changes with the axis "time"'),
        (
            ("own_models:Classifier", "--name", "n", "--input", "ids=INT64[batch,time]"),
            'axis "time" of input "ids" has no sizes to be tried with: add --axis time=1,7,50',
        ),
        (
            ("own_models:GivesTwo", "--name", "n", "--input", "x=FP32[batch,4]", "y=FP32[batch,4]"),
            "does not take the 2 example inputs",
        ),
        (("own_models:Branches", "--name", "n", "--input", "x=FP32[batch,4]"), "if x.sum() > 0:"),
        (("own_models:Branches", "--name", "n", "--input", "x=FP32[batch,4]"), "cannot be traced at "),
        (
            ("own_models:Loops", "--name", "n", "--input", "x=FP32[batch,time]", "--axis", "time=2,5"),
            "for step in range(x.shape[1]):",
        ),
        (
            ("own_models:GivesTwo", "--name", "n", "--example", "own_models:any_length"),
            'axis 1 of input "x" is 3 in one example and 4 in the next, but no axis is marked',
        ),
        (
            (*CLASSIFIER, "--name", "n", "--task", "text_embedding"),
            "--task text_embedding: the server needs tokenizer.json beside the model: --asset path/to/tokenizer.json",
        ),
        (
            (*CLASSIFIER, "--name", "n", "--task", "text_embedding", "--asset", "tokenizer.json"),
            "--task text_embedding: expected the inputs input_ids, attention_mask and at most token_type_ids, got ids",
        ),
        ((*CLASSIFIER, "--name", "n", "--task", "word_embedding"), "--asset path/to/words.txt"),
        ((*CLASSIFIER, "--name", "n", "--task", "transduction"), "a model of two graphs, which takes a spec"),
        (
            (*CLASSIFIER, "--name", "n", "--metadata", "cuelight.preprocessing={kind: image}"),
            "--metadata cuelight.preprocessing: expected JSON",
        ),
        (
            ("own_models:GivesTwo", "--name", "n", "--input", "x=FP32[batch,4]", "--state", "x=y"),
            '--state x=y: no output "y"; there are doubled, shifted',
        ),
        (
            ("own_models:GivesTwo", "--name", "n", "--input", "x=FP32[batch,4]", "h=FP32[batch,4]", "--state", "h=y"),
            "one that takes its state as a tuple needs a module around it that takes tensors",
        ),
        (("own_models.py", "--name", "n"), "A model of your own is given as own_models.py:factory"),
        (("efficientnet_lite", "--name", "n"), 'no model "efficientnet_lite"; is it efficientnet_lite0?'),
        (("silero_vad", "resnet"), 'no model "resnet"'),
        (("own_models:GivesTwo", "silero_vad", "--name", "n"), "a model of your own is exported alone"),
        (("all", "silero_vad"), '"all" stands alone, got all silero_vad'),
        (("own_models:SPEC", "--name", "n"), "--name: own_models:SPEC is a whole spec, which says this itself"),
        (("silero_vad", "--checkpoint", "w.pt"), "--checkpoint: is for a model of your own"),
        (("report",), "report: of which model?"),
        (("report", "nowhere"), "nowhere: no report.json in it"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], wanted: str
) -> None:
    assert wanted in refused(capsys, *words)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("image_classification", "note: serves tensors, but no images: cuelight.preprocessing is missing"),
        ("image-classification", 'note: no service knows the task "image-classification"; one knows "image_class'),
    ],
)
def test_what_a_service_will_lack_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], task: str, expected: str
) -> None:
    assert main([*CLASSIFIER, "--name", "n", "--task", task, "--repository", "models"]) == 0

    assert expected in capsys.readouterr().out


def test_the_tracers_own_graphs_are_kept_from_the_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["own_models:Branches", "--name", "n", "--input", "x=FP32[batch,4]"]) == 1

    assert "torch.ops" not in capfd.readouterr().err


def test_a_model_that_comes_last_is_told_where_it_goes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--name", "n", "--input", "x=FP32[batch,4]", "own_models:GivesTwo"])

    assert "it goes first: cuelight export WHAT --name NAME" in capsys.readouterr().err


def test_labels_have_to_be_as_many_as_the_scores(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labels.txt").write_text("no\nyes\n")

    text = refused(capsys, *CLASSIFIER, "--name", "n", "--labels", "labels.txt")

    assert '2 labels, but output "output" is FP32 [2,3]: expected one for each of its last axis' in text


def test_an_embedding_has_no_labels_and_may_come_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labels.txt").write_text("no\nyes\n")
    words = "own_models:VectorFirst --name n --input x=FP32[batch,4] --output vector scores --labels labels.txt"

    text = refused(capsys, *words.split())
    code = main([*words.split(), "--metadata", "cuelight.embedding=vector", "--repository", "models"])

    assert '2 labels, but output "vector" is FP32 [2,4]' in text
    assert code == 0, "scores are the first output that is not the embedding"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("windows.txt", "\ufeffno\r\nmaybe\r\nyes\r\n\r\n"),
        ("list.json", '["no", "maybe", "yes"]'),
        ("config.json", '{"model_type": "bert", "id2label": {"1": "maybe", "0": "no", "2": "yes"}}'),
    ],
)
def test_labels_are_taken_as_they_lie_about(folder: Path, name: str, content: str) -> None:
    (folder / name).write_bytes(content.encode())

    assert main([*CLASSIFIER, "--name", "n", "--labels", name, "--repository", "models"]) == 0

    described = {prop.key: prop.value for prop in onnx.load("models/n/1/model.onnx").metadata_props}
    assert json.loads(described["cuelight.labels"]) == ["no", "maybe", "yes"]


def test_an_empty_label_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labels.txt").write_text("no\n\nyes\n")

    assert "label 2 is empty" in refused(capsys, *CLASSIFIER, "--name", "n", "--labels", "labels.txt")


def test_a_checkpoint_of_another_model_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"embedding.weight": torch.ones((50, 8))}, folder / "c.pt")

    text = refused(capsys, *CLASSIFIER, "--name", "n", "--checkpoint", "c.pt")

    assert "2 missing: head.weight, head.bias" in text
    assert "1 of another shape: embedding.weight (expected [50, 4], got [50, 8])" in text


def test_a_version_that_is_there_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "models" / "n" / "3").mkdir(parents=True)

    assert main([*CLASSIFIER, "--name", "n", "--version", "3", "--repository", "models"]) == 1

    assert "models/n/3 exists; versions are never overwritten: the next one is 4" in capsys.readouterr().err


def test_a_repository_that_cannot_be_written_to_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "file").write_text("")

    assert main([*CLASSIFIER, "--name", "n", "--repository", "file/models"]) == 1

    assert "repository file/models: file is not a folder" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_repository_without_the_right_to_write_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "models").mkdir(mode=0o555)

    assert main([*CLASSIFIER, "--name", "n", "--repository", "models"]) == 1

    assert "no right to write to models" in capsys.readouterr().err
