"""What services keep beside a model version: the first that knows the model opens its files."""

from pathlib import Path

from cuelight.server.inference.model_config import ResolvedModel
from cuelight.server.inference.model_version import Companion
from cuelight.server.speech import companions as speech
from cuelight.server.text import companions as text
from cuelight.server.vision import companion as vision

__all__ = ["accompanied"]


def accompanied(directory: Path, resolved: ResolvedModel, cores: int = 1) -> Companion | None:
    """Open what goes with the version in `directory`; None for a model that is tensors alone.

    `cores` is for models that run beside the engines of the repository.

    Raises: ModelLoadError naming the file, what came and what was expected.
    """
    return (
        speech.accompany(directory, resolved, cores)
        or text.accompany(directory, resolved)
        or vision.accompany(directory, resolved)
    )
