"""What is too much of anything is refused by name; what is just enough is not."""

from collections.abc import Callable

import pytest

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.messages import attributes_of, nearest_question_of, options_of, query_of

LONG = "ü" * 129
FITS = "ü" * 128

Sent = pb.Item | pb.ShelfOptions | pb.Query | pb.NearestItemsRequest


def item(**fields: object) -> pb.Item:
    return pb.Item(item_id="i", **fields)  # type: ignore[arg-type]


def shelf(**options: object) -> pb.ShelfOptions:
    return pb.ShelfOptions(**options)  # type: ignore[arg-type]


def filtered(**lists: object) -> pb.ShelfOptions:
    return shelf(filter=pb.Filter(**lists))  # type: ignore[arg-type]


def tags(count: int) -> list[str]:
    return [str(n) for n in range(count)]


def parsed(message: Sent) -> object:
    match message:
        case pb.Item():
            return attributes_of(message)
        case pb.ShelfOptions():
            return options_of(message)
        case pb.Query():
            return query_of(message)
        case _:
            return nearest_question_of(message)


CASES: dict[str, tuple[Callable[[int], Sent], int, str]] = {
    "tags": (lambda n: item(tags=tags(n)), 1000, 'item "i": tags: expected 1000 at most, got 1001'),
    "numbers": (
        lambda n: item(numbers=dict.fromkeys(tags(n), 1.0)),
        1000,
        'item "i": numbers: expected 1000 at most, got 1001',
    ),
    "spaces": (
        lambda n: item(embeddings={tag: pb.Embedding(values=[1]) for tag in tags(n)}),
        64,
        'item "i": embeddings: expected 64 at most, got 65',
    ),
    "title": (lambda n: item(title="x" * n), 4096, 'item "i": title: expected 4096 bytes of UTF-8 at most, got 4097'),
    "any_tags": (lambda n: filtered(any_tags=tags(n)), 1000, "filter: any_tags: expected 1000 at most, got 1001"),
    "all_tags": (lambda n: filtered(all_tags=tags(n)), 1000, "filter: all_tags: expected 1000 at most, got 1001"),
    "none_tags": (lambda n: filtered(none_tags=tags(n)), 1000, "filter: none_tags: expected 1000 at most, got 1001"),
    "ranges": (
        lambda n: filtered(ranges=[pb.Range(name="year")] * n),
        100,
        "filter: ranges: expected 100 at most, got 101",
    ),
    "tags of a search": (
        lambda n: pb.NearestItemsRequest(filter=pb.Filter(any_tags=tags(n))),
        1000,
        "filter: any_tags: expected 1000 at most, got 1001",
    ),
    "tags of a boost": (
        lambda n: shelf(boosts=[pb.Boost(filter=pb.Filter(any_tags=tags(n)))]),
        1000,
        "filter: any_tags: expected 1000 at most, got 1001",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_too_many_is_refused_and_one_fewer_is_not(case: str) -> None:
    message, most, text = CASES[case]

    parsed(message(most))
    with pytest.raises(InvalidRequest) as refused:
        parsed(message(most + 1))

    assert refused.value.message == text


NAMES: dict[str, tuple[Callable[[str], Sent], str]] = {
    "model": (lambda name: shelf(model=name), "model"),
    "blend": (lambda name: shelf(blend=pb.Blend(weights={name: 1.0})), "blend"),
    "boost": (lambda name: shelf(boosts=[pb.Boost(name=name)]), "boost"),
    "range": (lambda name: filtered(ranges=[pb.Range(name=name)]), "range"),
    "tag of a filter": (lambda name: filtered(none_tags=[name]), "filter: none_tags"),
    "tag": (lambda name: item(tags=[name]), 'item "i": tag'),
    "number": (lambda name: item(numbers={name: 1.0}), 'item "i": number'),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_too_long_is_refused_without_being_quoted(case: str) -> None:
    message, what = NAMES[case]

    parsed(message(FITS))
    with pytest.raises(InvalidRequest) as refused:
        parsed(message(LONG))

    assert refused.value.message == f"{what}: expected 256 bytes of UTF-8 at most, got {2 * len(LONG)}"


def test_an_id_in_a_history_is_held_to_what_an_id_can_be() -> None:
    def history(item_id: str) -> pb.Query:
        return pb.Query(history=pb.History(items=[pb.LikedItem(item_id=item_id)]))

    parsed(history(FITS))
    for wrong in ("", LONG):
        with pytest.raises(InvalidRequest, match=r"^history: item_id: expected 1 to 256 bytes of UTF-8"):
            parsed(history(wrong))
