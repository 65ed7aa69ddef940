"""The streaming model families of sherpa-onnx, taken as they are: from a file's own metadata to what sequences need.

sherpa-onnx matches tensors by position and knows the shapes of the states from metadata alone. Here both become the
`cuelight.*` keys that every stateful model has, and free sizes that the metadata fixes become fixed.

    nemo_ctc               audio_signal, length, 3 caches               -> logprobs, lengths, 3 caches
    zipformer2_ctc         x, 6 states a layer, embed, processed_lens   -> log_probs, the same states
    zipformer2_transducer  the same                                     -> encoder_out, the same states
    lstm_transducer        x, h, c                                      -> encoder_out, h, c

A transducer's `decoder.onnx` and `joiner.onnx` lie beside its encoder.
Source: k2-fsa/sherpa-onnx, csrc/online-{nemo-ctc,zipformer2-ctc,zipformer2-transducer,lstm-transducer}-model.cc.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cuelight.server.inference.datatypes import DATATYPE_OF_ORT_TYPE
from cuelight.server.inference.loader import ModelLoadError, open_for_facts
from cuelight.server.inference.onnx_facts import OnnxFacts, TensorFacts, read_facts
from cuelight.server.speech.family_metadata import SherpaMetadata, zipformer2_states
from cuelight.server.speech.streaming_facts import METADATA_KEY, StreamingFacts

__all__ = ["DECODER_FILE", "JOINER_FILE", "adapted"]

DECODER_FILE = "decoder.onnx"
JOINER_FILE = "joiner.onnx"

_WAITS = 5
_MAX_BATCH_SIZE = 64
_FEATURE_DIM = 80
"""What sherpa-onnx computes where the model does not fix it."""

State = tuple[int | None, ...]
"""A state's shape, None at the batch axis."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A model read as one of the families. `states` begin at the same place of inputs and outputs."""

    streaming: StreamingFacts
    states: tuple[State, ...]
    first_state: int


def adapted(facts: OnnxFacts, model: Path) -> OnnxFacts:
    """Return the facts of the file `model` with the `cuelight.*` keys and fixed sizes its family implies.

    Keys the file already has win. A model of no known family comes back as it is.

    Raises: ModelLoadError naming the file, the key or tensor, what came and what was expected.
    """
    read = _reader_of(facts.metadata, model)
    if read is None:
        return facts
    reading = read(SherpaMetadata(facts.metadata, str(model)), facts, model)
    facts = _with_fixed_sizes(facts, reading, str(model))
    facts = replace(facts, outputs=_probed(facts, reading, model))
    return replace(facts, metadata={**_keys(reading, facts), **facts.metadata})


_Reader = Callable[[SherpaMetadata, OnnxFacts, Path], _Reading]


def _reader_of(metadata: Mapping[str, str], model: Path) -> _Reader | None:
    """Offline models share `model_type` with streaming ones, and NeMo's transducers the cache keys with CTC."""
    if "cache_last_channel_dim1" in metadata and "pred_rnn_layers" not in metadata:
        return _nemo_ctc
    if "decode_chunk_len" not in metadata:
        return None
    if metadata.get("model_type") == "zipformer2":
        return _zipformer2
    return _lstm if metadata.get("model_type") == "lstm" else None


def _nemo_ctc(metadata: SherpaMetadata, facts: OnnxFacts, model: Path) -> _Reading:
    metadata.check_tensors(facts, 5)
    window = metadata.count("window_size")
    caches = [
        (None, *(metadata.count(f"{cache}_dim{axis}") for axis in (1, 2, 3)))
        for cache in ("cache_last_channel", "cache_last_time")
    ]
    streaming = StreamingFacts(
        family="nemo_ctc",
        window_frames=window,
        shift_frames=metadata.count("chunk_shift"),
        feature_dim=_size(facts.inputs[0], 1, _FEATURE_DIM),
        audio_input=facts.inputs[0].name,
        output=facts.outputs[0].name,
        # NeMo counts without the blank.
        vocab_size=metadata.count("vocab_size") + 1,
        layout="BFT",
        # What sherpa-onnx 2.0.1 computes, and NeMo's models are trained on; measured, its source of August differs.
        features="nemo",
        subsampling=metadata.count("subsampling_factor"),
        constants={facts.inputs[1].name: (window,)},
        language=metadata.language,
    )
    return _Reading(streaming, (*caches, (None,)), first_state=2)


def _zipformer2(metadata: SherpaMetadata, facts: OnnxFacts, model: Path) -> _Reading:
    metadata.refuse_whisper_features()
    feature_dim = _size(facts.inputs[0], 2, _FEATURE_DIM)
    states = zipformer2_states(metadata, feature_dim)
    metadata.check_tensors(facts, 1 + len(states))
    if (model.parent / DECODER_FILE).is_file():
        return _Reading(_transducer("zipformer2_transducer", metadata, facts, model), states, first_state=1)
    vocab_size = _size(facts.outputs[0], 2, 0)
    if not vocab_size:
        raise ModelLoadError(f'{model}: output "{facts.outputs[0].name}": expected a vocabulary of fixed size')
    streaming = StreamingFacts(
        family="zipformer2_ctc",
        window_frames=metadata.count("T"),
        shift_frames=metadata.count("decode_chunk_len"),
        feature_dim=feature_dim,
        audio_input=facts.inputs[0].name,
        output=facts.outputs[0].name,
        vocab_size=vocab_size,
        language=metadata.language,
    )
    return _Reading(streaming, states, first_state=1)


def _lstm(metadata: SherpaMetadata, facts: OnnxFacts, model: Path) -> _Reading:
    metadata.check_tensors(facts, 3)
    layers = metadata.count("num_encoder_layers")
    states = (layers, None, metadata.count("d_model")), (layers, None, metadata.count("rnn_hidden_size"))
    return _Reading(_transducer("lstm_transducer", metadata, facts, model), states, first_state=1)


def _transducer(family: Any, metadata: SherpaMetadata, facts: OnnxFacts, model: Path) -> StreamingFacts:
    for name in (DECODER_FILE, JOINER_FILE):
        if not (model.parent / name).is_file():
            raise ModelLoadError(f"{model}: a transducer's encoder; expected {name} beside it")
    decoder = model.parent / DECODER_FILE
    of_decoder = SherpaMetadata(read_facts(open_for_facts(decoder, 1)).metadata, str(decoder))
    return StreamingFacts(
        family=family,
        window_frames=metadata.count("T"),
        shift_frames=metadata.count("decode_chunk_len"),
        feature_dim=_size(facts.inputs[0], 2, _FEATURE_DIM),
        audio_input=facts.inputs[0].name,
        output=facts.outputs[0].name,
        vocab_size=of_decoder.count("vocab_size"),
        context_size=of_decoder.count("context_size"),
        language=metadata.language,
    )


def _size(tensor: TensorFacts, axis: int, otherwise: int) -> int:
    return tensor.sizes[axis] if axis < len(tensor.sizes) and tensor.sizes[axis] > 0 else otherwise


def _with_fixed_sizes(facts: OnnxFacts, reading: _Reading, source: str) -> OnnxFacts:
    first, streaming = reading.first_state, reading.streaming
    time, feature = streaming.window_frames, streaming.feature_dim
    audio: State = (None, time, feature) if streaming.layout == "BTF" else (None, feature, time)
    inputs = [*facts.inputs]
    inputs[0] = _fixed("input", inputs[0], audio, source)
    outputs = [*facts.outputs]
    for place, state in enumerate(reading.states, first):
        inputs[place] = _fixed("input", inputs[place], state, source)
        outputs[place] = _fixed("output", outputs[place], state, source)
    return replace(facts, inputs=tuple(inputs), outputs=tuple(outputs))


def _fixed(kind: str, tensor: TensorFacts, wanted: State, source: str) -> TensorFacts:
    """Return the tensor with the wanted sizes where it has none; its batch axis stays as it is."""
    agrees = len(tensor.sizes) == len(wanted) and all(
        size in (-1, want) or want is None for size, want in zip(tensor.sizes, wanted, strict=True)
    )
    if not agrees:
        meant = ",".join("batch" if size is None else str(size) for size in wanted)
        raise ModelLoadError(
            f'{source}: {kind} "{tensor.name}" is {list(tensor.shape)}, by the file\'s metadata it is [{meant}]'
        )
    shape = tuple(have if want is None else want for have, want in zip(tensor.shape, wanted, strict=True))
    return replace(tensor, shape=shape)


def _probed(facts: OnnxFacts, reading: _Reading, model: Path) -> tuple[TensorFacts, ...]:
    """Return the outputs with their true sizes: how many frames a step gives, no metadata says.

    A model of fixed sizes has its arrays bound once and not for every step.
    """
    if all(-1 not in tensor.sizes[1:] for tensor in facts.outputs[: reading.first_state]):
        return facts.outputs
    feeds: dict[str, Any] = {
        tensor.name: np.zeros([max(size, 1) for size in tensor.sizes], DATATYPE_OF_ORT_TYPE[tensor.ort_type].dtype)
        for tensor in facts.inputs
    }
    for name, values in reading.streaming.constants.items():
        feeds[name][...] = values
    names = [tensor.name for tensor in facts.outputs[: reading.first_state]]
    try:
        arrays = open_for_facts(model, 1).run(names, feeds)
    except Exception as error:
        # ONNX Runtime raises a type of its own for every way a step can fail; all mean the same here.
        raise ModelLoadError(f"{model}: a step on silence failed: {error}") from error
    probed = [
        replace(tensor, shape=(*tensor.shape[:1], *array.shape[1:]))
        for tensor, array in zip(facts.outputs, arrays, strict=False)
    ]
    return (*probed, *facts.outputs[reading.first_state :])


def _keys(reading: _Reading, facts: OnnxFacts) -> dict[str, str]:
    batches = facts.inputs[0].sizes[0] == -1
    places = range(reading.first_state, reading.first_state + len(reading.states))
    states = [
        {
            "input": facts.inputs[place].name,
            "output": facts.outputs[place].name,
            "batch_axis": state.index(None) if batches else None,
            "initial": "zeros",
        }
        for place, state in zip(places, reading.states, strict=True)
    ]
    return {
        "cuelight.task": "speech_recognition",
        "cuelight.family": reading.streaming.family,
        "cuelight.sample_rate_hz": str(reading.streaming.sample_rate_hz),
        "cuelight.max_batch_size": str(_MAX_BATCH_SIZE if batches else 0),
        "cuelight.state": json.dumps(states),
        "cuelight.max_queue_delay_us": str(_queue_delay_us(reading.streaming) if batches else 0),
        METADATA_KEY: reading.streaming.to_json(),
    }


def _queue_delay_us(facts: StreamingFacts) -> int:
    """Return for how long a step waits for those of other voices: nobody hears a fifth of a step's own length."""
    return round(facts.shift_samples / facts.sample_rate_hz / _WAITS * 1e6)
