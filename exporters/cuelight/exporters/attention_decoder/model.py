"""The network: a GRU in both directions over the letters, a GRU over the phonemes, attention between them.

Attention is Luong's global attention with the score "general": each step compares its state with what the encoder
made of every letter, mixes those by the softmax of the scores, and predicts from state and mixture together.

Source: Luong, Pham, Manning, Effective Approaches to Attention-based Neural Machine Translation, 2015, sections 3 and
3.1; without input feeding, so that training needs no loop over the phonemes. GRU: Cho et al., 2014.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from cuelight.exporters.attention_decoder.data import LETTERS, PAD, PHONEMES

__all__ = ["CHECKPOINT", "MEMORY", "STATE", "Decoder", "DecoderStep", "Encoder", "Network", "load_checkpoint"]

CHECKPOINT = Path(__file__).with_name("checkpoint.pt")

_EMBEDDED = 64
_HIDDEN = 192
MEMORY = 2 * _HIDDEN
"""Width of what the encoder makes of a letter: both directions."""
STATE = 256
_NEVER = -1e9
"""Added to the score of a letter that is not there."""


class Encoder(nn.Module):
    """Letters (batch, letters) and how many there are (batch,) -> memory (batch, letters, 384), state (batch, 256)."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), _EMBEDDED, padding_idx=PAD)
        self.forwards = nn.GRU(_EMBEDDED, _HIDDEN, batch_first=True)
        self.backwards = nn.GRU(_EMBEDDED, _HIDDEN, batch_first=True)
        self.bridge = nn.Linear(MEMORY, STATE)
        self.dropout = nn.Dropout(dropout)

    def forward(self, source: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Take letters padded behind; what is behind a word's length changes nothing of what is before it."""
        embedded = self.dropout(self.embedding(source))
        zeros = embedded.new_zeros((1, source.shape[0], _HIDDEN))
        ahead, _ = self.forwards(embedded, zeros)
        places = torch.arange(source.shape[1], device=source.device)[None]
        there = places < length[:, None]
        # Each word is turned round within its own length, so that the way back begins at its last letter.
        turned = torch.where(there, length[:, None] - 1 - places, places)
        back, _ = self.backwards(_picked(embedded, turned), zeros)
        memory = torch.cat([ahead, _picked(back, turned)], 2) * there[:, :, None].to(embedded.dtype)
        last = _picked(ahead, (length - 1)[:, None])[:, 0]
        state = self.bridge(torch.cat([last, memory[:, 0, _HIDDEN:]], 1)).tanh()
        return memory, state


class Decoder(nn.Module):
    """What both the training's pass over whole words and the served step consist of."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(PHONEMES), _EMBEDDED, padding_idx=PAD)
        self.gru = nn.GRU(_EMBEDDED, STATE, batch_first=True)
        self.query = nn.Linear(STATE, MEMORY, bias=False)
        self.attended = nn.Linear(STATE + MEMORY, STATE)
        self.out = nn.Linear(STATE, len(PHONEMES))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, state: Tensor, memory: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take tokens (batch, steps), state (batch, 256) and what the encoder gave.

        Returns log-probabilities (batch, steps, phonemes), the states (batch, steps, 256), attention (batch, steps,
        letters).
        """
        states, _ = self.gru(self.dropout(self.embedding(tokens)), state[None])
        scores = self.query(states) @ memory.transpose(1, 2)
        there = torch.arange(memory.shape[1], device=memory.device)[None] < length[:, None]
        attention = (scores + (~there)[:, None].to(scores.dtype) * _NEVER).softmax(2)
        mixed = torch.cat([states, attention @ memory], 2)
        hidden = self.dropout(self.attended(mixed).tanh())
        return self.out(hidden).log_softmax(2), states, attention


class DecoderStep(nn.Module):
    """One step: a token for every row in, log-probabilities of the next, the state and the attention out."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, token: Tensor, h: Tensor, memory: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take token and length (batch,), h (batch, 256), memory (batch, letters, 384)."""
        log_probs, states, attention = self.decoder(token[:, None], h, memory, length)
        return log_probs[:, 0], states[:, 0], attention[:, 0]


class Network(nn.Module):
    """Both halves."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = Encoder(dropout)
        self.decoder = Decoder(dropout)

    def forward(self, source: Tensor, length: Tensor, tokens: Tensor) -> Tensor:
        """Return log-probabilities (batch, steps, phonemes) of what follows each token of the wanted answer."""
        memory, state = self.encoder(source, length)
        log_probs: Tensor = self.decoder(tokens, state, memory, length)[0]
        return log_probs


def load_checkpoint(path: Path = CHECKPOINT) -> Network:
    """Return the trained network, in inference mode."""
    network = Network()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _picked(rows: Tensor, places: Tensor) -> Tensor:
    """Return (batch, k, width): of each row of (batch, n, width) the vectors at its own places (batch, k)."""
    return rows.gather(1, places[:, :, None].expand(-1, -1, rows.shape[2]))
