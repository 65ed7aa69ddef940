"""What is loaded beside an encoder-decoder model: its facts, and the decoder with the engine that steps it."""

from collections.abc import Mapping
from pathlib import Path

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_config import ResolvedModel
from cuelight.server.text.transduction.decoder import Decoder
from cuelight.server.text.transduction.engine import TransductionEngine
from cuelight.server.text.transduction.facts import TransductionFacts, read_facts

__all__ = ["TASK", "TransductionCompanion", "open_transduction"]

TASK = "transduction"
"""What the metadata of a model that turns text into another sequence says that it does."""

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

    @property
    def opened(self) -> TransductionEngine | None:
        """The engine, where anybody has asked for it."""
        return self._engine

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


def open_transduction(directory: Path, resolved: ResolvedModel, metadata: Mapping[str, str]) -> TransductionCompanion:
    """Open the vocabularies and the decoder of the version in `directory`.

    Raises: ModelLoadError naming the file, what came and what was expected.
    """
    signature = resolved.signature
    lengths = {padding.length_input for padding in signature.padding if padding.input == _SOURCE}
    source = signature.inputs.get(_SOURCE)
    others = [name for name in signature.inputs if name != _SOURCE and name not in lengths]
    if source is None or source.datatype.name != "INT64" or others or resolved.sequences is not None:
        came = ", ".join(f"{name} {spec.describe()}" for name, spec in signature.inputs.items())
        raise ModelLoadError(
            f'{directory}: expected an encoder without state that takes "{_SOURCE}" INT64 and its padding\'s '
            f"length_input, got {came}"
        )
    facts = read_facts(metadata, directory)
    decoder = Decoder.open(directory / facts.decoder, tuple(signature.outputs), facts.max_source_tokens)
    grown = {output for padding in signature.padding for output, axis in padding.outputs if axis == 1}
    for name in decoder.memories:
        if name not in grown:
            raise ModelLoadError(
                f'{directory}: the decoder takes "{name}" beside its states: expected it among the outputs of '
                f"cuelight.padding, with the symbols on axis 1; there are {', '.join(sorted(grown)) or 'none'}"
            )
    max_rows = max(1, signature.max_batch_size)
    max_waiting = resolved.batching.max_queue_size
    return TransductionCompanion(resolved.config.name, facts, decoder, max_rows, max_waiting)
