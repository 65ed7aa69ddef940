"""What vision has done since the start, and its metrics."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cuelight.server.vision.image_pool import ImagePool

__all__ = ["VisionCounts", "VisionMetrics"]


@dataclass(slots=True)
class VisionCounts:
    """Plain counters. Owned by the event loop."""

    images_decoded: int = 0
    images_refused: int = 0
    frames_answered: int = 0
    frames_dropped: int = 0
    frame_streams: int = 0
    """Open ones."""
    explanations: Counter[str] = field(default_factory=Counter)
    """By method."""


class VisionMetrics:
    """A Prometheus collector; collected on the event loop, which owns what it reads."""

    def __init__(self, counts: VisionCounts, pool: ImagePool) -> None:
        self._counts = counts
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of images and frames."""
        counts = self._counts
        images = CounterMetricFamily(
            "cuelight_images", "Images: decoded, refused for what they are, or turned away.", labels=["outcome"]
        )
        images.add_metric(["decoded"], counts.images_decoded)
        images.add_metric(["refused"], counts.images_refused)
        images.add_metric(["turned_away"], self._pool.refused)
        yield images
        frames = CounterMetricFamily("cuelight_frames", "Live frames: answered or dropped.", labels=["outcome"])
        frames.add_metric(["answered"], counts.frames_answered)
        frames.add_metric(["dropped"], counts.frames_dropped)
        yield frames
        explanations = CounterMetricFamily("cuelight_explanations", "Explanations given.", labels=["method"])
        for method, count in sorted(counts.explanations.items()):
            explanations.add_metric([method], count)
        yield explanations
        yield _gauge("images_inside", "Images that wait to be decoded or are being decoded.", self._pool.inside)
        yield _gauge("frame_streams", "Open streams of frames.", counts.frame_streams)


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(f"cuelight_{name}", text)
    family.add_metric([], value)
    return family
