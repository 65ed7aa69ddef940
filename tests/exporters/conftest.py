"""Every trained model in turn."""

from collections.abc import Callable

import pytest

from cuelight.exporters.export import Export
from cuelight.exporters.registry import SPECS


@pytest.fixture(scope="session", params=sorted(SPECS))
def trained_export(request: pytest.FixtureRequest, export_of: Callable[[str], Export]) -> Export:
    """Each registered model, exported."""
    return export_of(request.param)
