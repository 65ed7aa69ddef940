"""What our recognizer makes of audio: a version loaded as the server loads it, all voices at once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from cuelight.server.config import EngineConfig, SequenceConfig
from cuelight.server.inference.config_text import ConfigText
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.version_loader import Extensions, VersionLoader
from cuelight.server.speech.companions import accompany
from cuelight.server.speech.endpoint_rules import EndpointRules
from cuelight.server.speech.families import adapted
from cuelight.server.speech.results import Update, Word
from cuelight.server.speech.service.models import SpeechCompanion
from cuelight.server.speech.voice import Recognizer, VoiceOptions
from tests.server.speech.sherpa_reference import Audio

WHOLE = EndpointRules(disabled=True, max_utterance_s=1e6)
"""One utterance, however long."""


class Collected:
    """An outbox that keeps everything."""

    def __init__(self) -> None:
        self.updates: list[Update] = []

    async def put(self, update: Update) -> None:
        self.updates.append(update)

    @property
    def utterances(self) -> list[list[Word]]:
        """The words of each final result's best hypothesis."""
        results = [result for update in self.updates for result in update.results if result.is_final]
        return [list(result.hypotheses[0].words) for result in results]


def recognize(
    folder: Path,
    audio: Sequence[Audio],
    chunk_samples: Sequence[int],
    beam: bool = False,
    endpointing: EndpointRules = WHOLE,
) -> list[list[list[Word]]]:
    """Return each voice's utterances: one voice for each recording and the chunk size in its place, all at once.

    `folder` holds version 1 of a model.
    """
    options = VoiceOptions(word_times=True, endpointing=endpointing, beam=beam)

    async def main() -> list[list[list[Word]]]:
        version = load(folder)
        try:
            recognizer = recognizer_of(version)
            pairs = zip(audio, chunk_samples, strict=True)
            return await asyncio.gather(*(_said(recognizer, options, each, chunk) for each, chunk in pairs))
        finally:
            await version.stop()

    return asyncio.run(asyncio.wait_for(main(), 120))


def load(folder: Path) -> ModelVersion:
    """Load version 1 of the model in a folder; call on the event loop."""
    extensions = Extensions(adapted, accompany)
    loader = VersionLoader(EngineConfig(cores=1), 4096, SequenceConfig(max_sequences=32), extensions)
    return loader.prepare("m", 1, folder, ConfigText(source=str(folder))).serve()


def recognizer_of(version: ModelVersion) -> Recognizer:
    """Return the recognizer that came with the version."""
    return cast("SpeechCompanion", version.companion).recognizer(version, lambda: version)


async def _said(recognizer: Recognizer, options: VoiceOptions, audio: Audio, chunk_samples: int) -> list[list[Word]]:
    outbox = Collected()
    voice = recognizer.open(options, outbox)
    for start in range(0, len(audio), chunk_samples):
        await voice.accept(audio[start : start + chunk_samples])
    await voice.finish()
    voice.close()
    return outbox.utterances
