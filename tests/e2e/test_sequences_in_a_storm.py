"""Every answer to every sequence is, to the bit, what the sequence would have got alone; and nothing stays behind."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.figures import Figures, scrape, settled, total
from tests.e2e.sequence_storm import MAX_IDLE_S, storm, write_model
from tests.serve_process import FRONTS, running_server

SEED = 20261124


def is_empty(figures: Figures) -> bool:
    left = ("cuelight_sequences_live", "cuelight_sequence_slots_used", "cuelight_model_queue_depth")
    return all(total(figures, name) == 0 for name in left)


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_500_sequences_whatever_their_callers_do(front: str, tmp_path: Path) -> None:
    write_model(tmp_path / "models")

    with running_server(tmp_path / "models", tmp_path / "log", front=front) as server:
        counts = asyncio.run(storm(server.target, SEED, sequences=500, steps=24_000))
        figures = settled(server, is_empty, lambda: asyncio.run(asyncio.sleep(MAX_IDLE_S / 5)))

        assert counts["sequences"] == 500
        assert counts["steps checked"] >= 20_000
        kinds = ("steps abandoned by deadline", "steps abandoned by cancel", "streams cut", "sequences expired")
        assert min(counts[kind] for kind in (*kinds, "bad steps refused")) > 20
        assert is_empty(figures), figures
        started, ended = (total(scrape(server), "cuelight_sequences_total", event=e) for e in ("started", "ended"))
        assert started == ended >= 500
