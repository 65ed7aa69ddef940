"""What callers tell: somebody did something with an item, and once told it counts once."""

import math
from dataclasses import dataclass

from cuelight.server.errors import InvalidRequest

__all__ = ["FUTURE_TOLERANCE_S", "MAX_ID_BYTES", "Event", "check_event", "check_id"]

MAX_ID_BYTES = 256
FUTURE_TOLERANCE_S = 300.0
"""Clocks of a fleet differ a little; what claims to be later than that is a mistake, such as milliseconds."""


@dataclass(frozen=True, slots=True)
class Event:
    """An interaction. Of several of one user with one item the latest counts; of equally late ones the last told."""

    id: str
    """Chosen by the caller, unique in the data folder: an event that is told again changes nothing."""
    user: str
    item: str
    value: float | None
    """A rating, or the least that counts for a plain like; None takes back what the user said of the item before."""
    time_s: float
    """Unix time."""


def check_event(event: Event, now_s: float) -> Event:
    """Return the event. Raises: InvalidRequest naming the field, its value and what is allowed."""
    check_id("event_id", event.id)
    check_id("user_id", event.user)
    check_id("item_id", event.item)
    if event.value is not None and not math.isfinite(event.value):
        raise InvalidRequest(f'event "{event.id}": value: expected a finite number, got {event.value}')
    if not 0 <= event.time_s <= now_s + FUTURE_TOLERANCE_S:
        raise InvalidRequest(
            f'event "{event.id}": time: expected seconds of Unix time, {FUTURE_TOLERANCE_S:.0f} s from now at most, '
            f"got {event.time_s}"
        )
    return event


def check_id(name: str, value: str) -> str:
    """Return the id. Raises: InvalidRequest when it is empty or too long."""
    if not value or len(value.encode()) > MAX_ID_BYTES:
        shown = value if len(value) <= MAX_ID_BYTES else f"{len(value.encode())} bytes"
        raise InvalidRequest(f'{name}: expected 1 to {MAX_ID_BYTES} bytes of UTF-8, got "{shown}"')
    return value
