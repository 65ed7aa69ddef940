"""Which model answers a call that names none: one rule for every service.

The model that the settings name for such calls; else the only one that fits; else the call is refused, and told which
fit. A model fits that can do all that the call asks for.
"""

from collections.abc import Iterable

from cuelight.server.errors import InvalidRequest

__all__ = ["default_of"]


def default_of(configured: str, fitting: Iterable[str], flag: str, *, unfit: Iterable[str] = ()) -> str:
    """Return the name that an empty one stands for; empty where none is configured and none fits.

    `unfit` are those that serve and cannot do all that is asked: where the configured one is among them, it is as if
    none were. One that does not serve is returned all the same, for its error says why.

    Raises: InvalidRequest naming those that fit where there are several, and the flag that would have chosen.
    """
    if configured and configured not in set(unfit):
        return configured
    names = sorted(set(fitting))
    if len(names) > 1:
        raise InvalidRequest(f"model: got none, expected one of {', '.join(names)} (or serve with {flag})")
    return names[0] if names else ""
