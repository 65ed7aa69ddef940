"""What is loaded beside an encoder-decoder model: its facts, and the decoder with the engine that steps it."""

from pathlib import Path

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_config import ResolvedModel
from cuelight.server.text.transduction.decoder import Decoder
from cuelight.server.text.transduction.engine import TransductionEngine
from cuelight.server.text.transduction.facts import KEY, TASK, TransductionFacts, read_facts

__all__ = ["TransductionCompanion", "accompany"]

_TASK_KEY = "cuelight.task"
_SOURCE = "source"


class TransductionCompanion:
    """See `Companion`. Opened on the loader's thread, then owned by the event loop."""

    def __init__(self, name: str, facts: TransductionFacts, decoder: Decoder, max_rows: int, max_waiting: int) -> None:
        self.facts = facts
        self.has_attention = decoder.has_attention
        self.max_rows = max_rows
        self._name = name
        self._decoder = decoder
        self._max_waiting = max_waiting
        self._engine: TransductionEngine | None = None

    def engine(self) -> TransductionEngine:
        """Return the engine, the same one every time; on the event loop."""
        if self._engine is None:
            self._engine = TransductionEngine(self._name, self._decoder, self.max_rows, self._max_waiting)
        return self._engine

    async def outlive(self) -> None:
        """See `Companion`."""
        if self._engine is not None:
            await self._engine.outlive()

    def close(self) -> None:
        """Free the decoder; requests under way fail with ShuttingDown."""
        if self._engine is not None:
            self._engine.close()


def accompany(directory: Path, resolved: ResolvedModel, max_waiting: int) -> TransductionCompanion | None:
    """Open the decoder of the version in `directory`; None for a model that does something else.

    Raises: ModelLoadError naming the file, what came and what was expected.
    """
    metadata = {key: value.string_value for key, value in resolved.config.parameters.items()}
    if metadata.get(_TASK_KEY) != TASK or KEY not in metadata:
        return None
    if _SOURCE not in resolved.signature.inputs or resolved.sequences is not None:
        inputs = ", ".join(resolved.signature.inputs)
        raise ModelLoadError(f'{directory}: an encoder without state and with the input "{_SOURCE}", got {inputs}')
    facts = read_facts(metadata, directory)
    decoder = Decoder.open(directory / facts.decoder, tuple(resolved.signature.outputs), facts.max_source_tokens)
    max_rows = max(1, resolved.signature.max_batch_size)
    return TransductionCompanion(resolved.config.name, facts, decoder, max_rows, max_waiting)
