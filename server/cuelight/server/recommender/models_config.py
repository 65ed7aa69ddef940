"""What models are fitted with, as `[models]` of a configuration says it; apart, so that no model is loaded for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.blends import check_blend

__all__ = ["ModelsConfig"]


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """The defaults are those of the accuracy table in the README."""

    half_life_s: float = math.inf
    """Of popularity: a like counts half as much as one that came so many seconds later; infinity counts all alike."""
    neighbours: int = 100
    """Of `item_cosine` (items) and `user_cosine` (users): the most similar ones, which have a say."""
    shrinkage: float = 10.0
    """Of both cosine models: added to the product of norms, so that few likes in common say little."""
    ease_regularization: float = 500.0
    """Lambda of `ease`: the higher, the less it trusts pairs that are seldom liked together."""
    als_factors: int = 32
    """Numbers in a vector of `als`."""
    als_regularization: float = 10.0
    als_alpha: float = 2.0
    """Of `als`: what a like weighs beside what is not known, which weighs 1."""
    als_iterations: int = 30
    hybrid: Mapping[str, float] = field(default_factory=lambda: {"ease": 0.9, "content_cosine": 0.1})
    """Models and their weights in `hybrid`, where a request brings none."""

    def __post_init__(self) -> None:
        for name in ("neighbours", "als_factors", "als_iterations"):
            if getattr(self, name) < 1:
                raise ConfigError(f"models.{name}: got {getattr(self, name)}, expected 1 or more")
        for name in ("ease_regularization", "als_regularization", "als_alpha"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"models.{name}: got {getattr(self, name)}, expected a number above 0")
        if not 0 <= self.shrinkage < math.inf:
            raise ConfigError(f"models.shrinkage: got {self.shrinkage}, expected 0 or more")
        if not self.half_life_s > 0:
            raise ConfigError(f"models.half_life_s: got {self.half_life_s}, expected more than 0 seconds, or inf")
        if not self.hybrid:
            raise ConfigError("models.hybrid: got nothing, expected weights by model")
        check_blend("models.hybrid", self.hybrid)
