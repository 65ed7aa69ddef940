"""Prometheus metrics of the recommender, read when they are scraped."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from cuelight.server.recommender.live_recommender import LiveRecommender

__all__ = ["RecommenderMetrics"]


class RecommenderMetrics:
    """A Prometheus collector; collected on the event loop, which owns the recommender."""

    def __init__(self, recommender: LiveRecommender) -> None:
        self._recommender = recommender

    def collect(self) -> Iterator[Metric]:
        """Yield what is learned, what waits, and how far EASE's inverse has drifted."""
        figures = self._recommender.figures()
        texts = {
            "version": "Number of the last event that the models have learned.",
            "inverse_behind": "Writes that were learned and that EASE's inverse does not know yet.",
            "drift": "Largest entry of (G + lambda I) P - I when last measured; 0 without rounding.",
            "reads_waiting": "Shelves that were asked for and are not being made yet.",
            "searches_waiting": "Searches for nearest items that were asked for and are not being made yet.",
            "writes_waiting": "Writes that came and are not being carried out yet.",
        }
        for name, text in texts.items():
            yield GaugeMetricFamily(f"cuelight_recommender_{name}", text, value=figures[name])
