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
_SCALING = ("scale", "mean", "std")
_CHANNELS_AXIS = {"NCHW": 1, "NHWC": 3}
_FILE_OF = {_TEXTS: ("cuelight.tokenizer", "tokenizer.json"), _WORDS: ("cuelight.vocabulary", "words.txt")}
"""Task -> the key that names a file beside the model, and the name where it is not given."""
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
        lacking = [f"serves tensors, but no images: {why}" for why in _lacking_for_images(inputs, metadata)]
        return lacking or _scaled_oddly(json.loads(metadata[_PREPROCESSING]))
    plain = task.replace("-", "_").lower()
    if task != plain and plain in _SERVED:
        return [f'no service knows the task "{task}"; one knows "{plain}"']
    return []


def _lacking_for_images(inputs: Mapping[str, Tensor], metadata: Mapping[str, str]) -> list[str]:
    said_by = {_PREPROCESSING: f"--metadata {_PREPROCESSING}=@FILE.json", "cuelight.labels": "--labels"}
    lacking = [f"{key} is missing ({option})" for key, option in said_by.items() if key not in metadata]
    if _PREPROCESSING in metadata:
        lacking += [f"{_PREPROCESSING} {what}" for what in _misdescribed(json.loads(metadata[_PREPROCESSING]), inputs)]
    return lacking


def _scaled_oddly(how: Mapping[str, Any]) -> list[str]:
    """Return what a description says of numbers from 0 to 1, and makes of pixels from 0 to 255."""
    stds, scaled = how.get("std"), how.get("scale", 1) != 1
    if scaled or not isinstance(stds, list) or not stds:
        return []
    if not all(isinstance(std, int | float) and abs(std) < 1 for std in stds):
        return []
    return [f'{_PREPROCESSING}: "std" is of numbers from 0 to 1, pixels go to 255: "scale": 0.0039215686 (1/255)?']


def _misdescribed(how: Any, inputs: Mapping[str, Tensor]) -> list[str]:
    """Return what a description gets wrong where pixels as they are take the place of numbers, or the other way round.

    The server reads the rest of it strictly.
    """
    if not isinstance(how, dict):
        return [f"is {json.dumps(how)[:40]}, expected a JSON object"]
    made, layout, color = how.get("datatype", "FP32"), str(how.get("layout")), how.get("color")
    wrong = [f'has "{key}", which does not go with UINT8' for key in _SCALING if made == "UINT8" and key in how]
    for name, tensor in inputs.items():
        came = describe(tensor)
        if not came.startswith(f"{made} "):
            wrong.append(f'makes {made}, but {name} is {came} (its "datatype" is FP32 or UINT8)')
        axis = _CHANNELS_AXIS.get(layout, tensor.dim())
        if axis < tensor.dim() and tensor.shape[axis] != (1 if color == "GRAY" else 3):
            wrong.append(f"makes {layout} in {color}, but {name} is {came}")
    return wrong


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
