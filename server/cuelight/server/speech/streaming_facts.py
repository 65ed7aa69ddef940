"""How a streaming recognition model is fed: window and shift of its features, tensor names, what its output means.

The facts travel in the metadata key `cuelight.streaming`, JSON. `families.adapted` writes it for models of
sherpa-onnx's families; an exporter may write it itself.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cuelight.server.inference.loader import ModelLoadError

__all__ = ["FRAME_SHIFT_S", "METADATA_KEY", "Family", "Features", "Layout", "StreamingFacts", "streaming_facts"]

Family = Literal["nemo_ctc", "zipformer2_ctc", "zipformer2_transducer", "lstm_transducer"]
Layout = Literal["BTF", "BFT"]
Features = Literal["kaldi", "nemo"]
"""Log-mel energies of 25 ms every 10 ms, pre-emphasis 0.97, as two toolkits compute them.

kaldi: Povey window, mean removed, HTK's mel scale from 20 Hz to 400 Hz below half of the sample rate.
nemo: Hann window, mean kept, Slaney's mel scale and normalization from 0 Hz to half of the sample rate.
"""

METADATA_KEY = "cuelight.streaming"
FRAME_SHIFT_S = 0.01
"""From one feature frame to the next."""

_COUNTS = (
    "window_frames",
    "shift_frames",
    "feature_dim",
    "subsampling",
    "vocab_size",
    "sample_rate_hz",
    "sample_scale",
)


@dataclass(frozen=True, slots=True)
class StreamingFacts:
    """What feeds one step, and what comes out of it.

    A step takes `window_frames` feature frames; the next one begins `shift_frames` later. Its first output frame stands
    for the first frame of the window.
    """

    family: Family
    window_frames: int
    shift_frames: int
    feature_dim: int
    audio_input: str
    output: str
    """Log-probabilities (batch, frames, vocabulary) of a CTC model, encoder frames (batch, frames, size) of a
    transducer."""
    vocab_size: int
    """Tokens, blank included."""
    layout: Layout = "BTF"
    """The order of batch, time and feature in `audio_input`."""
    features: Features = "kaldi"
    subsampling: int = 4
    """Feature frames to one output frame."""
    sample_scale: int = 1
    """What full scale is to the model: 1 or 32768."""
    sample_rate_hz: int = 16000
    constants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """INT64 inputs that are the same in every step, without batch axis: their values in one row."""
    context_size: int = 0
    """How many tokens a transducer's decoder looks back; 0 for CTC."""
    language: str = "en"

    @property
    def transducer(self) -> bool:
        """Whether a decoder and a joiner lie beside the model."""
        return self.family.endswith("_transducer")

    @property
    def frame_s(self) -> float:
        """Seconds from one output frame to the next."""
        return FRAME_SHIFT_S * self.subsampling

    @property
    def shift_samples(self) -> int:
        """Samples from one step to the next."""
        return round(self.shift_frames * FRAME_SHIFT_S * self.sample_rate_hz)

    def step_inputs(self, frames: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Return the inputs of one step from features (window_frames, feature_dim), each with a batch axis of 1."""
        audio = (frames.T if self.layout == "BFT" else frames)[np.newaxis]
        return {self.audio_input: np.ascontiguousarray(audio), **self.constant_inputs()}

    def constant_inputs(self) -> dict[str, NDArray[Any]]:
        """Return the inputs that are the same in every step, each with a batch axis of 1."""
        return {
            name: np.array(values, np.int64).reshape(1, *(() if len(values) == 1 else (len(values),)))
            for name, values in self.constants.items()
        }

    def to_json(self) -> str:
        """Return the value of `cuelight.streaming`."""
        return json.dumps(asdict(self), sort_keys=True)


def streaming_facts(metadata: Mapping[str, str], source: str = "") -> StreamingFacts | None:
    """Read `cuelight.streaming`; None for a model that is no streaming recognizer.

    Raises: ModelLoadError naming `source`, the key, what came and what was expected.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        return None
    where = f'{source}: metadata "{METADATA_KEY}"' if source else f'metadata "{METADATA_KEY}"'
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ModelLoadError(f"{where}: not JSON: {error}") from error
    known = {each.name for each in fields(StreamingFacts)}
    if not isinstance(values, dict) or not known.issuperset(values):
        raise ModelLoadError(f"{where}: expected a JSON object with keys among {', '.join(sorted(known))}")
    try:
        constants = {name: tuple(map(int, value)) for name, value in values.pop("constants", {}).items()}
        facts = StreamingFacts(**values, constants=constants)
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelLoadError(f"{where}: {str(error).removeprefix('StreamingFacts.__init__() ')}") from error
    _check(facts, where)
    return facts


def _check(facts: StreamingFacts, where: str) -> None:
    for name in _COUNTS:
        value = getattr(facts, name)
        if type(value) is not int or value < 1:
            raise ModelLoadError(f"{where}: {name}: got {value!r}, expected a whole number of at least 1")
    for name, allowed in (
        ("family", get_args(Family)),
        ("layout", get_args(Layout)),
        ("features", get_args(Features)),
    ):
        if getattr(facts, name) not in allowed:
            raise ModelLoadError(f"{where}: {name}: got {getattr(facts, name)!r}, expected {' or '.join(allowed)}")
    least = 1 if facts.transducer else 0
    if type(facts.context_size) is not int or facts.context_size < least:
        raise ModelLoadError(f"{where}: context_size: got {facts.context_size!r}, expected at least {least}")
    if facts.shift_frames > facts.window_frames:
        raise ModelLoadError(
            f"{where}: shift_frames: got {facts.shift_frames}, expected at most window_frames, {facts.window_frames}"
        )
