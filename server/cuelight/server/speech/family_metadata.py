"""sherpa-onnx's metadata keys: strings, lists separated by commas; a key that is missing or odd is named."""

from collections.abc import Mapping
from dataclasses import dataclass

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.onnx_facts import OnnxFacts

__all__ = ["SherpaMetadata", "zipformer2_states"]

_EMBED_CHANNELS, _EMBED_FRAMES = 128, 3
"""Of the convolution before a zipformer2's stacks, the same in every model."""

_STACK_KEYS = (
    "encoder_dims",
    "query_head_dims",
    "value_head_dims",
    "num_heads",
    "num_encoder_layers",
    "cnn_module_kernels",
    "left_context_len",
)


@dataclass(frozen=True, slots=True)
class SherpaMetadata:
    """The metadata of one file; `source` is the file's name in errors."""

    values: Mapping[str, str]
    source: str

    @property
    def language(self) -> str:
        """The language the file names, `en` where it names none."""
        return self.values.get("language") or self.values.get("lang") or "en"

    def count(self, key: str) -> int:
        """Return a whole number of at least 1. Raises: ModelLoadError."""
        return self._count(key, self._text(key))

    def counts(self, key: str) -> tuple[int, ...]:
        """Return a list of such numbers. Raises: ModelLoadError."""
        return tuple(self._count(key, part) for part in self._text(key).split(","))

    def check_tensors(self, facts: OnnxFacts, expected: int) -> None:
        """Raises: ModelLoadError unless there are `expected` inputs and as many outputs."""
        came = (len(facts.inputs), len(facts.outputs))
        if came != (expected, expected):
            raise ModelLoadError(
                f"{self.source}: has {came[0]} inputs and {came[1]} outputs, "
                f"by its metadata it is a model of {expected} inputs and {expected} outputs"
            )

    def refuse_whisper_features(self) -> None:
        """Raises: ModelLoadError for a model on Whisper's features, which are not computed here."""
        if self.values.get("feature"):
            raise ModelLoadError(
                f'{self.source}: metadata "feature": got "{self.values["feature"]}", '
                "expected none: features are Kaldi's filter bank"
            )

    def _text(self, key: str) -> str:
        if key not in self.values:
            raise ModelLoadError(f'{self.source}: metadata "{key}": missing, a model of this family names it')
        return self.values[key]

    def _count(self, key: str, text: str) -> int:
        if not text.isascii() or not text.strip().isdigit() or int(text) < 1:
            raise ModelLoadError(
                f'{self.source}: metadata "{key}": got "{self.values[key]}", expected whole numbers of at least 1'
            )
        return int(text)


def zipformer2_states(metadata: SherpaMetadata, feature_dim: int) -> tuple[tuple[int | None, ...], ...]:
    """Return the shapes of a zipformer2's states in their order, None at the batch axis.

    Raises: ModelLoadError when a key is missing or the lists differ in length.
    """
    lists = {key: metadata.counts(key) for key in _STACK_KEYS}
    if len({len(values) for values in lists.values()}) > 1:
        lengths = ", ".join(f"{key} {len(values)}" for key, values in lists.items())
        raise ModelLoadError(f"{metadata.source}: metadata: expected one number a stack in each list, got {lengths}")
    states: list[tuple[int | None, ...]] = []
    for dim, query, value, heads, layers, kernel, left in zip(*lists.values(), strict=True):
        layer: list[tuple[int | None, ...]] = [
            (left, None, query * heads),
            (1, None, left, 3 * dim // 4),
            (left, None, value * heads),
            (left, None, value * heads),
            (None, dim, kernel // 2),
            (None, dim, kernel // 2),
        ]
        states += layer * layers
    embed = ((feature_dim - 1) // 2 - 1) // 2
    return (*states, (None, _EMBED_CHANNELS, _EMBED_FRAMES, embed), (None,))
