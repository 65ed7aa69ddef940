"""Experiments, what came of them, and a user's part in them, as messages of `cuelight.recommender.v1`."""

from collections.abc import Mapping

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.server.recommender.messages import interaction_message, time_message
from cuelight.server.recommender.store.exposures import Exposure, ShownItem, VariantKey
from cuelight.server.recommender.store.outcomes import Outcome
from cuelight.server.recommender.store.store import Store

__all__ = ["experiments_message", "export_message"]


def experiments_message(
    shares: Mapping[str, Mapping[str, float]], counts: Mapping[VariantKey, Outcome]
) -> pb.ListExperimentsResponse:
    """Return experiments, by their variants' shares, with what came of each variant."""
    response = pb.ListExperimentsResponse()
    for experiment, variants in shares.items():
        added = response.experiments.add(name=experiment)
        for name, share in variants.items():
            outcome = counts.get(VariantKey(experiment, name), Outcome())
            added.variants.add(
                name=name,
                share=share,
                users=outcome.users,
                shelves=outcome.shelves,
                likes=outcome.likes,
                hits=outcome.hits,
            )
    return response


def export_message(store: Store, user: str) -> pb.ExportUserResponse:
    """Return everything stored of a user. Raises: UserNotFound."""
    return pb.ExportUserResponse(
        interactions=map(interaction_message, store.export_user(user)),
        exposures=map(_exposure_message, store.exposures.exposures_of(user)),
        shown=map(_shown_message, store.exposures.shown_to(user)),
    )


def _exposure_message(exposure: Exposure) -> pb.Exposure:
    return pb.Exposure(
        experiment=exposure.key.experiment,
        variant=exposure.key.variant,
        first_time=time_message(exposure.first_s),
        shelves=exposure.shelves,
    )


def _shown_message(shown: ShownItem) -> pb.ShownItem:
    return pb.ShownItem(experiment=shown.experiment, item_id=shown.item, first_time=time_message(shown.first_s))
