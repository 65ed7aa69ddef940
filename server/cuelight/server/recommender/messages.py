"""Between messages of `cuelight.recommender.v1` and what they mean here."""

import math
from collections.abc import Iterable, Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.boosts import DEFAULT_BOOST_NAME, Boost
from cuelight.server.recommender.catalogue import ItemFilter, NumberRange
from cuelight.server.recommender.embeddings import MAX_SPACES, Vector, check_space, check_vector
from cuelight.server.recommender.exploration import new_seed
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.limits import check_at_most, check_attributes, check_filter, check_name
from cuelight.server.recommender.retrieval.questions import Nearest, NearestQuestion
from cuelight.server.recommender.shelves import LEAST_WEIGHT, MOST_WEIGHT, Query, Shelf, ShelfOptions, check_n
from cuelight.server.recommender.store.events import Event, check_event, check_id
from cuelight.server.recommender.store.exposures import VariantKey

__all__ = [
    "attributes_of",
    "embeddings_of",
    "event_of",
    "interaction_message",
    "item_message",
    "nearest_message",
    "nearest_question_of",
    "options_of",
    "query_of",
    "shelf_message",
    "time_message",
]

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""What a Timestamp may hold: years 1 to 9999. Source: google/protobuf/timestamp.proto."""
_NANOS_A_SECOND = 1_000_000_000
_NO_CONDITIONS = ItemFilter()


def query_of(message: pb.Query) -> Query:
    """Return for whom. Raises: InvalidRequest."""
    match message.WhichOneof("who"):
        case "user_id":
            return Query(check_id("user_id", message.user_id))
        case "history":
            return Query(history=_history_of(message.history.items))
        case _:
            raise InvalidRequest("query: expected user_id or history, got neither")


def options_of(message: pb.ShelfOptions, default_model: str = "hybrid") -> ShelfOptions:
    """Return how. Raises: InvalidRequest."""
    if message.WhichOneof("by") == "blend" and not message.blend.weights:
        raise InvalidRequest("blend: expected weights of one model or more, got none")
    return ShelfOptions(
        model=check_name("model", message.model) or default_model,
        blend={check_name("blend", name): weight for name, weight in message.blend.weights.items()},
        n=check_n(message.n),
        conditions=_filter_of(message.filter),
        include_seen=message.include_seen,
        diversity=message.diversity,
        explain=message.explain,
        exclude_seen_since_s=_since_s(message),
        boosts=tuple(_boost_of(boost) for boost in message.boosts),
        exploration=message.exploration,
        seed=_seed_of(message),
        max_reasons=message.max_reasons,
        excluded=tuple(message.exclude_item_ids),
    )


def shelf_message(shelf: Shelf, key: VariantKey | None = None) -> pb.Shelf:
    """Return a shelf, of a variant of an experiment or of none, as a message."""
    message = pb.Shelf(model=shelf.model, model_version=shelf.version, cold=shelf.cold, seed=shelf.seed)
    if key is not None:
        message.variant = key.variant
    for item in shelf.items:
        add = message.items.add(item_id=item.item, score=item.score, explored=item.explored).reasons.add
        for share, reason, feature in item.reasons:
            if reason is None:
                add(share=share, feature=feature)
            else:
                add(share=share, item_id=reason)
    return message


def event_of(message: pb.Interaction, now_s: float, plain_like: float) -> Event:
    """Return an event; one that is a plain like has that value. Raises: InvalidRequest."""
    time_s = _time_s(f'event "{message.event_id}": time', message.time) if message.HasField("time") else now_s
    said = message.WhichOneof("said")
    if said == "withdrawn" and not message.withdrawn:
        raise InvalidRequest(f'event "{message.event_id}": withdrawn: expected true, got false')
    value = None if said == "withdrawn" else message.value if said == "value" else plain_like
    return check_event(Event(message.event_id, message.user_id, message.item_id, value, time_s), now_s)


def interaction_message(event: Event) -> pb.Interaction:
    """Return an event as a message."""
    time = time_message(event.time_s)
    message = pb.Interaction(event_id=event.id, user_id=event.user, item_id=event.item, time=time)
    if event.value is None:
        message.withdrawn = True
    else:
        message.value = event.value
    return message


def time_message(time_s: float) -> Timestamp:
    """Return a Unix time as a message, to the microsecond."""
    time = Timestamp()
    time.FromNanoseconds(round(time_s * 1e6) * 1000)
    return time


def attributes_of(message: pb.Item) -> ItemAttributes:
    """Return an item's attributes. Raises: InvalidRequest."""
    check_attributes(check_id("item_id", message.item_id), message.title, message.tags, message.numbers)
    check_at_most(f'item "{message.item_id}": embeddings', len(message.embeddings), MAX_SPACES)
    for name, number in message.numbers.items():
        if not math.isfinite(number):
            raise InvalidRequest(f'item "{message.item_id}": number "{name}": expected a finite number, got {number}')
    tags = tuple(dict.fromkeys(message.tags))
    return ItemAttributes(message.title, tags, dict(message.numbers), not message.unavailable)


def embeddings_of(message: pb.Item) -> dict[str, Vector]:
    """Return an item's embeddings by space. Raises: InvalidRequest."""
    try:
        return {
            check_space(space): check_vector(f'embeddings: space "{space}"', embedding.values)
            for space, embedding in message.embeddings.items()
        }
    except InvalidRequest as error:
        raise InvalidRequest(f'item "{message.item_id}": {error.message}') from error


def nearest_question_of(message: pb.NearestItemsRequest) -> NearestQuestion:
    """Return what is asked. Raises: InvalidRequest."""
    queries = tuple(_near_to(query, at) for at, query in enumerate(message.queries))
    conditions = _filter_of(message.filter) if message.HasField("filter") else _NO_CONDITIONS
    space = message.space and check_space(message.space)
    return NearestQuestion(space, queries, check_n(message.n), conditions, exact=message.exact)


def nearest_message(nearest: Nearest) -> pb.NearestItemsResponse:
    """Return what is near as a message."""
    message = pb.NearestItemsResponse(exact=nearest.exact)
    for near in nearest.lists:
        items = message.lists.add().items
        for item, cosine in near:
            items.add(item_id=item, cosine=cosine)
    return message


def item_message(item: str, attributes: ItemAttributes, embeddings: Mapping[str, Vector]) -> pb.Item:
    """Return an item as a message."""
    return pb.Item(
        item_id=item,
        title=attributes.title,
        tags=attributes.tags,
        numbers=attributes.numbers,
        unavailable=not attributes.available,
        embeddings={space: pb.Embedding(values=vector.tolist()) for space, vector in embeddings.items()},
    )


def _history_of(items: Iterable[pb.LikedItem]) -> dict[str, float]:
    history: dict[str, float] = {}
    for item in items:
        check_id("history: item_id", item.item_id)
        weight = item.weight or 1.0
        if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise InvalidRequest(
                f'history: "{item.item_id}": weight: expected {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, got {weight}'
            )
        if item.item_id in history:
            raise InvalidRequest(f'history: "{item.item_id}": expected once, got it twice')
        history[item.item_id] = weight
    return history


def _near_to(message: pb.NearestQuery, at: int) -> Vector | str:
    match message.WhichOneof("to"):
        case "embedding":
            return check_vector(f"queries[{at}]: embedding", message.embedding.values)
        case "item_id":
            return check_id("item_id", message.item_id)
        case _:
            raise InvalidRequest(f"queries[{at}]: expected embedding or item_id, got neither")


def _since_s(message: pb.ShelfOptions) -> float:
    if not message.HasField("exclude_seen_since"):
        return -math.inf
    return _time_s("exclude_seen_since", message.exclude_seen_since)


def _time_s(of_what: str, time: Timestamp) -> float:
    if not (_FIRST_SECOND <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < _NANOS_A_SECOND):
        raise InvalidRequest(
            f"{of_what}: expected years 1 to 9999 and 0 to {_NANOS_A_SECOND - 1} nanos, "
            f"got {time.seconds} s and {time.nanos} nanos"
        )
    return time.seconds + time.nanos / _NANOS_A_SECOND


def _seed_of(message: pb.ShelfOptions) -> int:
    if message.HasField("seed"):
        return message.seed
    return new_seed() if message.exploration else 0


def _boost_of(message: pb.Boost) -> Boost:
    return Boost(
        check_name("boost", message.name) or DEFAULT_BOOST_NAME,
        tuple(message.item_ids),
        _filter_of(message.filter) if message.HasField("filter") else None,
        message.factor if message.HasField("factor") else 1.0,
        message.add,
    )


def _filter_of(message: pb.Filter) -> ItemFilter:
    check_filter(message.any_tags, message.all_tags, message.none_tags, len(message.ranges))
    return ItemFilter(
        tuple(message.any_tags),
        tuple(message.all_tags),
        tuple(message.none_tags),
        tuple(_range_of(bounds) for bounds in message.ranges),
        message.include_unavailable,
    )


def _range_of(message: pb.Range) -> NumberRange:
    least = message.min if message.HasField("min") else -math.inf
    greatest = message.max if message.HasField("max") else math.inf
    check_name("range", message.name)
    if not least <= greatest:
        raise InvalidRequest(f'range "{message.name}": expected min up to max, got {least} and {greatest}')
    return NumberRange(message.name, least, greatest)
