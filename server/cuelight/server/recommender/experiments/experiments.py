"""The experiments that run: whose variant is which, and what it sets that a request does not."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.server.errors import NotFound
from cuelight.server.recommender.experiments.assignment import assigned
from cuelight.server.recommender.experiments.config import ExperimentConfig, VariantConfig
from cuelight.server.recommender.limits import check_name
from cuelight.server.recommender.messages import options_of
from cuelight.server.recommender.shelves import Query, ShelfOptions
from cuelight.server.recommender.store.exposures import VariantKey

__all__ = ["Experiments", "OptionsByQuery", "filled", "message_of"]


class Experiments:
    """The configuration's experiments. Immutable."""

    def __init__(self, configs: Sequence[ExperimentConfig]) -> None:
        self.shares = {config.name: {one.name: one.share for one in config.variants} for config in configs}
        """By variant, by experiment, in the configuration's order."""
        self._options = {
            VariantKey(config.name, one.name): message_of(one) for config in configs for one in config.variants
        }

    def variant_of(self, experiment: str, user: str) -> VariantKey:
        """Return the variant of a user. Raises: NotFound when there is no such experiment."""
        if experiment not in self.shares:
            there_are = ", ".join(self.shares) or "none"
            raise NotFound(f'experiment "{experiment}": there are {there_are}')
        return VariantKey(experiment, assigned(experiment, self.shares[experiment], user))

    def options_of_variant(self, key: VariantKey) -> pb.ShelfOptions:
        """Return what a variant sets."""
        return self._options[key]


class OptionsByQuery:
    """The options of one request, for each of its queries: those of one variant are the same object."""

    def __init__(self, message: pb.ShelfOptions, experiments: Experiments) -> None:
        """Raises: NotFound when there is no such experiment; InvalidRequest when an option cannot be."""
        self._message = message
        self._experiments = experiments
        self._plain = options_of(message)
        self._options: dict[VariantKey, ShelfOptions] = {}
        if message.experiment:
            experiments.variant_of(check_name("experiment", message.experiment), "")

    def of(self, query: Query) -> tuple[ShelfOptions, VariantKey | None]:
        """Return the options and the variant of who asks; none for a history, and without an experiment.

        Raises: InvalidRequest when what the variant sets does not go with what the request does.
        """
        if not self._message.experiment or query.user is None:
            return self._plain, None
        key = self._experiments.variant_of(self._message.experiment, query.user)
        if key not in self._options:
            self._options[key] = options_of(filled(self._message, self._experiments.options_of_variant(key)))
        return self._options[key], key


def filled(message: pb.ShelfOptions, variant: pb.ShelfOptions) -> pb.ShelfOptions:
    """Return a request's options, and the variant's where the request sets none: where it says the default or nothing.

    A model stands against a blend, and `exclude_seen_since` against the variant's `include_seen`.
    """
    said = {field.name for field, _ in message.ListFields()}
    if message.WhichOneof("by"):
        said |= {"model", "blend"}
    if message.HasField("exclude_seen_since"):
        said.add("include_seen")
    both = pb.ShelfOptions()
    both.CopyFrom(variant)
    for name in said:
        both.ClearField(name)  # type: ignore[arg-type]
    both.MergeFrom(message)
    return both


def message_of(variant: VariantConfig) -> pb.ShelfOptions:
    """Return what a variant of the configuration sets, as a request would."""
    fields = {name: value for name, value in asdict(variant).items() if name not in {"name", "share", "model", "blend"}}
    message = pb.ShelfOptions(**_without_none(fields))
    if variant.blend:
        message.blend.weights.update(variant.blend)
    elif variant.model:
        message.model = variant.model
    return message


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_without_none(one) for one in value]
    return value
