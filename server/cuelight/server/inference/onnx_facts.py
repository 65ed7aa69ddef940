"""What an ONNX file says of itself: tensors and metadata, as ONNX Runtime reports them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["OnnxFacts", "TensorFacts", "read_facts"]


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One graph input or output. A dimension is a size, a symbol's name, or None when nothing is known of it."""

    name: str
    ort_type: str
    """ONNX Runtime's type string, such as `tensor(float)`."""
    shape: tuple[int | str | None, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape with -1 for every dimension that is not fixed."""
        return tuple(size if isinstance(size, int) and size >= 0 else -1 for size in self.shape)


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """Inputs and outputs in the file's order, and its `metadata_props`."""

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def batchable(self) -> bool:
        """Whether axis 0 can be a batch: of free size on every tensor, under one name where inputs name it."""
        tensors = (*self.inputs, *self.outputs)
        if not self.inputs or any(not tensor.shape or tensor.sizes[0] != -1 for tensor in tensors):
            return False
        return len({tensor.shape[0] for tensor in self.inputs if isinstance(tensor.shape[0], str)}) <= 1


def read_facts(session: Any) -> OnnxFacts:
    """Read the facts from an `onnxruntime.InferenceSession`."""
    return OnnxFacts(
        inputs=tuple(TensorFacts(node.name, node.type, tuple(node.shape)) for node in session.get_inputs()),
        outputs=tuple(TensorFacts(node.name, node.type, tuple(node.shape)) for node in session.get_outputs()),
        metadata=dict(session.get_modelmeta().custom_metadata_map),
    )
