"""Prometheus metrics of the recommender, read when they are scraped."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.store.exposures import VariantKey
from cuelight.server.recommender.store.outcomes import Outcome

__all__ = ["RecommenderMetrics"]


class RecommenderMetrics:
    """A Prometheus collector; collected on the event loop, which owns the recommender."""

    def __init__(self, recommender: LiveRecommender, shares: Mapping[str, Mapping[str, float]]) -> None:
        """`shares` are those of the experiments that run: by variant, by experiment."""
        self._recommender = recommender
        self._shares = shares

    def collect(self) -> Iterator[Metric]:
        """Yield what is learned, what waits, how far EASE's inverse has drifted, and what comes of experiments."""
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
        dropped = "Shelves of experiments that do not count, because too much waited to be stored."
        yield CounterMetricFamily("cuelight_recommender_exposures_dropped", dropped, value=figures["exposures_dropped"])
        yield from self._experiments()

    def _experiments(self) -> Iterator[Metric]:
        counts = self._recommender.counted_outcomes()
        texts = {
            "users": "Users who have got a shelf of the variant.",
            "shelves": "Shelves that they have got.",
            "likes": "Likes since their first shelf that stand.",
            "hits": "Those of them that were of an item a shelf had shown before.",
        }
        for name, text in texts.items():
            family = GaugeMetricFamily(
                f"cuelight_recommender_experiment_{name}", text, labels=("experiment", "variant")
            )
            for experiment, variants in self._shares.items():
                for variant in variants:
                    outcome = counts.get(VariantKey(experiment, variant), Outcome())
                    family.add_metric((experiment, variant), getattr(outcome, name))
            yield family
