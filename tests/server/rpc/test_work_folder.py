"""The launcher's folder goes with it, or with the next launcher."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="the envoy front is for POSIX")

from cuelight.server.rpc.work_folder import work_folder

HOLDS = """
import sys
from pathlib import Path
from cuelight.server.rpc.work_folder import work_folder
with work_folder(Path(sys.argv[1])) as folder:
    (folder / "admin").write_text("")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_afterwards(tmp_path: Path) -> None:
    with work_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert folder.parent == tmp_path

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_launcher_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        killed, living = (Path(holder.stdout.readline().strip()) for holder in holders if holder.stdout)
        holders[0].send_signal(signal.SIGKILL)
        holders[0].wait()
        foreign = tmp_path / "cuelight-envoy-without-lock"
        foreign.mkdir()
        assert killed.is_dir()

        with work_folder(tmp_path) as folder:
            assert {each.name for each in tmp_path.iterdir()} == {living.name, foreign.name, folder.name}
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()
