"""What the recommender tells of experiments, and everything that it has stored of a user; plain values."""

from dataclasses import dataclass

from cuelight.client.interactions import Interaction, interaction_from
from cuelight.recommender.v1 import recommender_pb2 as pb

__all__ = ["Experiment", "Exposure", "ShownItem", "UserExport", "Variant", "experiments_from", "user_export_from"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of an experiment, and what came of it.

    `share` of the users, 0 to 1, is assigned to it. `users` have got `shelves` of it and told of `likes` since their
    first one; `hits` of these were of an item that a shelf had shown them before.
    """

    name: str
    share: float
    users: int
    shelves: int
    likes: int
    hits: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """Variants side by side, in the order of the server's configuration."""

    name: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """A user's part in an experiment: `shelves` of a variant, the first at `first_time_s` (Unix time)."""

    experiment: str
    variant: str
    first_time_s: float
    shelves: int


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item that a shelf of an experiment has shown a user, at `first_time_s` (Unix time) for the first time."""

    experiment: str
    item_id: str
    first_time_s: float


@dataclass(frozen=True, slots=True)
class UserExport:
    """Everything stored of a user, each in the order it came: what the user did, and the part in experiments."""

    interactions: tuple[Interaction, ...]
    exposures: tuple[Exposure, ...] = ()
    shown: tuple[ShownItem, ...] = ()


def experiments_from(response: pb.ListExperimentsResponse) -> list[Experiment]:
    """Return experiments of the wire as plain values."""
    return [
        Experiment(experiment.name, tuple(_variant_from(variant) for variant in experiment.variants))
        for experiment in response.experiments
    ]


def user_export_from(response: pb.ExportUserResponse) -> UserExport:
    """Return what is stored of a user as plain values."""
    return UserExport(
        tuple(interaction_from(interaction) for interaction in response.interactions),
        tuple(
            Exposure(one.experiment, one.variant, one.first_time.ToMicroseconds() / 1e6, one.shelves)
            for one in response.exposures
        ),
        tuple(ShownItem(one.experiment, one.item_id, one.first_time.ToMicroseconds() / 1e6) for one in response.shown),
    )


def _variant_from(variant: pb.Variant) -> Variant:
    return Variant(variant.name, variant.share, variant.users, variant.shelves, variant.likes, variant.hits)
