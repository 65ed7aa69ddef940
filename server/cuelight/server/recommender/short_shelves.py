"""Which shelves are made on the event loop itself: those that take less than a millisecond.

The way to a thread and back costs a fifth of one. What a shelf takes hangs on its model and on how long the history is,
so that is what times are kept by. The first of a kind goes to the thread, and so does every kind that took too long
lately, where it is timed on.
"""

from cuelight.server.recommender.shelves import ShelfOptions

__all__ = ["Kind", "ShortShelves"]

Kind = tuple[str, int]
"""The model, and how many binary digits the length of the history has."""

_SHORT_S = 0.001
"""What takes longer would hold up everybody else on the event loop."""
_WEIGHT_OF_LATEST = 0.1
_MOST_ITEMS = 100


class ShortShelves:
    """How long shelves took, by kind. The event loop owns it."""

    def __init__(self) -> None:
        self._mean_s: dict[Kind, float] = {}

    def kind(self, options: ShelfOptions, history: int) -> Kind | None:
        """Return the kind of a shelf for a history of so many items; None for one that is more than the best items."""
        plain = not (options.blend or options.explain or options.diversity or options.exploration or options.boosts)
        few = options.n <= _MOST_ITEMS and len(options.excluded) <= _MOST_ITEMS
        return (options.model, history.bit_length()) if plain and few else None

    def is_short(self, kind: Kind) -> bool:
        """Whether shelves of a kind took less than a millisecond lately; False when none was timed yet."""
        return self._mean_s.get(kind, _SHORT_S) < _SHORT_S

    def took(self, kind: Kind, seconds: float) -> None:
        """Note how long a shelf took."""
        before = self._mean_s.get(kind, seconds)
        self._mean_s[kind] = before + _WEIGHT_OF_LATEST * (seconds - before)
