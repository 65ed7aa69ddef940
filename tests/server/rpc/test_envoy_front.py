"""What only the envoy front has: two processes that must end together."""

import os
import signal
import socket

import psutil
import pytest

from tests.server.rpc.conftest import START_TIMEOUT_S, Server, skip_without


@pytest.fixture
def server() -> Server:
    return Server(skip_without("envoy")).ready()


def envoy_of(server: Server) -> psutil.Process:
    (envoy,) = psutil.Process(server.process.pid).children()
    return envoy


def test_a_killed_launcher_takes_envoy_with_it(server: Server) -> None:
    envoy = envoy_of(server)
    server.process.kill()
    server.process.communicate()

    psutil.wait_procs([envoy], timeout=START_TIMEOUT_S)
    assert not envoy.is_running()
    with socket.socket() as again:
        again.bind(("127.0.0.1", server.port))


def test_envoy_leads_a_session_of_its_own(server: Server) -> None:
    envoy = envoy_of(server)

    assert os.getsid(envoy.pid) == envoy.pid
    server.stop()


def test_the_end_of_envoy_is_an_error_that_is_told(server: Server) -> None:
    envoy_of(server).kill()
    code, said = server.ended()

    assert code == 1
    assert f"Envoy ended unexpectedly with status {-signal.SIGKILL}" in said


def test_envoy_shares_no_memory_that_would_outlive_it(server: Server) -> None:
    mapped = {mapping.path for mapping in envoy_of(server).memory_maps()}

    assert any("envoy" in path for path in mapped)
    assert not any(path.startswith("/dev/shm/") for path in mapped)
    server.stop()
