"""What `cuelight recommender` can be told in a file."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from cuelight.server.config import LimitsConfig, LogConfig, ServerConfig
from cuelight.server.config_file import Sections, build, merge
from cuelight.server.errors import ConfigError
from cuelight.server.recommender.experiments.config import ExperimentConfig, check_distinct
from cuelight.server.recommender.model_names import MAX_LIKED_ITEMS
from cuelight.server.recommender.models_config import ModelsConfig
from cuelight.server.rpc.tls import TlsFiles

__all__ = ["DataConfig", "RecommenderConfig", "build_recommender_config"]

_PORTS: Sections = {"server": {"port": 8003, "metrics_port": 8004}}
"""Beside those of `cuelight serve`, so that both run on one machine."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where everything is kept, and how it is read."""

    folder: Path
    """Made if missing; one process holds it."""
    min_value: float | None = None
    """From here on an event's value is a like; kept with the data. Where nothing ever was set: 1."""
    max_liked_items: int = MAX_LIKED_ITEMS
    """Above so many items that somebody likes `item_cosine` and `ease` are not available: they keep two numbers of 8
    bytes for every pair of them."""

    def __post_init__(self) -> None:
        if self.min_value is not None and not math.isfinite(self.min_value):
            raise ConfigError(f"data.min_value: got {self.min_value}, expected a finite number")
        if self.max_liked_items < 0:
            raise ConfigError(f"data.max_liked_items: got {self.max_liked_items}, expected 0 or more")


@dataclass(frozen=True, slots=True)
class RecommenderConfig:
    """Everything `cuelight recommender serve` needs to know; `fit` and `evaluate` read `data` and `models` of it."""

    data: DataConfig
    server: ServerConfig = field(default_factory=ServerConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    tls: TlsFiles | None = None
    experiments: tuple[ExperimentConfig, ...] = ()
    models: ModelsConfig = field(default_factory=ModelsConfig)

    def __post_init__(self) -> None:
        check_distinct("experiments: name", [experiment.name for experiment in self.experiments])


def build_recommender_config(sections: Sections) -> RecommenderConfig:
    """Build the configuration from its sections, with ports of its own where none are set. Raises: ConfigError."""
    return build(merge(_PORTS, sections), RecommenderConfig)
