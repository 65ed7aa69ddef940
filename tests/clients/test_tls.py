"""A connection with TLS, by paths of either kind, to a server that knows its clients and to one that knows them not."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from cuelight.client import (
    AsyncChannel,
    AsyncRecommenderClient,
    Channel,
    RecommenderClient,
    RetryPolicy,
    Tls,
    Unavailable,
)
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from tests.certificates import OPENSSL, Certificates, make_certificates
from tests.clients.fake_recommender import FakeRecommender

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if OPENSSL is None:
        pytest.skip("needs the openssl command to make certificates")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def served(certificates: Certificates) -> Iterator[str]:
    """Serve whoever shows a certificate of the authority."""
    identity = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
    credentials = grpc.ssl_server_credentials([identity], certificates.ca.read_bytes(), require_client_auth=True)
    with futures.ThreadPoolExecutor() as threads:
        server = grpc.server(threads)
        pb_grpc.add_RecommenderServiceServicer_to_server(FakeRecommender(), server)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


@pytest.mark.parametrize("kind", [str, Path])
def test_files_are_named_by_text_or_by_path(certificates: Certificates, kind: Callable[[Path], str | Path]) -> None:
    tls = Tls(kind(certificates.ca), kind(certificates.client), kind(certificates.client_key))

    async def ask(address: str) -> str:
        async with AsyncChannel(address, tls=tls) as channel:
            return (await AsyncRecommenderClient(channel).recommend("u")).model

    with served(certificates) as address:
        with Channel(address, tls=tls) as channel:
            assert RecommenderClient(channel).recommend("u").model == "u"
        assert asyncio.run(ask(address)) == "u"


def test_without_a_certificate_of_its_own_a_client_is_not_let_in(certificates: Certificates) -> None:
    with (
        served(certificates) as address,
        Channel(address, tls=Tls(str(certificates.ca)), retries=ONCE) as channel,
        pytest.raises(Unavailable),
    ):
        RecommenderClient(channel).recommend("u")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such\.pem"):
        Channel("127.0.0.1:1", tls=Tls("no-such.pem"))
