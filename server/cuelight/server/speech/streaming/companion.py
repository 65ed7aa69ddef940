"""What is loaded beside a streaming model: its tokens, and a transducer's decoder and joiner."""

from collections.abc import Callable
from pathlib import Path

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_config import ResolvedModel
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.speech.decoding.tokens import TokenTable
from cuelight.server.speech.streaming.recognizer import StreamingRecognizer
from cuelight.server.speech.streaming.transducer_engine import TransducerEngine
from cuelight.server.speech.streaming_facts import StreamingFacts

__all__ = ["StreamingCompanion", "open_streaming"]

_TOKENS_FILE = "tokens.txt"
_RATE_HZ = 16_000
"""What features are computed at; audio of other rates is resampled to it."""


class StreamingCompanion:
    """See `SpeechCompanion`. Opened on the loader's thread, then owned by the event loop."""

    def __init__(self, facts: StreamingFacts, tokens: TokenTable, transducer: TransducerEngine | None) -> None:
        self._facts = facts
        self._tokens = tokens
        self._transducer = transducer
        self._recognizer: StreamingRecognizer | None = None

    def recognizer(self, version: ModelVersion, vad: Callable[[], ModelVersion]) -> StreamingRecognizer:
        """See `SpeechCompanion`."""
        if self._recognizer is None:
            self._recognizer = StreamingRecognizer(version, self._facts, self._tokens, self._transducer)
        return self._recognizer

    async def outlive(self) -> None:
        """See `Companion`: its voices are sequences of the version."""

    def close(self) -> None:
        """End the transducer's thread."""
        if self._transducer is not None:
            self._transducer.close()


def open_streaming(directory: Path, resolved: ResolvedModel, facts: StreamingFacts) -> StreamingCompanion:
    """Open what lies in a version's folder beside the model.

    Raises: ModelLoadError naming the file, what came and what was expected.
    """
    if resolved.sequences is None or not resolved.signature.fixed:
        free = [spec.describe() for spec in resolved.signature.inputs.values() if -1 in spec.shape[1:]]
        raise ModelLoadError(
            f"{directory}: a streaming recognizer has state and takes steps of one size; "
            f"got {'no state' if resolved.sequences is None else ', '.join(free)}"
        )
    if facts.sample_rate_hz != _RATE_HZ:
        raise ModelLoadError(f"{directory}: sample_rate_hz: got {facts.sample_rate_hz}, expected {_RATE_HZ}")
    tokens = TokenTable.read(directory / _TOKENS_FILE)
    if tokens.size > facts.vocab_size:
        raise ModelLoadError(
            f"{directory / _TOKENS_FILE}: holds id {tokens.size - 1}, the model has {facts.vocab_size} tokens"
        )
    transducer = TransducerEngine(directory, facts.context_size) if facts.transducer else None
    return StreamingCompanion(facts, tokens, transducer)
