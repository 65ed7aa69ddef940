"""Weights of models, as configurations and command lines say them; apart, so that no model is loaded for it."""

import math
from collections.abc import Mapping, Sequence

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.model_names import MODEL_NAMES

__all__ = ["check_blend", "parse_blend"]


def check_blend(where: str, blend: Mapping[str, float]) -> None:
    """Raises: ConfigError naming the model and what is allowed; `where` says which setting it is."""
    for name, weight in blend.items():
        if name not in MODEL_NAMES or name == "hybrid":
            allowed = ", ".join(one for one in MODEL_NAMES if one != "hybrid")
            raise ConfigError(f'{where}: got "{name}", expected some of {allowed}')
        if not math.isfinite(weight):
            raise ConfigError(f"{where}: {name}: got {weight}, expected a finite number")


def parse_blend(where: str, words: Sequence[str]) -> Mapping[str, float]:
    """Return the weights of `ease=0.8 als=0.2`. Raises: ConfigError as `check_blend`."""
    blend: dict[str, float] = {}
    for word in words:
        name, _, weight = word.partition("=")
        try:
            value = float(weight)
        except ValueError as error:
            raise ConfigError(f'{where}: got "{word}", expected MODEL=WEIGHT, such as ease=0.8') from error
        if name in blend:
            raise ConfigError(f'{where}: got "{name}" twice, expected each model once')
        blend[name] = value
    check_blend(where, blend)
    return blend
