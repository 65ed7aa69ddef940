"""Text in the terminal while it is spoken: with rich where it is installed and somebody watches, else plain lines."""

import importlib
from types import TracebackType
from typing import Any, Protocol, TextIO

from cuelight.client.transcripts import RecognitionResult, SpeechUpdate

__all__ = ["LiveText", "PlainText", "RichText", "live_text"]


class LiveText(Protocol):
    """Shows updates; used in a `with` block, once for each recording."""

    def __enter__(self) -> "LiveText": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, update: SpeechUpdate) -> None:
        """Show what is new."""
        ...


def live_text(out: TextIO, *, interim: bool | None, words: bool, duration_s: float | None) -> LiveText:
    """Return the view that fits. `interim` None shows what may still change where it can be overwritten."""
    if out.isatty():
        try:
            importlib.import_module("rich")
        except ModuleNotFoundError:
            pass
        else:
            return RichText(out, interim=interim is not False, words=words, duration_s=duration_s)
    return PlainText(out, interim=bool(interim), words=words)


class PlainText:
    """One line for each final result; interim results, where asked for, are lines that begin with dots."""

    def __init__(self, out: TextIO, *, interim: bool, words: bool) -> None:
        self._out = out
        self._interim = interim
        self._words = words

    def __enter__(self) -> "PlainText":
        return self

    def __exit__(self, *exception: object) -> None:
        self._out.flush()

    def show(self, update: SpeechUpdate) -> None:
        """Write what is new, at once."""
        for line in _lines_of(update, self._words):
            print(line, file=self._out)
        if self._interim and update.interim:
            print(f"     ...  {update.interim}", file=self._out)
        self._out.flush()


class RichText:
    """Final results stay; below them one line changes: how far it is, and what may have been said."""

    def __init__(self, out: TextIO, *, interim: bool, words: bool, duration_s: float | None) -> None:
        console = importlib.import_module("rich.console")
        self._text: Any = importlib.import_module("rich.text").Text
        self._console = console.Console(file=out, highlight=False, soft_wrap=True)
        self._live = importlib.import_module("rich.live").Live(console=self._console, transient=True)
        self._interim = interim
        self._words = words
        self._duration_s = duration_s

    def __enter__(self) -> "RichText":
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def show(self, update: SpeechUpdate) -> None:
        """Print what is final and redraw the line below."""
        for line in _lines_of(update, self._words):
            self._console.print(self._text.assemble((line[:10], "cyan"), line[10:]))
        interim = update.interim if self._interim else ""
        self._live.update(self._text.assemble((self._place(update.processed_s), "cyan"), (interim, "italic dim")))

    def _place(self, processed_s: float) -> str:
        if self._duration_s is None:
            return f"{processed_s:8.2f}  "
        return f"{processed_s:8.2f} of {self._duration_s:.2f} s  "


def _lines_of(update: SpeechUpdate, words: bool) -> list[str]:
    """Return the lines of what is final: when it begins, what it is, and where asked for every word."""
    return [line for result in update.finals if result.text for line in _result_lines(result, words)]


def _result_lines(result: RecognitionResult, words: bool) -> list[str]:
    line = f"{result.start_s:8.2f}  {result.text}"
    if not words:
        return [line]
    return [line, *(f"{word.start_s:14.2f} to {word.end_s:.2f}  {word.text}" for word in result.words)]
