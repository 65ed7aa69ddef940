"""What speech keeps beside a model version, by what the version's metadata says it is."""

from pathlib import Path

from cuelight.server.inference.model_config import ResolvedModel
from cuelight.server.speech.segmented.companion import FAMILY, open_companion
from cuelight.server.speech.service.models import SpeechCompanion
from cuelight.server.speech.streaming.companion import open_streaming
from cuelight.server.speech.streaming_facts import streaming_facts

__all__ = ["accompany"]


def accompany(directory: Path, resolved: ResolvedModel, cores: int = 1) -> SpeechCompanion | None:
    """Open the recognizer's files of the version in `directory`; None for a model that recognizes no speech.

    `cores` is for models that run beside the engines of the repository.

    Raises: ModelLoadError naming the file, what came and what was expected.
    """
    metadata = {key: value.string_value for key, value in resolved.config.parameters.items()}
    facts = streaming_facts(metadata, str(directory))
    if facts is not None:
        return open_streaming(directory, resolved, facts)
    if metadata.get("cuelight.family") == FAMILY:
        return open_companion(directory, metadata.get("cuelight.language", "en"), cores)
    return None
