"""Control inputs as Triton spells them: which input tells the model of a step's place in its sequence."""

from collections.abc import Iterable
from typing import Any

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.inference.datatypes import DATATYPE_OF_ORT_TYPE, DATATYPES, Datatype
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.onnx_facts import OnnxFacts
from cuelight.server.inference.sequence_spec import ControlInput, ControlKind

__all__ = ["controls_of"]

_Control = model_config_pb2.ModelSequenceBatching.Control

_KINDS: dict[int, ControlKind] = {
    _Control.CONTROL_SEQUENCE_START: "start",
    _Control.CONTROL_SEQUENCE_READY: "ready",
    _Control.CONTROL_SEQUENCE_END: "end",
    _Control.CONTROL_SEQUENCE_CORRID: "correlation_id",
}
_FLAG_TYPES = {"int32_false_true": "INT32", "fp32_false_true": "FP32", "bool_false_true": "BOOL"}
_CORRELATION_ID_TYPES = ("INT64", "UINT64", "INT32", "UINT32", "BYTES")


def controls_of(configured: Iterable[Any], facts: OnnxFacts, source: str) -> tuple[ControlInput, ...]:
    """Return the control inputs of `sequence_batching`.

    Raises: ModelLoadError naming the input, what came and what was expected.
    """
    controls: list[ControlInput] = []
    for entry in configured:
        where = f'{source}: control_input "{entry.name}"'
        if len(entry.control) != 1:
            raise ModelLoadError(f"{where}: got {len(entry.control)} controls, expected 1")
        controls.append(_control(entry.name, entry.control[0], facts, where))
    for kind in {control.kind for control in controls}:
        names = [control.name for control in controls if control.kind == kind]
        if len(names) > 1:
            raise ModelLoadError(f"{source}: control_input: {' and '.join(names)} are both {kind}")
    return tuple(controls)


def _control(name: str, control: Any, facts: OnnxFacts, where: str) -> ControlInput:
    fact = next((tensor for tensor in facts.inputs if tensor.name == name), None)
    if fact is None:
        known = ", ".join(tensor.name for tensor in facts.inputs)
        raise ModelLoadError(f"{where}: not in the model, which has {known}")
    if any(size > 1 for size in fact.sizes):
        raise ModelLoadError(f"{where}: expected one value a row, the model file has {list(fact.shape)}")
    kind = _KINDS[control.kind]
    found = DATATYPE_OF_ORT_TYPE.get(fact.ort_type)
    if kind == "correlation_id":
        wanted = model_config_pb2.DataType.Name(control.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
        if wanted not in _CORRELATION_ID_TYPES:
            raise ModelLoadError(f"{where}: data_type {wanted}: expected one of {', '.join(_CORRELATION_ID_TYPES)}")
        return ControlInput(name, kind, _agreed(found, wanted, fact.ort_type, where), fact.sizes)
    given = [field for field in _FLAG_TYPES if len(getattr(control, field))]
    if len(given) != 1 or len(getattr(control, given[0])) != 2:
        raise ModelLoadError(f"{where}: expected the two values of one of {', '.join(_FLAG_TYPES)}")
    false, true = getattr(control, given[0])
    datatype = _agreed(found, _FLAG_TYPES[given[0]], fact.ort_type, where)
    return ControlInput(name, kind, datatype, fact.sizes, float(false), float(true))


def _agreed(found: Datatype | None, wanted: str, ort_type: str, where: str) -> Datatype:
    if found is None or found.name != wanted:
        raise ModelLoadError(f"{where}: the configuration makes it {wanted}, but the model file has {ort_type}")
    return DATATYPES[wanted]
