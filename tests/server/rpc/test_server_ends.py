"""How a server process ends when something goes wrong inside it, on both fronts."""

import subprocess
import sys

import pytest

from tests.serve_process import FRONTS, ROOT, WHY_NO_ENVOY, environment
from tests.server.rpc.ending_application import LINES


def end(front: str, how: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.server.rpc.ending_application", front, how],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        cwd=ROOT,
        check=False,
    )


@pytest.mark.parametrize("front", FRONTS)
def test_a_part_that_dies_takes_the_server_down_loudly_and_in_order(front: str) -> None:
    ended = end(front, "dies")

    assert ended.returncode == 1
    assert "ValueError: the part is gone" in ended.stderr
    assert ended.stdout == "stopped\n"


@pytest.mark.parametrize("front", FRONTS)
def test_a_configuration_found_unusable_while_loading_ends_as_one_found_at_once(front: str) -> None:
    ended = end(front, "unusable")

    assert ended.returncode == 2
    assert ended.stderr.endswith("unusable: no such thing: unicorns\n")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("front", FRONTS)
def test_whatever_is_written_to_stderr_the_server_goes_on(front: str) -> None:
    ended = end(front, "talks")

    assert ended.returncode == 2
    assert "x" * (1 << 18) in ended.stderr
    assert f"line {LINES - 1}\n" in ended.stderr
    assert ended.stderr.count("\nline ") == LINES


@pytest.mark.skipif(WHY_NO_ENVOY is not None, reason=str(WHY_NO_ENVOY))
def test_a_launcher_that_no_longer_understands_its_worker_ends_loudly() -> None:
    ended = end("envoy", "babbles")

    assert ended.returncode == 1
    assert "JSONDecodeError" in ended.stderr


def test_a_configuration_found_unusable_at_the_start_is_said_in_one_line(front: str) -> None:
    ended = end(front, "unusable at the start")

    assert ended.returncode == 2
    assert ended.stderr == "unusable: no such thing: unicorns\n"


@pytest.mark.parametrize("front", FRONTS)
def test_what_fails_at_the_start_is_said_once_with_its_traceback(front: str) -> None:
    ended = end(front, "dies at the start")

    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert ended.stderr.endswith(
        "ValueError: the part is gone\n\n" if front == "envoy" else "ValueError: the part is gone\n"
    )
    assert ended.stderr.count("the part is gone") == 1


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_a_thread_that_computes_for_ever_does_not_hold_up_the_exit(front: str) -> None:
    assert end(front, "stuck").returncode == 0
