"""What end-to-end tests share: the fronts, and figures scraped from a running server."""

import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.serve_process import ServeProcess

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(server: ServeProcess) -> Figures:
    """Return every sample of the server's metrics by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=30) as response:
        text = response.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(figures: Figures, name: str, **labels: str) -> float:
    """Return the sum over all samples of that name with these labels."""
    wanted = set(labels.items())
    return sum(value for (sample, pairs), value in figures.items() if sample == name and wanted <= set(pairs))


def settled(server: ServeProcess, is_settled: Callable[[Figures], bool], turn: Callable[[], object]) -> Figures:
    """Scrape until it holds, giving the server `turn` between two looks; the last figures, settled or not."""
    for _ in range(100):
        figures = scrape(server)
        if is_settled(figures):
            break
        turn()
    return figures
