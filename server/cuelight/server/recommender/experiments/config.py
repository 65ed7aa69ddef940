"""Experiments as a configuration file says them: `[[experiments]]`, each with `[[experiments.variants]]`.

A variant's fields are those of the contract's ShelfOptions, under the same names.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.blends import check_blend
from cuelight.server.recommender.model_names import MODEL_NAMES

__all__ = ["BoostConfig", "ExperimentConfig", "FilterConfig", "RangeConfig", "VariantConfig", "check_distinct"]

_MAX_NAME_BYTES = 64
_ROUNDING = 1e-9
_MAX_N = 1000
_MAX_BOOSTS = 100


@dataclass(frozen=True, slots=True)
class RangeConfig:
    """Bounds of a number among an item's attributes, both part of the range; None for no bound."""

    name: str
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        least = -math.inf if self.min is None else self.min
        greatest = math.inf if self.max is None else self.max
        if not least <= greatest:
            raise ConfigError(f'ranges: "{self.name}": got min {self.min} and max {self.max}, expected min up to max')


@dataclass(frozen=True, slots=True)
class FilterConfig:
    """Which items: those that pass everything set here."""

    any_tags: tuple[str, ...] = ()
    all_tags: tuple[str, ...] = ()
    none_tags: tuple[str, ...] = ()
    ranges: tuple[RangeConfig, ...] = ()
    include_unavailable: bool = False


@dataclass(frozen=True, slots=True)
class BoostConfig:
    """A rule that lifts or lowers some items: those that are named and those that pass the filter."""

    name: str = ""
    item_ids: tuple[str, ...] = ()
    filter: FilterConfig | None = None
    factor: float = 1.0
    """Above 0."""
    add: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.factor < math.inf:
            raise ConfigError(f'boosts: "{self.name}": factor: got {self.factor}, expected a number above 0')
        if not math.isfinite(self.add):
            raise ConfigError(f'boosts: "{self.name}": add: got {self.add}, expected a finite number')
        if not self.item_ids and self.filter is None:
            raise ConfigError(f'boosts: "{self.name}": got neither item_ids nor filter, expected one: it moves nothing')


@dataclass(frozen=True, slots=True)
class VariantConfig:
    """One way to make shelves; what is not set is as in a request without it."""

    name: str
    share: float
    """Of the users, 0 to 1; the shares of an experiment add up to 1."""
    model: str = ""
    blend: Mapping[str, float] = field(default_factory=dict)
    """Weights by model, in the place of `model`."""
    n: int = 0
    filter: FilterConfig | None = None
    include_seen: bool = False
    diversity: float = 0.0
    """0 to 1."""
    explain: bool = False
    max_reasons: int = 0
    """0 for all."""
    boosts: tuple[BoostConfig, ...] = ()
    exploration: float = 0.0
    """0 to 1."""

    def __post_init__(self) -> None:
        where = f'variant "{self.name}"'
        _check_name("variants: name", self.name)
        for name in ("share", "diversity", "exploration"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{where}: {name}: got {getattr(self, name)}, expected 0 to 1")
        if not 0 <= self.n <= _MAX_N:
            raise ConfigError(f"{where}: n: got {self.n}, expected 1 to {_MAX_N}, or 0 for the request's")
        if self.max_reasons < 0:
            raise ConfigError(f"{where}: max_reasons: got {self.max_reasons}, expected 0, for all, or more")
        if len(self.boosts) > _MAX_BOOSTS:
            raise ConfigError(f"{where}: boosts: got {len(self.boosts)}, expected {_MAX_BOOSTS} at most")
        _check_models(where, self.model, self.blend)


@dataclass(frozen=True, slots=True)
class ExperimentConfig:
    """Variants side by side."""

    name: str
    variants: tuple[VariantConfig, ...]
    """The first is what others are compared to."""

    def __post_init__(self) -> None:
        where = f'experiment "{self.name}"'
        _check_name("experiments: name", self.name)
        if not self.variants:
            raise ConfigError(f"{where}: variants: got none, expected one or more")
        check_distinct(f"{where}: variants: name", [variant.name for variant in self.variants])
        total = math.fsum(variant.share for variant in self.variants)
        if abs(total - 1) > _ROUNDING:
            raise ConfigError(f"{where}: share: got shares that add up to {total:g}, expected 1")


def check_distinct(what: str, names: Sequence[str]) -> None:
    """Raises: ConfigError when a name comes twice."""
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(f'{what}: got "{name}" {count} times, expected each once')


def _check_name(what: str, name: str) -> None:
    if not 1 <= len(name.encode()) <= _MAX_NAME_BYTES:
        raise ConfigError(f'{what}: got "{name}", expected 1 to {_MAX_NAME_BYTES} bytes of UTF-8')


def _check_models(where: str, model: str, blend: Mapping[str, float]) -> None:
    if model and blend:
        raise ConfigError(f"{where}: got model and blend, expected one of them")
    if model and model not in MODEL_NAMES:
        raise ConfigError(f'{where}: model: got "{model}", expected one of {", ".join(MODEL_NAMES)}')
    check_blend(f"{where}: blend", blend)
