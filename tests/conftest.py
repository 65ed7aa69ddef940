"""What tests of every part share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache_dir(pytestconfig: pytest.Config) -> Path:
    """Where fetched weights are kept between runs."""
    return pytestconfig.rootpath / ".cache" / "weights"
