"""Spelling a text in the pieces of a vocabulary, longest piece first."""

from collections.abc import Mapping

__all__ = ["Spelling"]


class Spelling:
    """The pieces of a vocabulary by what they spell; of two ids for one piece the lower one counts."""

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        self._ids: dict[bytes, int] = {}
        for id_, piece in sorted(pieces.items()):
            self._ids.setdefault(piece, id_)
        self._longest = max(map(len, self._ids), default=0)

    def of(self, text: bytes) -> list[int] | None:
        """Return ids that spell `text`, each the longest that leaves the rest spellable; None where there are none."""
        # from the back: pieces[at] is the piece to take at `at`, where the rest can be spelt
        pieces: list[bytes | None] = [None] * len(text) + [b""]
        for at in range(len(text) - 1, -1, -1):
            for length in range(min(self._longest, len(text) - at), 0, -1):
                piece = text[at : at + length]
                if pieces[at + length] is not None and piece in self._ids:
                    pieces[at] = piece
                    break
        ids: list[int] = []
        at = 0
        while at < len(text):
            taken = pieces[at]
            if taken is None:
                return None
            ids.append(self._ids[taken])
            at += len(taken)
        return ids
