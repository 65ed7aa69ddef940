"""Trained models, exported once for all tests that need them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cuelight.exporters.export import Export, export_model
from cuelight.exporters.registry import SPECS


@pytest.fixture(scope="session")
def export_of(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Callable[[str], Export]:
    """Return what exports a registered model by name, with its trained weights: once, whoever asks."""
    models = tmp_path_factory.mktemp("models")

    @cache
    def export(name: str) -> Export:
        return export_model(SPECS[name], models, cache_dir)

    return export


@pytest.fixture(scope="session", params=sorted(SPECS))
def trained_export(request: pytest.FixtureRequest, export_of: Callable[[str], Export]) -> Export:
    """Each registered model, exported."""
    return export_of(request.param)
