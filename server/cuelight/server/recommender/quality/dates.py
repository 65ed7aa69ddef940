"""Unix time for people."""

from datetime import UTC, datetime, timedelta

__all__ = ["date_of"]

_START = datetime(1970, 1, 1, tzinfo=UTC)


def date_of(time_s: float) -> str:
    """Return the day in UTC, such as 2026-01-31; before year 1 and after year 9999 the number, with what it is not."""
    try:
        return (_START + timedelta(seconds=time_s)).date().isoformat()
    except OverflowError:
        return f"{time_s:.15g} (as seconds no day of the years 1 to 9999)"
