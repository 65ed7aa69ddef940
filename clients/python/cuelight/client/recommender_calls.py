"""The recommender's calls as values: path, request, and how the response is read. Both clients make the same ones."""

import secrets
from collections.abc import Iterable, Iterator

from cuelight.client.calls import Call, pieces_of
from cuelight.client.experiments import Experiment, UserExport, experiments_from, user_export_from
from cuelight.client.interactions import Recorded
from cuelight.client.recommendations import (
    Item,
    Nearest,
    Numbers,
    RecommenderModels,
    Shelf,
    SimilarUser,
    embedding_message,
    item_from,
    item_message,
    models_from,
    nearest_from,
    shelf_from,
    users_from,
)
from cuelight.client.shelf_options import ItemFilter, ShelfOptions, Who, options_message, query_message
from cuelight.recommender.v1 import recommender_pb2 as pb

__all__ = [
    "RECORD_PATH",
    "WATCH_PATH",
    "delete_call",
    "experiments_call",
    "export_call",
    "forget_call",
    "item_call",
    "models_call",
    "nearest_calls",
    "recommend_calls",
    "recorded_from",
    "similar_items_call",
    "similar_users_call",
    "similarity_calls",
    "upsert_calls",
    "watch_request",
]

_SERVICE = "/cuelight.recommender.v1.RecommenderService"
RECORD_PATH = f"{_SERVICE}/RecordInteractions"
WATCH_PATH = f"{_SERVICE}/WatchRecommendations"
_MAX_AT_ONCE = 1000
"""Queries or pairs in a call; the server's limit."""
_ITEMS_A_CALL = 5000
_SEED_BITS = 53


def recommend_calls(whom: Iterable[Who], options: ShelfOptions | None) -> Iterator[Call[list[Shelf]]]:
    """Yield the calls for the shelves of all, in their order."""
    for queries in pieces_of(map(query_message, whom), _MAX_AT_ONCE):
        request = pb.RecommendRequest(queries=queries, options=_options(options))
        yield Call(f"{_SERVICE}/Recommend", request, pb.RecommendResponse, _shelves)


def watch_request(who: Who, options: ShelfOptions | None) -> pb.WatchRecommendationsRequest:
    """Return the request for a shelf and its changes; with a seed, so that no other server draws another one."""
    message = _options(options)
    if not message.HasField("seed"):
        message.seed = secrets.randbits(_SEED_BITS)
    return pb.WatchRecommendationsRequest(query=query_message(who), options=message)


def similar_items_call(item_id: str, options: ShelfOptions | None) -> Call[Shelf]:
    """Return the call for the items like one."""
    request = pb.SimilarItemsRequest(item_id=item_id, options=_options(options))
    path = f"{_SERVICE}/SimilarItems"
    return Call(path, request, pb.SimilarItemsResponse, lambda response: shelf_from(response.shelf))


def nearest_calls(
    queries: Iterable[str | Numbers], space: str, n: int, conditions: ItemFilter | None, exact: bool
) -> Iterator[Call[Nearest]]:
    """Yield the calls for the items near to vectors, or to items by id, in their order."""
    options = options_message(ShelfOptions(n=n, filter=conditions or ItemFilter()))
    for cut in pieces_of(map(_near_to, queries), _MAX_AT_ONCE):
        request = pb.NearestItemsRequest(space=space, queries=cut, n=n, filter=options.filter, exact=exact)
        yield Call(f"{_SERVICE}/NearestItems", request, pb.NearestItemsResponse, nearest_from)


def similar_users_call(user_id: str, n: int) -> Call[tuple[SimilarUser, ...]]:
    """Return the call for the users like one."""
    request = pb.SimilarUsersRequest(user_id=user_id, n=n)
    return Call(f"{_SERVICE}/SimilarUsers", request, pb.SimilarUsersResponse, users_from)


def similarity_calls(pairs: Iterable[tuple[str, str]], *, users: bool) -> Iterator[Call[list[float]]]:
    """Yield the calls for how alike the two of each pair are, in their order; items, or `users`."""
    ids = (pb.IdPair(first_id=first, second_id=second) for first, second in pairs)
    for cut in pieces_of((pb.Pair(users=pair) if users else pb.Pair(items=pair) for pair in ids), _MAX_AT_ONCE):
        request = pb.SimilarityRequest(pairs=cut)
        yield Call(f"{_SERVICE}/Similarity", request, pb.SimilarityResponse, _similarities)


def upsert_calls(items: Iterable[Item]) -> Iterator[Call[None]]:
    """Yield the calls that set the items' attributes."""
    for cut in pieces_of(map(item_message, items), _ITEMS_A_CALL):
        request = pb.UpsertItemsRequest(items=cut)
        yield Call(f"{_SERVICE}/UpsertItems", request, pb.UpsertItemsResponse, _nothing)


def delete_call(item_ids: Iterable[str]) -> Call[None]:
    """Return the call that deletes items."""
    request = pb.DeleteItemsRequest(item_ids=item_ids)
    return Call(f"{_SERVICE}/DeleteItems", request, pb.DeleteItemsResponse, _nothing)


def item_call(item_id: str) -> Call[Item]:
    """Return the call for an item's attributes."""
    request = pb.GetItemRequest(item_id=item_id)
    return Call(f"{_SERVICE}/GetItem", request, pb.GetItemResponse, lambda response: item_from(response.item))


def forget_call(user_ids: Iterable[str]) -> Call[int]:
    """Return the call that forgets users."""
    request = pb.ForgetUsersRequest(user_ids=user_ids)
    return Call(f"{_SERVICE}/ForgetUsers", request, pb.ForgetUsersResponse, lambda response: int(response.forgotten))


def export_call(user_id: str) -> Call[UserExport]:
    """Return the call for everything stored of a user."""
    request = pb.ExportUserRequest(user_id=user_id)
    return Call(f"{_SERVICE}/ExportUser", request, pb.ExportUserResponse, user_export_from)


def models_call() -> Call[RecommenderModels]:
    """Return the call for the models."""
    return Call(f"{_SERVICE}/ListModels", pb.ListModelsRequest(), pb.ListModelsResponse, models_from)


def experiments_call() -> Call[list[Experiment]]:
    """Return the call for the experiments."""
    path = f"{_SERVICE}/ListExperiments"
    return Call(path, pb.ListExperimentsRequest(), pb.ListExperimentsResponse, experiments_from)


def recorded_from(response: pb.RecordInteractionsResponse) -> Recorded:
    """Return an acknowledgement of the wire as a plain value."""
    return Recorded(response.recorded, response.duplicates)


def _options(options: ShelfOptions | None) -> pb.ShelfOptions:
    return options_message(options if options is not None else ShelfOptions())


def _near_to(query: str | Numbers) -> pb.NearestQuery:
    if isinstance(query, str):
        return pb.NearestQuery(item_id=query)
    return pb.NearestQuery(embedding=embedding_message(query))


def _shelves(response: pb.RecommendResponse) -> list[Shelf]:
    return [shelf_from(shelf) for shelf in response.shelves]


def _similarities(response: pb.SimilarityResponse) -> list[float]:
    return list(response.similarities)


def _nothing(response: object) -> None:
    return None
