"""The export of a trained network: doubles, so that a score does not depend on who else is in the batch."""

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cuelight.exporters.export import write_proven
from cuelight.exporters.sasrec.model import START, SasRec, Shape
from cuelight.exporters.sasrec.train import Trained
from cuelight.exporters.spec import Axis, ExportSpec

__all__ = ["export_spec"]


def export_spec(trained: Trained, name: str, assets: Mapping[str, bytes], source: str) -> ExportSpec:
    """Return how a trained network is exported: beside `assets` come the items' vectors, `item_vectors.npy`.

    `model.onnx`: `tokens` (batch, length) INT64: START (0), then items oldest first as number + 1; behind a row's end
    anything. `states` (batch, length, width) FP64: the state at place k ranks what comes after k items, by its products
    with the items' vectors (items, width) FP64; their softmax is the chance of each item to be the next.

    `last.onnx`, a fraction of the work: `tokens`, and `ends` (batch,) INT64; `state` (batch, width) is that at `ends`.
    """
    network = trained.network.double()
    shape = network.shape

    def example(generator: torch.Generator, batch: int, length: int) -> dict[str, Tensor]:
        tokens = torch.randint(1, shape.n_items + 1, (batch, length), generator=generator)
        tokens[:, 0] = START
        return {"tokens": tokens}

    def metadata(cache_dir: Path) -> dict[str, str]:
        return {
            "cuelight.family": "sasrec",
            "cuelight.items": str(shape.n_items),
            "cuelight.length": str(shape.length),
            "cuelight.settings": json.dumps(trained.settings.as_dict()),
        }

    def all_assets(cache_dir: Path) -> dict[str, bytes]:
        vectors = io.BytesIO()
        np.save(vectors, network.vectors().detach().numpy())
        return {**assets, "item_vectors.npy": vectors.getvalue(), "last.onnx": _last(spec, network)}

    spec = ExportSpec(
        name=name,
        summary="causal Transformer over what somebody liked",
        build=lambda cache_dir: network,
        example=example,
        outputs=("states",),
        task="recommendation",
        max_batch_size=256,
        parity_batches=(1, 2, 7, 32),
        golden_batches=(1, 4),
        atol=1e-12,
        rtol=1e-12,
        source=source,
        license="that of the data it was trained on",
        axes=(_length(shape),),
        metadata=metadata,
        assets=all_assets,
    )
    return spec


def _length(shape: Shape) -> Axis:
    """Return the axis of places: START alone, half of what the network reads, all of it."""
    whole = 1 + shape.length
    return Axis("length", tuple(sorted({1, (1 + whole) // 2, whole})))


def _last(whole: ExportSpec, network: SasRec) -> bytes:
    """Return the file that computes the last states alone, proven in the same way. Raises: ExportError."""

    def example(generator: torch.Generator, batch: int, length: int) -> dict[str, Tensor]:
        ends = torch.randint(0, length, (batch,), generator=generator)
        return {**whole.example(generator, batch, length), "ends": ends}

    spec = replace(whole, example=example, outputs=("state",))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "last.onnx"
        write_proven(spec, _LastStates(network).eval(), path, 0)
        return path.read_bytes()


class _LastStates(nn.Module):
    def __init__(self, network: SasRec) -> None:
        super().__init__()
        self._network = network

    def forward(self, tokens: Tensor, ends: Tensor) -> Tensor:
        return self._network.last_states(tokens, ends)
