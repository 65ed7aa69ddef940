"""With a client authority the recommender is closed to everybody without a certificate of it, as its page says."""

from pathlib import Path

import pytest

from cuelight.client import Channel, RecommenderClient, RetryPolicy, Tls, Unavailable
from tests.certificates import OPENSSL, make_certificates
from tests.serve_process import FRONTS, running_recommender


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command to make certificates")
@pytest.mark.parametrize("front", FRONTS)
def test_only_callers_with_a_certificate_get_in(tmp_path: Path, front: str) -> None:
    files = make_certificates(tmp_path)
    certificate = ("--tls-certificate", str(files.server), "--tls-private-key", str(files.server_key))
    arguments = (*certificate, "--tls-client-ca", str(files.ca))

    with running_recommender(tmp_path / "data", tmp_path / "log", front=front, arguments=arguments) as server:

        def ask(tls: Tls | None) -> tuple[str, ...]:
            with Channel(server.target, tls=tls, retries=RetryPolicy(max_attempts=1), timeout_s=20.0) as channel:
                return RecommenderClient(channel).recommend("nobody").item_ids

        assert ask(Tls(files.ca, files.client, files.client_key)) == ()
        for refused in (Tls(files.ca), None):
            with pytest.raises(Unavailable):
                ask(refused)
