"""What an encoder-decoder model that turns text into another sequence says of itself, and how its files go together.

    model.onnx    the encoder: `source` (batch, letters), `length` (batch,) -> tensors the decoder takes by name
    decoder.onnx  one step: `token` (batch,), states, tensors of the encoder that stay, `length` -> `log_probs`
                  (batch, tokens), the next states and, of a model with attention, `attention` (batch, letters)

A state of the decoder begins as the encoder's output of the state's name. The vocabularies lie beside as text, a token
a line, its number that of the line from 0 on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DECODER", "SOURCE_FILE", "TARGET_FILE", "TASK", "Transduction"]

TASK = "transduction"
DECODER = "decoder"
SOURCE_FILE, TARGET_FILE = "source_tokens.txt", "target_tokens.txt"


@dataclass(frozen=True, slots=True)
class Transduction:
    """The facts a server needs.

    The source is taken apart into characters, lower case where `lowercase`, with `source_end` behind; it is filled up
    with `padding`. The decoder begins with `start` and is through with `end`; `joiner` stands between its tokens.
    `max_source_tokens` counts `source_end`, `max_tokens` does not count `end`. `grown` are the encoder's outputs that
    have an axis (1) of letters.
    """

    source_tokens: Sequence[str]
    target_tokens: Sequence[str]
    padding: str
    source_end: str
    start: str
    end: str
    joiner: str
    lowercase: bool
    max_source_tokens: int
    max_tokens: int
    grown: tuple[str, ...] = ()

    def metadata(self) -> dict[str, str]:
        """Return what goes into model.onnx."""
        padding = {
            "input": "source",
            "axis": 1,
            "length_input": "length",
            "value": self.source_tokens.index(self.padding),
            "outputs": [{"output": name, "axis": 1} for name in self.grown],
        }
        facts = {
            "decoder": f"{DECODER}.onnx",
            "source_vocabulary": SOURCE_FILE,
            "source_unit": "character",
            "source_end": self.source_end,
            "lowercase": self.lowercase,
            "max_source_tokens": self.max_source_tokens,
            "target_vocabulary": TARGET_FILE,
            "start": self.start,
            "end": self.end,
            "joiner": self.joiner,
            "max_tokens": self.max_tokens,
        }
        return {"cuelight.padding": json.dumps([padding]), "cuelight.transduction": json.dumps(facts)}

    def assets(self) -> dict[str, bytes]:
        """Return the vocabularies."""
        files = {SOURCE_FILE: self.source_tokens, TARGET_FILE: self.target_tokens}
        return {name: "".join(f"{token}\n" for token in tokens).encode() for name, tokens in files.items()}
