"""The text of an utterance that grows: only its last word is spelt again."""

from collections.abc import Sequence

from cuelight.server.speech.decoding.tokens import TokenTable

__all__ = ["RunningText"]


class RunningText:
    """Spells one voice's tokens. Owned by the voice."""

    def __init__(self, table: TokenTable) -> None:
        self._table = table
        self._settled: list[int] = []
        """The tokens of all words but the last, and their text."""
        self._words = ""

    def of(self, tokens: Sequence[int]) -> str:
        """Return what `TokenTable.text` returns for the tokens: mostly those of the last call and some more."""
        settled = len(self._settled)
        begins_word = len(tokens) <= settled or tokens[settled] in self._table.word_starts
        if not begins_word or list(tokens[:settled]) != self._settled:
            self._settled, self._words, settled = [], "", 0
        rest = list(tokens[settled:])
        for count in range(len(rest) - 1, 0, -1):
            if rest[count] in self._table.word_starts:
                self._words = self._table.joined(self._words, self._table.text(rest[:count]))
                self._settled += rest[:count]
                del rest[:count]
                break
        return self._table.joined(self._words, self._table.text(rest))
