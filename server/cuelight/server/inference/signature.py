"""What a model takes and gives: names, datatypes, shapes and the batch axis."""

from bisect import bisect_left
from dataclasses import dataclass, field

from cuelight.server.inference.datatypes import Datatype

__all__ = ["ModelSignature", "Padding", "TensorSpec"]

WILDCARD = -1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. `shape` includes the batch axis where the model has one; -1 stands for any size."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    optional: bool = False

    def describe(self) -> str:
        """Return datatype and shape as errors and startup lines show them: `FP32 [-1,80]`."""
        return f"{self.datatype.name} [{','.join(str(size) for size in self.shape)}]"


@dataclass(frozen=True, slots=True)
class Padding:
    """An input whose `axis` may be padded with `value`, so that requests of different length share a batch.

    `length_input` names the INT64 input, of shape [batch], that the server fills with the true lengths; None when the
    model needs none, in which case padding must not change the unpadded part of the outputs. `outputs` lists the
    (output, axis) pairs that grow with the padded axis: they are cut back to each request's own length. With `buckets`,
    ascending, requests share a batch only with those whose sizes round up to the same of them, or lie beyond the last:
    short ones do not pay for a long one.
    """

    input: str
    axis: int
    length_input: str | None = None
    value: float = 0.0
    outputs: tuple[tuple[str, int], ...] = ()
    buckets: tuple[int, ...] = ()

    def bucket(self, size: int) -> int:
        """Return which of the sizes that share a batch this one belongs to; -1 where all do."""
        return bisect_left(self.buckets, size) if self.buckets else -1


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """The tensors of one model version, in the model's own order.

    `max_batch_size` 0 means that the model has no batch axis: each request runs alone, in the shape it came.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    max_batch_size: int
    padding: tuple[Padding, ...] = ()
    reject_nonfinite: bool = False
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For the classification extension: output name -> label of each index."""
    fixed: bool = field(init=False, compare=False)
    """Whether every dimension but the batch axis has a fixed size; asked for with every request."""

    def __post_init__(self) -> None:
        skip = 1 if self.batches else 0
        specs = (*self.inputs.values(), *self.outputs.values())
        fixed = all(size != WILDCARD for spec in specs for size in spec.shape[skip:])
        object.__setattr__(self, "fixed", fixed)

    @property
    def batches(self) -> bool:
        """Whether the model has a batch axis (axis 0 of every tensor)."""
        return self.max_batch_size > 0
