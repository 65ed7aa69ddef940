"""What users did, as plain values. Each has an id of its own, so that telling it twice counts once."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.recommender.v1 import recommender_pb2 as pb

__all__ = ["Interaction", "Recorded", "interaction_from", "recording_calls"]

_EVENTS_A_MESSAGE = 500
"""The server keeps a message in one transaction, so an fsync is shared by so many events."""
_MESSAGES_A_CALL = 20
"""Bounds what is held here until it is acknowledged, and what is sent again when a call breaks."""


def _new_event_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Interaction:
    """Something a user did with an item; by default a plain like. Of several the latest by `time_s` counts.

    `value` is a rating or another measure: from the server's min_value on it is a like. None is a plain like, which the
    server keeps with the least value that counts when it comes: its min_value, or 1 where that is less; it is exported
    with that. `withdrawn` takes back what the user said of the item before. `time_s` is Unix time; None is the time at
    which the server takes it.

    `event_id` is made up where none is given. It is made once: the same Interaction may be recorded again, and counts
    once.
    """

    user_id: str
    item_id: str
    value: float | None = None
    withdrawn: bool = False
    time_s: float | None = None
    event_id: str = field(default_factory=_new_event_id)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of interactions that were acknowledged: how many were new, and how many known already.

    Where a call was made again, those that an attempt before it had recorded count as known.
    """

    recorded: int = 0
    duplicates: int = 0

    def __add__(self, other: "Recorded") -> "Recorded":
        return Recorded(self.recorded + other.recorded, self.duplicates + other.duplicates)


def recording_calls(interactions: Iterable[Interaction]) -> Iterator[list[pb.RecordInteractionsRequest]]:
    """Yield the messages of one call after the other; nothing for no interactions."""
    messages = _messages(iter(interactions))
    while call := list(islice(messages, _MESSAGES_A_CALL)):
        yield call


def interaction_from(message: pb.Interaction) -> Interaction:
    """Return an interaction of the wire as a plain value."""
    said = message.WhichOneof("said")
    return Interaction(
        message.user_id,
        message.item_id,
        message.value if said == "value" else None,
        said == "withdrawn",
        message.time.ToMicroseconds() / 1e6 if message.HasField("time") else None,
        message.event_id,
    )


def _messages(interactions: Iterator[Interaction]) -> Iterator[pb.RecordInteractionsRequest]:
    while batch := [_message(interaction) for interaction in islice(interactions, _EVENTS_A_MESSAGE)]:
        yield pb.RecordInteractionsRequest(interactions=batch)


def _message(interaction: Interaction) -> pb.Interaction:
    message = pb.Interaction(
        event_id=interaction.event_id,
        user_id=interaction.user_id,
        item_id=interaction.item_id,
        time=_time_of(interaction),
    )
    if interaction.withdrawn:
        message.withdrawn = True
    elif interaction.value is not None:
        message.value = interaction.value
    return message


def _time_of(interaction: Interaction) -> Timestamp | None:
    if interaction.time_s is None:
        return None
    time = Timestamp()
    time.FromMicroseconds(round(interaction.time_s * 1e6))
    return time
