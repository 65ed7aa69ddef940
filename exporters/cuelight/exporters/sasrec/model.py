"""The network: a causal Transformer over what somebody liked, oldest first.

    tokens   0, a + 1, b + 1, ...     START, then items by number; what is behind the end of a row is never looked at
    states   (batch, length, width)   the state at a place knows the tokens up to that place, and none behind it
    logits   states @ vectors'        the vectors that items enter with are those they are ranked by

Places are counted from START, so the state at place k of a long row is the state of a row that ends there: all prefixes
of a history come out of one run.

Source: Kang and McAuley, Self-attentive sequential recommendation, ICDM 2018, with these changes: START, blocks that
normalise first, and all items in the loss as in Klenitskiy and Vasilev, Turning dross into gold loss, RecSys 2023.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["START", "SasRec", "Shape"]

START = 0
"""The token before the first item; the item of number i is the token i + 1."""

_INIT_STD = 0.02
_EPSILON = 2.0**-17
"""Of normalisations. A power of two, for ONNX holds it as a float, and the export is to agree to the last digits."""
_WIDER = 4
"""The inner layer of a block is so many times as wide. Source: Vaswani et al., 2017, section 3.3."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the network is. `length` is how many items of a history it reads, the latest ones."""

    n_items: int
    width: int = 64
    blocks: int = 1
    heads: int = 1
    length: int = 50

    def __post_init__(self) -> None:
        for name in ("n_items", "width", "blocks", "heads", "length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.width % self.heads:
            raise ValueError(f"heads: got {self.heads}, expected a divisor of width {self.width}")


class SasRec(nn.Module):
    """From tokens to states; `logits` ranks all items from states."""

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.items = nn.Embedding(shape.n_items + 1, shape.width)
        self.places = nn.Embedding(shape.length + 1, shape.width)
        self.blocks = nn.ModuleList(_Block(shape, dropout) for _ in range(shape.blocks))
        self.last_norm = nn.LayerNorm(shape.width, _EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("scale", torch.tensor(math.sqrt(shape.width)), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_INIT_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Take tokens (batch, length) int64, length at most that of the shape + 1; return states."""
        states = self._entered(tokens)
        for block in self.blocks:
            states = block(states)
        return torch.as_tensor(self.last_norm(states))

    def last_states(self, tokens: Tensor, ends: Tensor) -> Tensor:
        """Return the states at the places `ends` (batch,) int64 alone: (batch, width), for a fraction of the work."""
        states = self._entered(tokens)
        *first, last = self.blocks
        for block in first:
            states = block(states)
        return torch.as_tensor(self.last_norm(last(states, ends)[:, 0]))

    def _entered(self, tokens: Tensor) -> Tensor:
        places = self.places(torch.arange(tokens.shape[1], device=tokens.device))
        return torch.as_tensor(self.dropout(self.items(tokens) * self.scale + places))

    def vectors(self) -> Tensor:
        """Return the items' vectors, (items, width)."""
        return self.items.weight[START + 1 :]

    def logits(self, states: Tensor) -> Tensor:
        """Return (..., items) for states (..., width)."""
        return states @ self.vectors().T


class _Block(nn.Module):
    """Attention over what came before, then a layer for each place by itself; both are added to what came in."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        width = shape.width
        self._heads = shape.heads
        self.register_buffer("scale", torch.tensor(math.sqrt(width / shape.heads)), persistent=False)
        self.attention_norm = nn.LayerNorm(width, _EPSILON)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.layer_norm = nn.LayerNorm(width, _EPSILON)
        self.inner = nn.Linear(width, _WIDER * width)
        self.outer = nn.Linear(_WIDER * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, ends: Tensor | None = None) -> Tensor:
        """Return new states (batch, length, width); with `ends` (batch,) those at these places, (batch, 1, width)."""
        attended = self.attended(self._attention(self.attention_norm(states), ends))
        states = (states if ends is None else _at(states, ends)) + self.dropout(attended)
        inner = nn.functional.relu(self.inner(self.layer_norm(states)))
        return states + torch.as_tensor(self.dropout(self.outer(self.dropout(inner))))

    def _attention(self, states: Tensor, ends: Tensor | None) -> Tensor:
        batch, length, width = states.shape
        head = width // self._heads
        split = self.queries_keys_values(states).view(batch, length, 3, self._heads, head).permute(2, 0, 3, 1, 4)
        queries, keys, values = split[0], split[1], split[2]
        order = torch.arange(length, device=states.device)
        behind = order[None, :] > order[:, None]
        if ends is not None:
            queries = queries.gather(2, ends[:, None, None, None].expand(-1, self._heads, 1, head))
            behind = (order[None, :] > ends[:, None])[:, None, None]
        shares = (queries @ keys.transpose(-1, -2) / self.scale).masked_fill(behind, -torch.inf).softmax(-1)
        return torch.as_tensor((self.dropout(shares) @ values).transpose(1, 2).reshape(batch, -1, width))


def _at(states: Tensor, ends: Tensor) -> Tensor:
    """Return the states at a place of each row, (batch, 1, width)."""
    return states.gather(1, ends[:, None, None].expand(-1, 1, states.shape[2]))
