"""How the sequential model is trained. The defaults were chosen on the validation split of MovieLens 100K."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cuelight.exporters.sasrec.model import Shape

__all__ = ["TrainSettings"]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Everything that decides what comes out, beside the likes themselves."""

    width: int = 64
    blocks: int = 1
    heads: int = 1
    length: int = 50
    """So many of somebody's latest likes are looked at."""
    dropout: float = 0.3
    """Share of numbers left out at random in training, 0 to below 1."""
    rate: float = 3e-3
    """Of Adam, after a warm-up of 50 batches."""
    batch: int = 32
    """People a batch."""
    epochs: int = 60
    """At most."""
    patience: int = 5
    """Training stops after so many epochs in a row that made the validation no better."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.shape(1)
        for name in ("batch", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: got {self.dropout}, expected 0 to below 1")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate: got {self.rate}, expected above 0 and below 1")
        if self.seed < 0:
            raise ValueError(f"seed: got {self.seed}, expected 0 or more")

    def shape(self, n_items: int) -> Shape:
        """Return how large the network is for so many items. Raises: ValueError for what cannot be."""
        return Shape(n_items, self.width, self.blocks, self.heads, self.length)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "TrainSettings":
        """Build settings from what was told by name, the rest by default. Raises: ValueError for what cannot be."""
        known = {field.name for field in fields(cls)}
        for name in told:
            if name not in known:
                raise ValueError(f"{name}: not a setting; there are {', '.join(sorted(known))}")
        return cls(**told)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)
