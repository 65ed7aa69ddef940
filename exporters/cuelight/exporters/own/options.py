"""What `cuelight export` is told of a user's own model."""

import argparse
from pathlib import Path

from cuelight.exporters.errors import ExportError

__all__ = ["OWN_OPTIONS", "add_own_options", "given_options", "refuse"]

_MANY = {"nargs": "+", "action": "extend", "default": None}

OWN_OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "--name": ("its name in the repository", {"metavar": "NAME"}),
    "--checkpoint": (
        "weights: state_dict or checkpoint dict (.pt, .pth), .safetensors, TorchScript",
        {"type": Path, "metavar": "FILE"},
    ),
    "--checkpoint-key": ("entry of the checkpoint that holds the weights, nested with dots", {"metavar": "KEY"}),
    "--allow-pickle": (
        "load checkpoints that hold more than weights; this runs code from the file",
        {"action": "store_true", "default": None},
    ),
    "--factory-arg": ("argument of the factory, its value as JSON or a string", {**_MANY, "metavar": "KEY=VALUE"}),
    "--input": (
        "an argument of the module, in order: x=FP32[batch,time,80]; values in a range: ids=INT64[batch,time]:0..29999",
        {**_MANY, "metavar": "NAME=TYPE[SHAPE]"},
    ),
    "--pixels": (
        "the graph takes pixels as they are, UINT8 (batch, height, width, channels), and gives the module "
        "(pixel - MEAN) / STD in NCHW; a number, or with commas one a channel",
        {"nargs": 2, "metavar": ("MEAN", "STD")},
    ),
    "--axis": ("sizes to try of an axis other than the batch: time=1,7,50", {**_MANY, "metavar": "NAME=SIZES"}),
    "--example": (
        "instead of --input: a function (generator, batch, **axes) that returns inputs by name",
        {"metavar": "MODULE:FUNCTION"},
    ),
    "--output": ("names of what the module returns, in order", {**_MANY, "metavar": "NAME"}),
    "--state": ("an input that takes what an output of the step before gave: h=h_next", {**_MANY, "metavar": "IN=OUT"}),
    "--task": ("what the model does (default: custom)", {"metavar": "TASK"}),
    "--labels": (
        "names of the last axis of the first output: a line each, or a JSON list",
        {"type": Path, "metavar": "FILE"},
    ),
    "--asset": ("files to lie beside the model: tokenizer, vocabulary", {**_MANY, "type": Path, "metavar": "FILE"}),
    "--metadata": (
        "further metadata, @ reads a file: cuelight.preprocessing=@p.json",
        {**_MANY, "metavar": "KEY=VALUE"},
    ),
    "--opset": ("ONNX operator set (default: 18)", {"type": int, "metavar": "N"}),
    "--license": ("licence of the weights", {"metavar": "TEXT"}),
    "--source": ("where the weights come from (default: the factory)", {"metavar": "TEXT"}),
    "--atol": ("absolute error allowed (default: 1e-4)", {"type": float, "metavar": "X"}),
    "--rtol": ("relative error allowed (default: 1e-4)", {"type": float, "metavar": "X"}),
    "--max-batch-size": ("rows a run takes at most (default: 32)", {"type": int, "metavar": "N"}),
    "--calibration": (
        "with --quantize: inputs like those of practice, which int8-static needs: an .npz with an array for each, or a "
        "function that returns batches, inputs by name",
        {"metavar": "FILE.npz|MODULE:FUNCTION"},
    ),
    "--accuracy": (
        "with --quantize: a function that takes run(inputs) and returns how good the file is; without one, closeness "
        "to the FP32 file counts",
        {"metavar": "MODULE:FUNCTION"},
    ),
    "--may-lose": ("with --accuracy: how much less it may be (default: 0.01)", {"type": float, "metavar": "X"}),
}


def add_own_options(parser: argparse.ArgumentParser) -> None:
    """Add them to the command's parser, in a group of their own."""
    group = parser.add_argument_group("a model of your own, package.module:factory or path/to/file.py:factory")
    for flag, (text, how) in OWN_OPTIONS.items():
        group.add_argument(flag, help=text, **how)  # type: ignore[arg-type]


def given_options(options: argparse.Namespace) -> dict[str, object]:
    """Return what was given of them, by the name the parser has it under."""
    names = [flag[2:].replace("-", "_") for flag in OWN_OPTIONS]
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def refuse(given: dict[str, object], why: str) -> None:
    """Raise ExportError when options were given that do not go with the model."""
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ExportError(f"{flags}: {why}")
