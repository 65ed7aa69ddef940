"""A model's configuration, completed: what config.pbtxt says, checked against the ONNX file, which fills in the rest.

    config.pbtxt or nothing ─┐
    ONNX inputs and outputs ─┼─> ModelConfig (shown to clients) + ModelSignature + BatchingConfig + InstanceConfig
    cuelight.* metadata     ─┘

The batch axis: `max_batch_size` where the configuration writes it down; else `cuelight.max_batch_size`; else 32 when
axis 0 of every tensor has a free size, and 0 when not. Where there is one, `dims` in the configuration leave it out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.config import EngineConfig, SequenceConfig
from cuelight.server.inference.batch_queue import BatchingConfig
from cuelight.server.inference.config_scheduling import batching_of, instances_of
from cuelight.server.inference.config_text import ConfigText
from cuelight.server.inference.datatypes import DATATYPE_OF_ORT_TYPE, DATATYPES, Datatype
from cuelight.server.inference.loader import InstanceConfig, ModelLoadError
from cuelight.server.inference.model_metadata import (
    EMBEDDING_KEY,
    PREFIX,
    declared_batch_size,
    labels_from_file,
    labels_from_metadata,
    padding_of,
    rejects_nonfinite,
)
from cuelight.server.inference.onnx_facts import OnnxFacts, TensorFacts
from cuelight.server.inference.sequence_config import sequence_spec_of, show_sequences
from cuelight.server.inference.sequence_spec import SequenceSpec
from cuelight.server.inference.signature import WILDCARD, ModelSignature, TensorSpec

__all__ = ["BACKEND", "DEFAULT_MAX_BATCH_SIZE", "PLATFORM", "ResolvedModel", "check_identity", "resolve"]

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"
DEFAULT_MAX_BATCH_SIZE = 32
"""For a batchable file that does not say: large enough to fill an engine, small enough to bound a batch's memory."""

_TYPE_OF_DATATYPE = {name: f"TYPE_{'STRING' if name == 'BYTES' else name}" for name in DATATYPES}


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """Everything the server needs to know of one version before it builds engines.

    `signature` is what callers see; `file_signature` has the state and control tensors too.
    """

    config: model_config_pb2.ModelConfig
    signature: ModelSignature
    batching: BatchingConfig
    instances: InstanceConfig
    file_signature: ModelSignature
    sequences: SequenceSpec | None = None


def check_identity(name: str, text: ConfigText) -> str:
    """Check name, platform and backend, and return the model's file name inside a version folder.

    Raises: ModelLoadError naming the field, what came and what was expected.
    """
    config = text.message
    for field, value, expected in (
        ("name", config.name, name),
        ("platform", config.platform, PLATFORM),
        ("backend", config.backend, BACKEND),
    ):
        if value and value != expected:
            raise ModelLoadError(f'{text.source}: field "{field}": got "{value}", expected "{expected}"')
    filename = config.default_model_filename or "model.onnx"
    if Path(filename).name != filename:
        raise ModelLoadError(f'{text.source}: field "default_model_filename": got "{filename}", expected a file name')
    return filename


def resolve(
    name: str,
    text: ConfigText,
    facts: OnnxFacts,
    folder: Path,
    engine: EngineConfig,
    max_queue_size: int,
    limits: SequenceConfig | None = None,
) -> ResolvedModel:
    """Complete the configuration of a model in `folder` (which holds its label files).

    Raises: ModelLoadError naming the file, the field or tensor, what came and what was expected.
    """
    source = text.source
    config = model_config_pb2.ModelConfig()
    config.CopyFrom(text.message)
    config.name, config.platform, config.backend = name, PLATFORM, BACKEND
    config.default_model_filename = check_identity(name, text)
    metadata = _with_metadata(config, facts.metadata)
    sequences = sequence_spec_of(config, metadata, facts, folder, limits or SequenceConfig(), source)
    whole, facts = facts, _without_hidden(facts, sequences)
    config.max_batch_size = _max_batch_size(text, facts, metadata)
    batches = config.max_batch_size > 0
    inputs = _specs("input", config.input, facts.inputs, batches, source)
    outputs = _specs("output", config.output, facts.outputs, batches, source)
    for fact in facts.inputs:
        if fact.name not in inputs:
            raise ModelLoadError(f'{source}: input "{fact.name}": missing; the model takes {fact.ort_type}')
    scores = next((name for name in outputs if name != metadata.get(EMBEDDING_KEY)), next(iter(outputs)))
    labels = _labels(config, scores, metadata, folder, source)
    _complete(config.input, inputs, batches)
    _complete(config.output, outputs, batches)
    if sequences is not None:
        show_sequences(config, sequences, source)
    elif config.max_batch_size > 1 and not config.HasField("dynamic_batching"):
        config.dynamic_batching.SetInParent()
    if not config.version_policy.WhichOneof("policy_choice"):
        config.version_policy.latest.num_versions = 1
    instances = instances_of(config, source, engine)
    _complete_instances(config, instances)
    signature = ModelSignature(
        inputs,
        outputs,
        config.max_batch_size,
        padding_of(metadata, inputs, outputs, source) if batches else (),
        rejects_nonfinite(metadata, source),
        labels,
    )
    batching = batching_of(config, source, max_queue_size)
    if sequences is None:
        return ResolvedModel(config, signature, batching, instances, signature)
    return ResolvedModel(config, signature, batching, instances, _of_the_file(whole, signature, source), sequences)


def _without_hidden(facts: OnnxFacts, sequences: SequenceSpec | None) -> OnnxFacts:
    """Return the facts without the tensors that callers neither send nor get."""
    if sequences is None:
        return facts
    return OnnxFacts(
        tuple(tensor for tensor in facts.inputs if tensor.name not in sequences.hidden_inputs),
        tuple(tensor for tensor in facts.outputs if tensor.name not in sequences.hidden_outputs),
        facts.metadata,
    )


def _of_the_file(facts: OnnxFacts, signature: ModelSignature, source: str) -> ModelSignature:
    """Return the signature with the state and control tensors of the file."""
    inputs = {fact.name: TensorSpec(fact.name, _datatype("input", fact, source), fact.sizes) for fact in facts.inputs}
    outputs = {
        fact.name: TensorSpec(fact.name, _datatype("output", fact, source), fact.sizes) for fact in facts.outputs
    }
    return ModelSignature(inputs | signature.inputs, outputs | signature.outputs, signature.max_batch_size)


def _with_metadata(config: model_config_pb2.ModelConfig, metadata: Mapping[str, str]) -> dict[str, str]:
    """Show the file's `cuelight.*` metadata in `parameters`, and return what holds: the configuration's own first."""
    for key, value in metadata.items():
        if key.startswith(PREFIX) and key not in config.parameters:
            config.parameters[key].string_value = value
    return {key: value.string_value for key, value in config.parameters.items() if key.startswith(PREFIX)}


def _max_batch_size(text: ConfigText, facts: OnnxFacts, metadata: Mapping[str, str]) -> int:
    size = text.message.max_batch_size
    where = f'{text.source}: field "max_batch_size"'
    if not text.sets_max_batch_size:
        declared = declared_batch_size(metadata, text.source)
        size, where = (declared or 0), f'{text.source}: metadata "cuelight.max_batch_size"'
        if declared is None:
            size = DEFAULT_MAX_BATCH_SIZE if facts.batchable and not _lists_batch_axis(text, facts) else 0
    if size < 0:
        raise ModelLoadError(f"{where}: got {size}, expected 0 (no batch axis) or more")
    for tensor in (*facts.inputs, *facts.outputs):
        if size > 0 and (not tensor.shape or tensor.sizes[0] != WILDCARD):
            raise ModelLoadError(
                f'{where}: got {size}, but tensor "{tensor.name}" has no batch axis: '
                f"the model file has {_text(tensor.sizes)}"
            )
    return size


def _lists_batch_axis(text: ConfigText, facts: OnnxFacts) -> bool:
    """Whether the configuration's own dims are as many as the file's: then it counts the batch axis among them."""
    ranks = {tensor.name: len(tensor.shape) for tensor in (*facts.inputs, *facts.outputs)}
    listed: list[Any] = [*text.message.input, *text.message.output]
    return any(tensor.dims and len(tensor.dims) == ranks.get(tensor.name) for tensor in listed)


def _specs(
    kind: str, configured: Iterable[Any], facts: tuple[TensorFacts, ...], batches: bool, source: str
) -> dict[str, TensorSpec]:
    """Return the tensors served: those the configuration lists, in its order, or all of the file's."""
    by_name = {fact.name: fact for fact in facts}
    specs: dict[str, TensorSpec] = {}
    for tensor in configured:
        fact = by_name.get(tensor.name)
        if fact is None or tensor.name in specs:
            problem = "listed twice" if fact else f"not in the model; it has {', '.join(by_name)}"
            raise ModelLoadError(f'{source}: {kind} "{tensor.name}": {problem}')
        specs[fact.name] = _agreed(kind, tensor, fact, batches, source)
    return specs or {fact.name: TensorSpec(fact.name, _datatype(kind, fact, source), fact.sizes) for fact in facts}


def _agreed(kind: str, tensor: Any, fact: TensorFacts, batches: bool, source: str) -> TensorSpec:
    datatype = _datatype(kind, fact, source)
    found = TensorSpec(fact.name, datatype, fact.sizes)
    wanted_type = model_config_pb2.DataType.Name(tensor.data_type)
    if tensor.data_type and wanted_type != _TYPE_OF_DATATYPE[datatype.name]:
        raise ModelLoadError(
            f'{source}: {kind} "{fact.name}": data_type {wanted_type}, but the model file has {found.describe()}'
        )
    if not tensor.dims:
        return found
    shape = (WILDCARD, *tensor.dims) if batches else tuple(tensor.dims)
    wanted = TensorSpec(fact.name, datatype, shape)
    if len(shape) != len(fact.sizes) or any(
        size < WILDCARD or size == 0 or there not in (WILDCARD, size)
        for size, there in zip(shape, fact.sizes, strict=True)
    ):
        axis = " (-1 in front is the batch axis)" if batches else ""
        raise ModelLoadError(
            f'{source}: {kind} "{fact.name}": dims make it {wanted.describe()}{axis}, '
            f"but the model file has {found.describe()}"
        )
    return wanted


def _datatype(kind: str, fact: TensorFacts, source: str) -> Datatype:
    datatype = DATATYPE_OF_ORT_TYPE.get(fact.ort_type)
    if datatype is None:
        raise ModelLoadError(
            f'{source}: {kind} "{fact.name}": the model file has {fact.ort_type}, which has no datatype'
        )
    return datatype


def _labels(
    config: model_config_pb2.ModelConfig, scores: str, metadata: Mapping[str, str], folder: Path, source: str
) -> dict[str, tuple[str, ...]]:
    labels = {
        output.name: labels_from_file(folder, output.label_filename, source)
        for output in config.output
        if output.label_filename
    }
    if shared := labels_from_metadata(metadata, source):
        labels.setdefault(scores, shared)
    return labels


def _complete(tensors: Any, specs: Mapping[str, TensorSpec], batches: bool) -> None:
    listed = {tensor.name: tensor for tensor in tensors}
    for spec in specs.values():
        tensor = listed.get(spec.name) or tensors.add(name=spec.name)
        tensor.data_type = model_config_pb2.DataType.Value(_TYPE_OF_DATATYPE[spec.datatype.name])
        del tensor.dims[:]
        tensor.dims.extend(spec.shape[1:] if batches else spec.shape)


def _complete_instances(config: model_config_pb2.ModelConfig, instances: InstanceConfig) -> None:
    if not config.instance_group:
        config.instance_group.add()
    group_kind = model_config_pb2.ModelInstanceGroup.Kind
    for index, group in enumerate(config.instance_group):
        group.name = group.name or (config.name if len(config.instance_group) == 1 else f"{config.name}_{index}")
        group.count = max(group.count, 1)
        group.kind = group_kind.Value("KIND_GPU" if instances.device == "cuda" else "KIND_CPU")
        if instances.device == "cuda" and not group.gpus:
            group.gpus.extend(sorted(set(instances.device_ids)))


def _text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"
