"""What the text service keeps beside a model version, by what the version's metadata says it is."""

from pathlib import Path

from cuelight.server.inference.model_config import ResolvedModel
from cuelight.server.inference.model_version import Companion
from cuelight.server.text import encoder, words
from cuelight.server.text.transduction import companion as transduction

__all__ = ["accompany"]


def accompany(directory: Path, resolved: ResolvedModel) -> Companion | None:
    """Open the text files of the version in `directory`; None for a model that has nothing to do with text.

    Raises: ModelLoadError naming the file, what came and what was expected.
    """
    metadata = {key: value.string_value for key, value in resolved.config.parameters.items()}
    task = metadata.get("cuelight.task")
    if task == encoder.TASK:
        return encoder.open_encoder(directory, resolved, metadata)
    if task == words.TASK:
        return words.open_words(directory, resolved, metadata)
    if task == transduction.TASK:
        return transduction.open_transduction(directory, resolved, metadata)
    return None
