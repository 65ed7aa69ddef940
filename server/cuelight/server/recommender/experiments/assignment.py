"""Which variant a user is in: by a hash of names alone, so that nothing is stored and every server says the same.

Each variant runs a race of its own for each user: with u in (0, 1) from a hash of experiment, variant and user, its
time is -log(u) / share, exponential with its share as the rate; the first one wins, with a probability of its share.

The names of other experiments and the order of variants are in no hash, so neither changes anything. When shares
change, nobody leaves a variant that gains for one that loses; a new variant that takes the same part of all others
takes its users and moves nobody else. For any two sets of shares at most 2 t / (1 + t) of the users move, t being the
least that could (the total variation distance): the best that no memory can do. With two variants it is t.

Source: Schindelhauer and Schomaker, Weighted distributed hash tables, SPAA 2005, "logarithmic method"; the bound:
Bavarian et al., Optimality of correlated sampling strategies, Theory of Computing 16, 2020.
"""

import hashlib
import math
from collections.abc import Mapping

__all__ = ["assigned"]

_BITS = 53


def assigned(experiment: str, shares: Mapping[str, float], user: str) -> str:
    """Return the variant of a user, of variants by name; one without a share is nobody's."""
    return min(
        (name for name, share in shares.items() if share > 0),
        key=lambda name: (-math.log(_uniform(experiment, name, user)) / shares[name], name),
    )


def _uniform(*words: str) -> float:
    """Return a number within (0, 1), evenly spread over all words."""
    # Each word with its length, so that no two lists of words look alike.
    text = b"".join(len(word.encode()).to_bytes(4) + word.encode() for word in words)
    drawn = int.from_bytes(hashlib.sha256(text).digest()[:8]) >> (64 - _BITS)
    return (drawn + 0.5) / float(2**_BITS)
