"""Model configurations as text: Triton's `config.pbtxt`, or JSON, to a ModelConfig message whose every field applies.

A field that Cuelight does not use is an error and never ignored: a configuration means here what it means in Triton, or
it is refused. `_APPLIES` is the whole list.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.message import Message

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.inference.loader import ModelLoadError

__all__ = ["ConfigText", "parse_json", "parse_pbtxt"]

_APPLIES: dict[str, tuple[str, ...]] = {
    "ModelConfig": (
        "name",
        "platform",
        "backend",
        "version_policy",
        "max_batch_size",
        "input",
        "output",
        "dynamic_batching",
        "sequence_batching",
        "instance_group",
        "default_model_filename",
        "parameters",
        "model_transaction_policy",
        "response_cache",
    ),
    "ModelInput": ("name", "data_type", "format", "dims"),
    "ModelOutput": ("name", "data_type", "dims", "label_filename"),
    "ModelInstanceGroup": ("name", "kind", "count", "gpus"),
    "StrategyDirect": ("max_queue_delay_microseconds",),
}
"""Message -> its fields that apply; in a message that is not listed, all do."""

_REFUSED: tuple[tuple[str, object, str], ...] = (
    ("ModelTransactionPolicy.decoupled", True, "only false: every request has one answer"),
    ("ModelResponseCache.enable", True, "only false: answers are not cached"),
    ("ModelInput.format", model_config_pb2.ModelInput.FORMAT_NHWC, "only FORMAT_NONE"),
    ("ModelInput.format", model_config_pb2.ModelInput.FORMAT_NCHW, "only FORMAT_NONE"),
    ("ModelSequenceBatching.iterative_sequence", True, "only false: a step is one request"),
    ("ModelInstanceGroup.kind", model_config_pb2.ModelInstanceGroup.KIND_MODEL, "KIND_AUTO, KIND_CPU or KIND_GPU"),
)
"""`Message.field`, the value that does not apply, and what is allowed."""

_STRING_OR_COMMENT = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|#[^\n]*""")
_SETS_MAX_BATCH_SIZE = re.compile(r"\bmax_batch_size\s*:")
"""proto3 does not tell an explicit 0 from nothing, and the two mean different things here."""


@dataclass(frozen=True, slots=True)
class ConfigText:
    """What a configuration said: nothing, where the model has none."""

    message: model_config_pb2.ModelConfig = field(default_factory=model_config_pb2.ModelConfig)
    sets_max_batch_size: bool = False
    """Whether max_batch_size was written down, be it 0."""
    source: str = "no config.pbtxt"
    """The file or parameter it came from, for errors."""


def parse_pbtxt(text: str, source: str) -> ConfigText:
    """Parse protobuf's text format.

    Raises: ModelLoadError naming `source`, and the line or the field with what is allowed.
    """
    message = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        # The error's own text begins with line:column, said better by its attributes.
        reason = re.sub(r"^\d+:\d+\s*:\s*", "", str(error))
        line = error.GetLine()
        raise ModelLoadError(f"{source}, line {line}: {reason}" if line else f"{source}: {reason}") from error
    _check(message, "", source)
    return ConfigText(message, bool(_SETS_MAX_BATCH_SIZE.search(_STRING_OR_COMMENT.sub("", text))), source)


def parse_json(text: str, source: str) -> ConfigText:
    """Parse the JSON form of a ModelConfig, with proto or camel case field names.

    Raises: ModelLoadError naming `source`, and the position or the field with what is allowed.
    """
    message = model_config_pb2.ModelConfig()
    try:
        keys = json.loads(text)
        if not isinstance(keys, dict):
            raise ModelLoadError(f"{source}: expected a JSON object")
        json_format.ParseDict(keys, message)
    except (ValueError, json_format.ParseError, RecursionError) as error:
        raise ModelLoadError(f"{source}: {error}") from error
    _check(message, "", source)
    return ConfigText(message, "max_batch_size" in keys or "maxBatchSize" in keys, source)


def _check(message: Message, path: str, source: str) -> None:
    name = message.DESCRIPTOR.name
    applies = _APPLIES.get(name)
    for descriptor, value in message.ListFields():
        where = f"{path}{descriptor.name}"
        if applies is not None and descriptor.name not in applies:
            raise ModelLoadError(
                f'{source}: field "{where}" does not apply here; fields of {name} that do: {", ".join(applies)}'
            )
        for field_name, refused, allowed in _REFUSED:
            if field_name == f"{name}.{descriptor.name}" and value == refused:
                raise ModelLoadError(f'{source}: field "{where}": got {_shown(descriptor, value)}, expected {allowed}')
        _check_nested(descriptor, value, where, source)


def _check_nested(descriptor: Any, value: Any, where: str, source: str) -> None:
    if isinstance(value, Message):
        _check(value, f"{where}.", source)
    elif descriptor.message_type is not None and not isinstance(value, Mapping):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}].", source)


def _shown(descriptor: Any, value: Any) -> str:
    enum = descriptor.enum_type
    return str(enum.values_by_number[value].name) if enum is not None else str(value).lower()
