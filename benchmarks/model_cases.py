"""What each exported model is measured on: inputs at sizes as in practice, and the text, image or sound of a call."""

import io
import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.grpc_wire import framed_in_parts
from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.samples import PHOTO, RECORDING
from cuelight.exporters.sizes import BATCH, example_of, trace_sizes
from cuelight.exporters.spec import Arrays, ExportSpec
from cuelight.speech.v1 import speech_pb2
from cuelight.text.v1 import text_pb2
from cuelight.vision.v1 import vision_pb2

__all__ = ["MOST_AT_ONCE", "SIZES", "TEXT", "TEXT_TOKENS", "Case", "TypedCall", "case_of", "typed_call"]

MOST_AT_ONCE = 32
TEXT = (
    "Plant crops, raise chickens and make friends in a sleepy valley, alone or with up to three others, by day and by "
    "night in four seasons."
)
TEXT_TOKENS = 32
"""Of `TEXT`, as all-MiniLM-L6-v2 counts."""
SIZES = {"tokens": TEXT_TOKENS, "words": 8, "letters": 9, "time": 32}
"""Of axes beside the batch; others are as the model was traced."""
_WORD = "character"
_SAMPLES = 16_000
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Case:
    """A model with its inputs: `inputs(rows)` returns them by name, state included, which starts as zeros.

    `state` maps each input that takes state to the output it is taken from. `max_rows` is the largest batch to try.
    """

    name: str
    inputs: Callable[[int], Arrays]
    outputs: tuple[str, ...]
    state: dict[str, str]
    max_rows: int
    sizes: dict[str, int]


@dataclass(frozen=True, slots=True)
class TypedCall:
    """A call of a typed service: its method's full path, its request as parts to send, and what it is.

    `same_work` says whether the network computes what it does for a row of the case, so that rates can be compared;
    `needs` are further models that a server needs for it.
    """

    name: str
    path: str
    body: tuple[bytes, ...]
    same_work: bool
    needs: tuple[str, ...] = ()


def case_of(spec: ExportSpec | FilesSpec) -> Case:
    """Return what a registered model is measured on."""
    if isinstance(spec, FilesSpec):
        return Case(spec.name, _sound, (), {}, 1, {"samples": _SAMPLES})
    axes = {axis.name: SIZES.get(axis.name, axis.trace_size) for axis in spec.axes}
    state = {pair.input: pair.output for pair in spec.state}

    def inputs(rows: int) -> Arrays:
        sizes = {**trace_sizes(spec, rows), **axes, BATCH: rows}
        drawn = example_of(spec, torch.Generator().manual_seed(0), sizes)
        return {name: np.zeros_like(one.numpy()) if name in state else one.numpy() for name, one in drawn.items()}

    return Case(spec.name, inputs, spec.outputs, state, min(MOST_AT_ONCE, spec.max_batch_size), axes)


def typed_call(spec: ExportSpec | FilesSpec, cache_dir: Path) -> TypedCall | None:
    """Return the call of the service that is made for a model's task; None where there is none, or it is a stream."""
    name = spec.name
    if spec.task == "image_classification":
        classify = vision_pb2.ClassifyRequest(model=name, images=[_image(name, cache_dir)], top_k=5)
        return _typed("vision", "Vision", "Classify", classify.SerializeToString(), same_work=True)
    if spec.task == "text_embedding":
        embed = text_pb2.EmbedRequest(model=name, texts=[TEXT])
        return _typed("text", "Text", "Embed", embed.SerializeToString(), same_work=True)
    if spec.task == "word_embedding":
        near = text_pb2.NearestWordsRequest(model=name, queries=[text_pb2.WordQuery(plus=["king"])], count=10)
        return _typed("text", "Text", "NearestWords", near.SerializeToString(), same_work=False)
    if spec.task == "transduction":
        spell = text_pb2.TransduceRequest(model=name, text=_WORD)
        return _typed("text", "Text", "Transduce", spell.SerializeToString(), same_work=False)
    if spec.task == "speech_recognition":
        config = speech_pb2.RecognitionConfig(model=name)
        heard = speech_pb2.RecognizeRequest(config=config, audio=_recording(cache_dir))
        call = _typed("speech", "Speech", "Recognize", heard.SerializeToString(), same_work=False)
        # A model that takes whole utterances has them cut out by voice detection.
        return replace(call, needs=("silero_vad",)) if isinstance(spec, FilesSpec) else call
    return None


def _typed(package: str, service: str, method: str, message: bytes, *, same_work: bool) -> TypedCall:
    path = f"/cuelight.{package}.v1.{service}Service/{method}"
    return TypedCall(f"{service}Service.{method}", path, framed_in_parts(message), same_work)


def _sound(rows: int) -> Arrays:
    noise = np.random.default_rng(0).standard_normal((rows, _SAMPLES)).astype(np.float32)
    return {"input_values": noise * np.float32(0.05), "attention_mask": np.ones((rows, _SAMPLES), np.int64)}


def _image(name: str, cache_dir: Path) -> vision_pb2.Image:
    """Return a photo as JPEG; for models of digits, a frame of noise of their size."""
    from PIL import Image  # noqa: PLC0415 (part of the extra vision)

    sides = {"digit_cnn": 28, "self_attention": 8}
    if name in sides:
        side = sides[name]
        pixels = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8).tobytes()
        raw = vision_pb2.RawPixels(data=pixels, width=side, height=side, format=vision_pb2.GRAY8)
        return vision_pb2.Image(raw=raw)
    jpeg = io.BytesIO()
    Image.open(PHOTO.fetch(cache_dir)).convert("RGB").save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return vision_pb2.Image(encoded=jpeg.getvalue())


def _recording(cache_dir: Path) -> bytes:
    """Return the recording's first two seconds as WAV."""
    cut = io.BytesIO()
    with wave.open(str(RECORDING.fetch(cache_dir))) as source, wave.open(cut, "wb") as target:
        target.setparams(source.getparams())
        target.writeframes(source.readframes(2 * source.getframerate()))
    return cut.getvalue()
