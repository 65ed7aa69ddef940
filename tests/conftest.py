"""What tests of every part share."""

from pathlib import Path

import pytest
from hypothesis import settings

# A machine that does something else for a moment fails nothing: no test is about time.
settings.register_profile("cuelight", deadline=None)
settings.load_profile("cuelight")


@pytest.fixture(scope="session")
def cache_dir(pytestconfig: pytest.Config) -> Path:
    """Where fetched weights are kept between runs."""
    return pytestconfig.rootpath / ".cache" / "weights"
