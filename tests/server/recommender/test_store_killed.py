"""`kill -9` at any moment: what was acknowledged is there, once; what was not is there wholly or not at all."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cuelight.server.recommender.store.store import Store

WRITER = Path(__file__).with_name("recording_writer.py")
LONGEST_LIFE_S = 0.3
FASTEST_START_S = 2.0


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost_and_nothing_counts_twice(tmp_path: Path, kills: int) -> None:
    generator = random.Random(kills)
    next_number = 0
    for _ in range(kills):
        acknowledged = written_until_killed(tmp_path, next_number, generator.uniform(0.0, LONGEST_LIFE_S))

        started_s = time.perf_counter()
        store = Store(tmp_path)
        assert time.perf_counter() - started_s < FASTEST_START_S
        found = sorted(int(event.id[1:]) for user in store.users for event in store.export_user(user))
        store.close()

        assert found == list(range(len(found))), "one was lost, or one was kept without those before it"
        assert len(found) in {acknowledged, acknowledged + 2}, "a batch is there as a whole or not at all"
        next_number = len(found)
    assert next_number > 0


def written_until_killed(folder: Path, first: int, life_s: float) -> int:
    """Return the number that was acknowledged last before a writer was killed."""
    command = [sys.executable, str(WRITER), str(folder), str(first)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(life_s)  # the moment is what is tried here
        writer.kill()
        whole_lines = [line for line in writer.stdout if line.endswith("\n")]
    return int(whole_lines[-1]) if whole_lines else first
