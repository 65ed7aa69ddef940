"""g2p-en: English words to phonemes, a GRU that reads the letters and a GRU that says the sounds.

The published model is NumPy code over one file of weights; here it is two PyTorch modules over the same file. The
encoder's last state is all that the decoder knows of the word: there is no attention.

Source: g2p-en 2.1.0 (Apache-2.0), Park and Kim, https://github.com/Kyubyong/g2p. GRU: Cho et al., 2014.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cuelight.exporters.arpabet import CONSONANTS, STRESSED_VOWELS
from cuelight.exporters.spec import Axis, Check, ExportSpec, StatePair
from cuelight.exporters.transduction import DECODER, TASK, Transduction
from cuelight.exporters.weights import WheelFile

__all__ = ["FACTS", "SPEC", "WEIGHTS", "Decoder", "Encoder"]

WEIGHTS = WheelFile(
    requirement="g2p-en==2.1.0",
    path="g2p_en/checkpoint20.npz",
    sha256="b8af35e4596d8dd5836dfd3fe9b2ba4f97b9c311efe8879544cbcfcbd566d8c6",
)

_WIDTH = 256
"""Of embeddings and states, on both sides."""


def _phonemes() -> tuple[str, ...]:
    """Return ARPAbet in the order of its letters."""
    # Some of the dictionary's entries had this one without a digit, so the model has it, too.
    return tuple(sorted([*STRESSED_VOWELS, "UW", *CONSONANTS]))


FACTS = Transduction(
    source_tokens=("<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"),
    target_tokens=("<pad>", "<unk>", "<s>", "</s>", *_phonemes()),
    padding="<pad>",
    source_end="</s>",
    start="<s>",
    end="</s>",
    joiner=" ",
    lowercase=True,
    max_source_tokens=64,
    max_tokens=20,
)
"""20 tokens are where the published code stops."""


class Encoder(nn.Module):
    """Letters (batch, letters) and how many there are (batch,) -> the state after the last of them (batch, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(FACTS.source_tokens), _WIDTH)
        self.gru = nn.GRU(_WIDTH, _WIDTH, batch_first=True)

    def forward(self, source: Tensor, length: Tensor) -> Tensor:
        """Take letters padded behind: the state at a word's own end knows nothing of what is behind it."""
        zeros = torch.zeros((1, source.shape[0], _WIDTH))
        states, _ = self.gru(self.embedding(source), zeros)
        last = (length - 1)[:, None, None].expand(-1, 1, _WIDTH)
        h: Tensor = states.gather(1, last)[:, 0]
        return h


class Decoder(nn.Module):
    """One step: token (batch,), state (batch, 256) -> log-probabilities of the next (batch, 74), the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(FACTS.target_tokens), _WIDTH)
        self.gru = nn.GRU(_WIDTH, _WIDTH, batch_first=True)
        self.out = nn.Linear(_WIDTH, len(FACTS.target_tokens))

    def forward(self, token: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithm of the softmax over the phonemes, and the state."""
        states, _ = self.gru(self.embedding(token)[:, None], h[None])
        return self.out(states[:, 0]).log_softmax(1), states[:, 0]


def _weights(cache_dir: Path, side: str) -> dict[str, Tensor]:
    with np.load(WEIGHTS.fetch(cache_dir), allow_pickle=False) as archive:
        return {
            "embedding.weight": torch.from_numpy(archive[f"{side}_emb"]),
            "gru.weight_ih_l0": torch.from_numpy(archive[f"{side}_w_ih"]),
            "gru.weight_hh_l0": torch.from_numpy(archive[f"{side}_w_hh"]),
            "gru.bias_ih_l0": torch.from_numpy(archive[f"{side}_b_ih"]),
            "gru.bias_hh_l0": torch.from_numpy(archive[f"{side}_b_hh"]),
            **({"out.weight": torch.from_numpy(archive["fc_w"])} if side == "dec" else {}),
            **({"out.bias": torch.from_numpy(archive["fc_b"])} if side == "dec" else {}),
        }


def _encoder(cache_dir: Path) -> nn.Module:
    module = Encoder()
    module.load_state_dict(_weights(cache_dir, "enc"), strict=True)
    return module.eval()


def _decoder(cache_dir: Path) -> nn.Module:
    module = Decoder()
    module.load_state_dict(_weights(cache_dir, "dec"), strict=True)
    return module.eval()


def _words(generator: torch.Generator, batch: int, letters: int) -> dict[str, Tensor]:
    """Return letters, and lengths of which one at least is the whole."""
    source = torch.randint(2, len(FACTS.source_tokens), (batch, letters), generator=generator)
    length = torch.randint(1, letters + 1, (batch,), generator=generator)
    length[0] = letters
    return {"source": source, "length": length}


def _step(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return any token and a state as the encoder gives it, between -1 and 1."""
    token = torch.randint(2, len(FACTS.target_tokens), (batch,), generator=generator)
    return {"token": token, "h": torch.rand((batch, _WIDTH), generator=generator) * 2 - 1}


_DECODER_SPEC = ExportSpec(
    name=DECODER,
    summary="GRU, a phoneme to the next",
    build=_decoder,
    example=_step,
    outputs=("log_probs", "h_next"),
    task=f"{TASK}_step",
    max_batch_size=64,
    parity_batches=(1, 3, 16),
    parity_steps=20,
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-5,
    state=(StatePair("h", "h_next"),),
    source="g2p-en 2.1.0",
    license="Apache-2.0",
)
SPEC = ExportSpec(
    name="g2p_en",
    summary="GRU encoder-decoder, English words to phonemes",
    build=_encoder,
    example=_words,
    outputs=("h",),
    task=TASK,
    max_batch_size=64,
    parity_batches=(1, 3, 16),
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-5,
    axes=(Axis("letters", (2, 9, 40)),),
    metadata=lambda cache_dir: {**FACTS.metadata(), "cuelight.language": "en"},
    assets=lambda cache_dir: FACTS.assets(),
    files=(WEIGHTS,),
    source="g2p-en 2.1.0",
    license="Apache-2.0",
    further=(_DECODER_SPEC,),
    architecture="GRU encoder-decoder",
    check=Check(
        "words as the published code says them",
        "tests/exporters/test_g2p_en.py::test_every_word_is_said_as_by_the_published_code",
    ),
)
