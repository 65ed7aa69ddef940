"""The text of an utterance that grows: only what is new is spelt again."""

from collections.abc import Sequence

from cuelight.server.speech.decoding.tokens import TokenTable

__all__ = ["RunningText"]

_AGAIN_TOKENS = 8
"""Words that end before the last so many tokens stay as they are."""


class RunningText:
    """Spells one voice's tokens. Owned by the voice."""

    def __init__(self, table: TokenTable) -> None:
        self._table = table
        self._settled: list[int] = []
        self._words = ""

    def of(self, tokens: Sequence[int]) -> str:
        """Return what `TokenTable.text` returns for the tokens: mostly those of the last call and some more."""
        settled = len(self._settled)
        if list(tokens[:settled]) != self._settled:
            self._settled, self._words, settled = [], "", 0
        rest = list(tokens[settled:])
        text = self._table.joined(self._words, self._table.text(rest))
        if len(rest) > 2 * _AGAIN_TOKENS:
            self._settle(rest)
        return text

    def _settle(self, rest: list[int]) -> None:
        """Let the words of all but the last tokens stay, if a word begins there."""
        for count in range(len(rest) - _AGAIN_TOKENS, 0, -1):
            if self._table.begins_word(rest[count]):
                self._words = self._table.joined(self._words, self._table.text(rest[:count]))
                self._settled += rest[:count]
                return
