"""What the server's services need of a model of their task, said at export rather than when a server loads it."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from cuelight.exporters.errors import ExportError
from cuelight.exporters.sizes import describe

__all__ = ["service_notes"]

_IMAGES = "image_classification"
_TEXTS = "text_embedding"
_WORDS = "word_embedding"
_TRANSDUCTION = "transduction"
_SERVED = (_IMAGES, _TEXTS, _WORDS, _TRANSDUCTION, "voice_activity_detection")
_PREPROCESSING = "cuelight.preprocessing"
_JSON_KEYS = (_PREPROCESSING, "cuelight.padding")
_FILE_OF = {_TEXTS: ("cuelight.tokenizer", "tokenizer.json"), _WORDS: ("cuelight.vocabulary", "words.txt")}
"""Task -> the key that names a file beside the model, and the name where it is not given."""
_IMAGE_AXES = 4
_CHANNEL_AXIS = {"NCHW": 1, "NHWC": 3}
_CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}
_TEXT_INPUTS = ("input_ids", "attention_mask")
_TEXT_OPTIONS = ("token_type_ids",)
_TEXT_OUTPUT = "embedding"


def service_notes(
    task: str,
    inputs: Mapping[str, Tensor],
    outputs: Collection[str],
    metadata: Mapping[str, str],
    files: Collection[str],
) -> list[str]:
    """Return what a service will lack, of a model that serves tensors all the same. `inputs` are an example.

    Raises: ExportError where the server would not load the model at all.
    """
    for key in _JSON_KEYS:
        _check_json(key, metadata)
    if task == _TRANSDUCTION:
        raise ExportError(f"--task {task}: is a model of two graphs, which takes a spec: docs/transduction.md")
    if task in _FILE_OF:
        key, usual = _FILE_OF[task]
        name = metadata.get(key, usual)
        if name not in files:
            raise ExportError(f"--task {task}: the server needs {name} beside the model: --asset path/to/{name}")
    if task == _TEXTS:
        _check_text(inputs, outputs)
    if task == _IMAGES:
        return [f"serves tensors, but no images: {why}" for why in _lacking_for_images(inputs, metadata)]
    plain = task.replace("-", "_").lower()
    if task != plain and plain in _SERVED:
        return [f'no service knows the task "{task}"; one knows "{plain}"']
    return []


def _lacking_for_images(inputs: Mapping[str, Tensor], metadata: Mapping[str, str]) -> list[str]:
    said_by = {_PREPROCESSING: f"--metadata {_PREPROCESSING}=@FILE.json", "cuelight.labels": "--labels"}
    lacking = [f"{key} is missing ({option})" for key, option in said_by.items() if key not in metadata]
    how = json.loads(metadata.get(_PREPROCESSING, "null"))
    if isinstance(how, dict):
        lacking += [why for name, tensor in inputs.items() if (why := _unlike(how, name, tensor))]
    return lacking


def _unlike(how: Mapping[str, Any], name: str, tensor: Tensor) -> str:
    """Return in what the images that `how` makes differ from an input, or nothing."""
    came, made = describe(tensor), how.get("datatype", "FP32")
    if not came.startswith(f"{made} "):
        datatype = came.partition(" ")[0]
        return f'{_PREPROCESSING} makes {made}, but {name} is {datatype} (its "datatype" is FP32 or UINT8)'
    layout, color = str(how.get("layout")), str(how.get("color"))
    axis, channels = _CHANNEL_AXIS.get(layout), _CHANNELS.get(color)
    if axis is None or channels is None or (tensor.dim() == _IMAGE_AXES and tensor.shape[axis] == channels):
        return ""
    shape = ["batch", "height", "width"]
    shape.insert(axis, str(channels))
    return f"{_PREPROCESSING} makes [{','.join(shape)}] ({color}, {layout}), but {name} is {came}"


def _check_json(key: str, metadata: Mapping[str, str]) -> None:
    try:
        json.loads(metadata.get(key, "{}"))
    except ValueError as error:
        raise ExportError(f"--metadata {key}: expected JSON: {error}") from error


def _check_text(inputs: Collection[str], outputs: Collection[str]) -> None:
    wrong = [name for name in inputs if name not in (*_TEXT_INPUTS, *_TEXT_OPTIONS)]
    if wrong or not set(_TEXT_INPUTS) <= set(inputs):
        raise ExportError(
            f"--task {_TEXTS}: expected the inputs {', '.join(_TEXT_INPUTS)} and at most {', '.join(_TEXT_OPTIONS)}, "
            f"got {', '.join(inputs)}"
        )
    if _TEXT_OUTPUT not in outputs:
        raise ExportError(f'--task {_TEXTS}: expected an output "{_TEXT_OUTPUT}", got {", ".join(outputs)}: --output')
