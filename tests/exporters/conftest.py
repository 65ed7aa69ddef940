"""Trained models, exported once for all tests that need them."""

from pathlib import Path

import pytest

from cuelight.exporters.export import Export, export_model
from cuelight.exporters.registry import SPECS


@pytest.fixture(scope="session", params=sorted(SPECS))
def trained_export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Export:
    """Each registered model with its trained weights, exported."""
    return export_model(SPECS[request.param], tmp_path_factory.mktemp("models"), cache_dir)
