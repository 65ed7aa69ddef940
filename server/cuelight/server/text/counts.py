"""What the text service has done since the start, and its metrics."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cuelight.server.text.reading import Reading
from cuelight.server.text.work_pool import WorkPool

__all__ = ["TextCounts", "TextMetrics"]

_WORD_OUTCOMES = ("answered", "refused")
_TRANSDUCTION_OUTCOMES = ("complete", "cut_off", "refused", "left")


@dataclass(slots=True)
class TextCounts:
    """Plain counters. Owned by the event loop."""

    embedded: int = 0
    tokenized: int = 0
    refused: int = 0
    truncated: int = 0
    """Of those embedded."""
    tokens: int = 0
    """Of the texts embedded, their markers included."""
    word_queries: Counter[str] = field(default_factory=Counter)
    """By `_WORD_OUTCOMES`."""
    transductions: Counter[str] = field(default_factory=Counter)
    """By `_TRANSDUCTION_OUTCOMES`."""

    def embed(self, reading: Reading) -> None:
        """Count the texts of a call that have been embedded."""
        self.embedded += len(reading.texts)
        self.truncated += sum(text.truncated for text in reading.texts.values())
        self.tokens += sum(len(text.ids) for text in reading.texts.values())


class TextMetrics:
    """A Prometheus collector; collected on the event loop, which owns what it reads."""

    def __init__(self, counts: TextCounts, pool: WorkPool) -> None:
        self._counts = counts
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of texts and words, and how transductions ended."""
        counts = self._counts
        outcomes = {"embedded": counts.embedded, "tokenized": counts.tokenized, "refused": counts.refused}
        yield _by_outcome("texts", "Texts: embedded, tokenized, or refused for what they are.", outcomes)
        yield _counter("texts_truncated", "Embedded texts that were cut to what the model takes.", counts.truncated)
        yield _counter("text_tokens", "Tokens of embedded texts, their markers included.", counts.tokens)
        words = {outcome: counts.word_queries[outcome] for outcome in _WORD_OUTCOMES}
        yield _by_outcome("word_queries", "Queries for near words: answered or refused.", words)
        ends = {outcome: counts.transductions[outcome] for outcome in _TRANSDUCTION_OUTCOMES}
        yield _by_outcome("transductions", "Texts to be transduced, by how that ended.", ends)
        yield _counter("text_turned_away", "Pieces of work on texts for which there was no room.", self._pool.refused)
        waiting = GaugeMetricFamily("cuelight_text_waiting_bytes", "Text that waits for a thread, or is with one.")
        waiting.add_metric([], self._pool.waiting_bytes)
        yield waiting


def _by_outcome(name: str, text: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"cuelight_{name}", text, labels=["outcome"])
    for outcome, count in counts.items():
        family.add_metric([outcome], count)
    return family


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"cuelight_{name}", text, value=value)
