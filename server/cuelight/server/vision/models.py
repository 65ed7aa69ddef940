"""Which models classify images: those of the repository whose metadata says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from cuelight.server.default_model import default_of
from cuelight.server.errors import CuelightError, InvalidRequest, ModelNotFound
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.vision.companion import TASK, TASK_KEY, VisionCompanion
from cuelight.server.vision.image_facts import ImageFacts

__all__ = ["UsableModel", "VersionSource", "VisionModels", "companion_of"]


class VersionSource(Protocol):
    """Where versions are looked up: the repository."""

    @property
    def serving(self) -> Callable[..., list[ModelVersion]]:
        """Returns every version that serves."""
        ...

    def get(self, name: str, version: str = "") -> ModelVersion:
        """Return a version that serves; raises ModelNotFound or ModelNotReady."""
        ...


@dataclass(frozen=True, slots=True)
class UsableModel:
    """A version that classifies images, and how."""

    version: ModelVersion
    companion: VisionCompanion
    facts: ImageFacts


class VisionModels:
    """Finds the models. Holds no state; lives on the event loop."""

    def __init__(self, versions: VersionSource, default_model: str) -> None:
        self._versions = versions
        self._default = default_model

    @contextmanager
    def using(self, name: str, version: int, *, embeds: bool = False) -> Iterator[UsableModel]:
        """Find a model (the default one for an empty name, the newest version for 0) and keep it until the end.

        `embeds` says that a vector is asked for: then the default is one that gives it, where there is any.

        Raises: ModelNotFound, ModelNotReady; InvalidRequest for a model that does something else, a version below 0, or
        no name where there are several; Unsupported naming what the metadata lacks.
        """
        model = self.find(name, version, embeds=embeds)
        with model.companion.in_use():
            yield model

    def find(self, name: str, version: int, *, embeds: bool = False) -> UsableModel:
        """Find a model as `using` does, for callers that do not wait."""
        if version < 0:
            raise InvalidRequest(f"model_version: got {version}, expected 1 or more, or 0 for the highest")
        found = self._versions.get(name or self.default_name(embeds=embeds), str(version or ""))
        companion = companion_of(found)
        if companion is None:
            raise InvalidRequest(f'model: "{found.name}" {_what_it_does(found)}, expected the task "{TASK}"')
        return UsableModel(found, companion, companion.facts(found.name))

    def default_name(self, *, embeds: bool = False) -> str:
        """Return the name that an empty one stands for: the configured, or the only one that can be used for it.

        Raises: ModelNotFound where there is none, InvalidRequest where there are several.
        """
        there = self.all()
        usable = [(version.name, companion) for version, companion in there if not companion.unusable]
        fitting = [name for name, companion in usable if embeds and companion.facts(name).embedding]
        unfit = {name for name, _ in usable} - set(fitting) if fitting else set()
        names = fitting or [name for name, _ in usable] or [version.name for version, _ in there]
        name = default_of(self._default, names, "--vision-model", unfit=unfit)
        if not name:
            raise ModelNotFound(f'no model of the task "{TASK}" serves; export one with "cuelight export"')
        return name

    def default_or_none(self) -> str:
        """Return the default's name; empty where there is none."""
        try:
            return self.default_name()
        except CuelightError:
            return ""

    def all(self) -> list[tuple[ModelVersion, VisionCompanion]]:
        """Return every model that classifies images, the newest version of each, by name."""
        newest: dict[str, tuple[ModelVersion, VisionCompanion]] = {}
        for version in sorted(self._versions.serving(), key=lambda version: (version.name, version.version)):
            companion = companion_of(version)
            if companion is not None:
                newest[version.name] = (version, companion)
        return list(newest.values())


def companion_of(version: ModelVersion) -> VisionCompanion | None:
    """Return what this service keeps beside a version; None where it classifies no images."""
    return version.companion if isinstance(version.companion, VisionCompanion) else None


def _what_it_does(version: ModelVersion) -> str:
    parameters = version.config.parameters
    if TASK_KEY not in parameters:
        return f'does not say what it does (metadata "{TASK_KEY}" is missing)'
    return f'does "{parameters[TASK_KEY].string_value}"'
