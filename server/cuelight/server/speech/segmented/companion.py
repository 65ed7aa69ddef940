"""What is loaded beside an encoder-decoder model: its sessions, once a core, and its tokenizer."""

from collections.abc import Callable
from pathlib import Path

from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.sequence_batch import SequenceState
from cuelight.server.speech.segmented.cost import voice_cost
from cuelight.server.speech.segmented.engine import SpeechEngine
from cuelight.server.speech.segmented.moonshine import MoonshineModel
from cuelight.server.speech.segmented.recognizer import TOKENIZER_FILE, SegmentedRecognizer
from cuelight.server.speech.segmented.tokenizer import Tokenizer, read_tokenizer
from cuelight.server.speech.segmented.voice import RATE_HZ
from cuelight.server.speech.vad import ServedVad

__all__ = ["FAMILY", "SegmentedCompanion", "open_companion"]

FAMILY = "moonshine"


class _ServedRecognizer(SegmentedRecognizer):
    """One whose voice detector is a model of the same server."""

    vad: Callable[[], ModelVersion]

    @property
    def stepped(self) -> ModelVersion | None:
        """The voice detector's version: its sequences are what the states of voices hold."""
        return self.vad()


class SegmentedCompanion:
    """See `SpeechCompanion`. Opened on the loader's thread, then owned by the event loop."""

    def __init__(self, models: list[MoonshineModel], tokenizer: Tokenizer, language: str, cost: float) -> None:
        """`cost` is what one voice among many takes, in CPU seconds a second."""
        self._models = models
        self._cost = cost
        self._tokenizer = tokenizer
        self._language = language
        self._recognizer: _ServedRecognizer | None = None

    def recognizer(self, version: ModelVersion, vad: Callable[[], ModelVersion]) -> "_ServedRecognizer":
        """See `SpeechCompanion`."""
        if self._recognizer is None:

            def open_vad(state: SequenceState | None) -> ServedVad:
                return ServedVad(vad(), state)

            engines = [SpeechEngine(model, RATE_HZ) for model in self._models]
            self._recognizer = _ServedRecognizer(engines, self._tokenizer, open_vad, self._language, self._cost)
            self._recognizer.vad = vad
        return self._recognizer

    async def outlive(self) -> None:
        """See `Companion`."""
        if self._recognizer is not None:
            await self._recognizer.outlive()

    def close(self) -> None:
        """Free the sessions; voices that are still open fail with ShuttingDown."""
        if self._recognizer is not None:
            self._recognizer.close()


def open_companion(directory: Path, language: str, instances: int) -> SegmentedCompanion:
    """Open the encoder, the decoder and the tokenizer of a version's folder, once an instance. Takes two seconds.

    Raises: ModelLoadError naming the file and the cause.
    """
    tokenizer = read_tokenizer(directory / TOKENIZER_FILE)
    models = [MoonshineModel.open(directory) for _ in range(instances)]
    return SegmentedCompanion(models, tokenizer, language, voice_cost(models[0]))
