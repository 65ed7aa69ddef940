"""What tests of every part share."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from cuelight.exporters.export import Export
    from cuelight.exporters.files_spec import FilesExport

# A machine that does something else for a moment fails nothing: no test is about time.
settings.register_profile("cuelight", deadline=None)
settings.load_profile("cuelight")


@pytest.fixture(scope="session")
def cache_dir(pytestconfig: pytest.Config) -> Path:
    """Where fetched weights are kept between runs."""
    return pytestconfig.rootpath / ".cache" / "weights"


@pytest.fixture(scope="session")
def export_of(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> "Callable[[str], Export]":
    """Return what exports a registered model by name, with its trained weights: once, whoever asks.

    Nobody may write into what it returns.
    """
    from cuelight.exporters.export import export_model  # noqa: PLC0415 (torch takes seconds to import)
    from cuelight.exporters.registry import SPECS  # noqa: PLC0415

    models = tmp_path_factory.mktemp("exported")

    @cache
    def export(name: str) -> "Export":
        return export_model(SPECS[name], models, cache_dir)

    return export


@pytest.fixture(scope="session")
def moonshine(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> "FilesExport":
    """Moonshine with its published weights, exported once."""
    from cuelight.exporters.files_spec import export_files  # noqa: PLC0415 (as above)
    from cuelight.exporters.moonshine_tiny_en import SPEC  # noqa: PLC0415

    return export_files(SPEC, tmp_path_factory.mktemp("moonshine"), cache_dir)


@pytest.fixture(scope="session")
def repository_of(
    export_of: "Callable[[str], Export]", tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return what makes a repository of the models named, each a link to what `export_of` has made."""

    def repository(*names: str) -> Path:
        folder = tmp_path_factory.mktemp("repository")
        for name in names:
            (folder / name).symlink_to(export_of(name).path.parent, target_is_directory=True)
        return folder

    return repository
